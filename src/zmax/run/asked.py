"""Draw samples that are asked for a score, and score them by the score that they were asked for."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from zmax.core.budget import Budget, Ledger
from zmax.core.errors import InputError
from zmax.core.generator import decoded
from zmax.core.proposal import Latents, Proposal, Value
from zmax.core.rng import stream
from zmax.generators.requests import Request
from zmax.results.conditioning import ConditionResult
from zmax.run.batch import join
from zmax.run.condition import scores
from zmax.run.evaluator import Evaluator
from zmax.run.levels import columns_by, kept_of
from zmax.run.meter import Meter
from zmax.store import Entry


@dataclass(frozen=True)
class Asked:
    """Samples that were asked for a score.

    Attributes:
        names: of the scores.
        wanted: what was asked of each, NaN where nothing was.
        entries: the samples; their parts are the scores by name.
        achieved: what came (n, k), NaN where it failed.
        ledger: what it cost.
        outside: lines on requests outside the range to trust, and on what chose among candidates.
    """

    names: tuple[str, ...]
    wanted: tuple[float, ...]
    entries: tuple[Entry, ...]
    achieved: Float[Tensor, "n k"]
    ledger: Ledger
    outside: tuple[str, ...]


def draw(
    result: ConditionResult,
    n: int,
    score: Request | None = None,
    *,
    away_from: Request | None = None,
    guidance: float = 0.0,
    of: int = 1,
    seed: int = 0,
    batch_size: int = 32,
    device: str = "cpu",
) -> Asked:
    """Draw n samples of a conditioned generator that is held at a request, and score them.

    Args:
        result: a condition whose scores can be loaded by name.
        n: number of samples.
        score, away_from, guidance, of: as of :meth:`ConditionResult.sample`, whose samples these are.
        seed: of the latents.
        batch_size: samples decoded and scored together.
        device: where the generator runs.

    Raises:
        InputError: the request does not fit the scores, or those lived only in a program.
    """
    if "score" in result.spec.objects:
        remedy = "give one: -s file.py:attr"
        raise InputError(f"the score of {str(result.folder)!r} lived only in its program", remedy=remedy)
    judge, names = scores(result.spec.score)
    if device != "cpu":
        result.generator.to(device)
    held, ledger, began = result.generator.at(score, away_from, guidance), Ledger(), time.monotonic()
    u = held.space.sample(n * of, stream(seed, "asked"))
    evaluator = Evaluator(held, judge, ledger, Budget(score_calls=n))
    with Meter(held.networks, ledger), torch.no_grad():
        if of > 1:
            u = u[result.best_of(decoded(held, u, batch_size), score, n)]
            ledger.decodes += n * of
        parts = [evaluator.evaluate(Proposal(Latents(part), Value(samples=True))) for part in u.split(batch_size)]
    batch = join(parts)
    ledger.seconds = time.monotonic() - began
    several = [batch.parts[name] for name in names] if len(names) > 1 else [batch.score]
    achieved, kept = torch.stack(several, 1), [i for i in range(n) if i not in batch.failures]
    entries = kept_of(held.space, u, batch.shown, batch.score, columns_by(names, achieved), kept)
    wanted, outside = tuple(result.generator.request(score).tolist()), tuple(result.outside(score, of))
    return Asked(names, wanted, tuple(entries), achieved, ledger, outside)
