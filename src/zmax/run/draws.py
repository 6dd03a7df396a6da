"""Decode a few draws of the tilted law when `sample` is done."""

from __future__ import annotations

import torch
from torch import Tensor

from zmax.core.rng import rows_at, stream
from zmax.core.samples import row
from zmax.core.strategy import Population
from zmax.results.spec import RunSpec
from zmax.run.evaluator import Evaluator
from zmax.store import Entry, Journal


def keep_draws(evaluator: Evaluator, journal: Journal, spec: RunSpec) -> None:
    """Pick `keep` points of the population by their weights, decode them at the run's charge, and keep them."""
    population, calls = journal.population(), evaluator.ledger.score_calls
    if population is None or not len(population.u) or journal.get("drawn") == calls:
        return
    entries: list[Entry] = []
    for part in _chosen(population, spec).split(spec.batch_size):
        ids = [-1 - len(entries) - i for i in range(len(part))]
        entries += decoded(evaluator, population.u[part], population.score[part], ids)
    journal.keep("draw", entries)
    journal.set("drawn", calls)


def decoded(evaluator: Evaluator, u: Tensor, score: Tensor, ids: list[int]) -> list[Entry]:
    """Decode points that were scored before, as entries under these ids."""
    space = evaluator.generator.space
    samples, plausibility = evaluator.decoded(u), space.plausibility(u)
    return [
        Entry(
            id=ids[i],
            score=float(score[i]),
            plausibility=float(plausibility[i]),
            u=u[i].clone(),
            z=space.latent(u[i]),
            sample=row(samples, i),
        )
        for i in range(len(u))
    ]


def _chosen(population: Population, spec: RunSpec) -> Tensor:
    """Return `keep` rows, each as often as its weight says up to rounding (systematic resampling), in random order."""
    rng = stream(spec.seed, "draws")
    offset = torch.rand(1, generator=rng, dtype=torch.float64, device="cpu")
    order = torch.randperm(len(population.u), generator=rng, device="cpu")
    share = population.log_weight.double().softmax(0)[order]
    points = (torch.arange(spec.keep, dtype=torch.float64, device="cpu") + offset) / spec.keep
    return order[rows_at(share, points)]
