"""Stalling: what a chain is told, worked out by hand."""

from __future__ import annotations

import torch

from zmax.core.proposal import Evaluation
from zmax.kit.chains import Progress


def told(progress, *scores, patience=2, first=1.0):
    score = torch.tensor(scores)
    ok = torch.isfinite(score)
    return progress.told(Evaluation(score, ok, torch.ones(len(score)), range(len(score))), patience, first)


def begun(step=1.0, n=1):
    return Progress(torch.full((n,), step).double(), torch.full((n,), -torch.inf).double(), torch.zeros(n).long())


def test_a_chain_halves_its_step_after_that_many_rounds_without_a_better_score():
    """Equal scores are no progress; the count begins anew with a better score and with a halving."""
    seen, progress = [], begun()
    for score in (0.0, 0.0, 1.0, 1.0, 0.5, 1.0, 0.9, 2.0):
        progress, _ = told(progress, score)
        seen.append((float(progress.step), int(progress.stalled)))
    assert seen == [(1, 0), (1, 1), (1, 0), (1, 1), (0.5, 0), (0.5, 1), (0.25, 0), (0.25, 0)]
    assert float(progress.best) == 2.0


def test_a_chain_is_spent_after_its_seventh_halving_or_where_its_sample_failed():
    progress, halvings = begun(), []
    for _ in range(7):
        progress, spent = told(progress, 0.0, patience=1)  # the first of them is an improvement
        halvings.append((float(progress.step), bool(spent)))
    assert halvings[-1] == (2.0**-6, False)
    assert bool(told(progress, 0.0, patience=1)[1])
    _, spent = told(begun(n=3), 1.0, -torch.inf, 1.0)
    assert spent.tolist() == [False, True, False]
