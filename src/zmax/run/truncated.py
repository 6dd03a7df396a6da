"""Draws of a law that is cut off where samples miss constraints."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from zmax.core.proposal import Latents, Proposal
from zmax.run.evaluator import Evaluator
from zmax.store import Journal


def truncate(evaluator: Evaluator, journal: Journal) -> None:
    r"""Keep of the draws those that meet the constraints, and say so where there are none.

    A sampler is told S less a penalty that is 0 where all constraints are met. There its law is the tilted one, up to
    a constant: those of its draws follow

    .. math:: p^*(x) \propto p(x)\, e^{S(x) / T}\, 1[\text{x meets all constraints}]
    """
    population = journal.population()
    if evaluator.limits is None or population is None or not len(population.u):
        return
    met = missed_by(evaluator, journal, population.u) == 0
    if not bool(met.any()):
        evaluator.remarks.say(
            "no draw meets the constraints, so these follow the law of S less a penalty for missing them; a larger "
            "budget, or constraints that more samples meet, give some"
        )
        return
    weight = population.log_weight[met]
    share = weight.logsumexp(0)
    log_z = None if population.log_z is None else population.log_z + share
    kept = replace(population, u=population.u[met], score=population.score[met], log_weight=weight - share, log_z=log_z)
    journal.set_population(kept)


def missed_by(evaluator: Evaluator, journal: Journal, u: Float[Tensor, "n dim"]) -> Float[Tensor, " n"]:
    """Return by how much the samples of points miss the constraints; those that were never scored are scored now."""
    assert evaluator.limits is not None, "asked only where there are constraints"
    known: dict[bytes, float] = {}
    for chunk in journal.chunks():
        if chunk.u is not None and chunk.violation is not None:
            known |= dict(zip(map(_key, chunk.u), chunk.violation.tolist(), strict=True))
    missed = torch.tensor([known.get(_key(row), math.nan) for row in u], dtype=torch.float64)
    unknown = missed.isnan().nonzero().flatten()
    if len(unknown):
        batch = evaluator.evaluate(Proposal(Latents(u[unknown])))
        missed[unknown] = evaluator.limits.violation(batch.parts).nan_to_num(math.inf)
    return missed


def _key(u: Float[Tensor, " dim"]) -> bytes:
    return u.detach().float().contiguous().numpy().tobytes()
