"""Stalling: what a chain is told, worked out by hand."""

from __future__ import annotations

import pytest
import torch

from zmax.core.proposal import Evaluation
from zmax.core.rng import stream
from zmax.kit.chains import Progress
from zmax.kit.stalling import Rounds


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


def scored(rounds):
    record = Rounds.none()
    for score in rounds:
        record = record.told(torch.as_tensor(score, dtype=torch.float64))
    return record


@pytest.mark.parametrize(("dim", "population", "window"), [(10, 10, 40), (64, 16, 130)])
def test_a_flat_law_has_stalled_after_ten_rounds_and_thirty_dimensions_a_point(dim, population, window):
    flat = [[0.0, 5.0, 5.0]] * window
    assert not scored(flat[:-1]).stalled(dim, population)
    assert scored(flat).stalled(dim, population)
    assert scored([[0.0, 6.0], *flat]).stalled(dim, population)  # what was better before is no excuse
    assert not scored([*flat[:-1], [5.001]]).stalled(dim, population)


def test_scores_that_waver_have_stalled_once_neither_best_nor_median_rise_and_not_while_one_does():
    noise = torch.randn(400, 8, generator=stream(0, "waver")).double()
    level = [row.sort().values for row in noise]
    ends = [n for n in range(1, 400, 3) if scored(level[:n]).stalled(10, 10)]
    assert 150 <= ends[0] <= 200
    rising = [row + 0.02 * i for i, row in enumerate(level)]
    assert not any(scored(rising[:n]).stalled(10, 10) for n in range(1, 400, 3))
    lifted = [torch.cat([row + 0.02 * i, row.new_tensor([50.0 + 0.1 * (i % 2)])]) for i, row in enumerate(level)]
    assert not scored(lifted).stalled(10, 10)
