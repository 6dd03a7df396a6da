"""Before and after G(x | s) is learned: score what it is learned from, and compare what is asked with what comes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from zmax.core.errors import CapabilityError
from zmax.core.generator import DiffusionGenerator, Generator
from zmax.core.proposal import Latents, Proposal, SamplesAt, Value
from zmax.core.rng import stream
from zmax.core.samples import Samples, concatenated, spare, take
from zmax.core.score import Score
from zmax.core.strategy import Need
from zmax.core.tuner import Lesson, Tuner
from zmax.generators.conditioned import Conditioned
from zmax.kit.asked import columns
from zmax.kit.forward import ended, ends
from zmax.natural.diversity import features
from zmax.natural.sliding import sliding
from zmax.run.levels import at_levels
from zmax.run.rounds import Rounds
from zmax.store import Entry

STUDY, CHECK = 0, 1_000_000
"""Numbers of the round that scores the lesson, and of the first that compares."""

TAIL = 0.01
"""Share of the data at either end that nothing is asked beyond when requests and scores are compared."""

MANY = 64
"""Samples decoded at once."""


@dataclass(frozen=True)
class Comparison:
    """What came of requests at a weight of guidance: a calibration a score, as data, and some of the samples."""

    calibrations: tuple[dict[str, Any], ...]
    entries: tuple[Entry, ...]


class Sight:
    """Sees samples by their features beside a lesson: those of the judge that no method sees, else their values.

    Args:
        lesson: what was learned from, as scores see it.
        judge: the held-out score.
    """

    def __init__(self, lesson: Lesson, judge: Score | None) -> None:
        self._score, self._judge = lesson.score, judge
        own = None if judge is None or not isinstance(lesson.x, Tensor) else self._own(lesson.x[:1])
        self.name = "" if judge is None or own is None else judge.name
        self._known = self.seen(lesson.x) if isinstance(lesson.x, Tensor) else None

    def seen(self, samples: Tensor) -> Float[Tensor, "n f"]:
        """Return features on the CPU."""
        return (torch.cat([self._own(part) for part in samples.split(MANY)]) if self.name else features(samples)).cpu()

    def _own(self, samples: Tensor) -> Any:
        assert self._judge is not None, "asked where there is one"
        with torch.no_grad():
            return self._judge.features(samples)

    def levels(
        self, samples: Samples, asked: Float[Tensor, "n k"], ok: Bool[Tensor, " n"]
    ) -> list[list[dict[str, float]]]:
        """Return of each score how samples differ, level by level, from data of the score that was asked for."""
        if self._known is None or not isinstance(samples, Tensor):
            return [[] for _ in asked.T]
        came, pairs = self.seen(samples[ok.to(samples.device)]), zip(self._score.T, asked[ok].T, strict=True)
        return [[asdict(level) for level in sliding(self._known, score, came, wanted)] for score, wanted in pairs]


def study(
    rounds: Rounds, tuner: Tuner[Any], parent: Generator, names: Sequence[str], n: int, seed: int
) -> Lesson | None:
    """Score prior draws of the parent, or read back what is journalled; None when the budget ends before.

    Raises:
        CapabilityError: samples are no tensors, or none of them has a score.
        FailedRunError: too large a share of the evaluations failed.
    """
    u = parent.space.sample(n, stream(seed, "lesson"))
    if Need.DENOISER in tuner.needs:
        with torch.no_grad():
            proposal = ended(torch.cat([ends(parent, part) for part in u.split(MANY)]), u)
        want = Value()
    else:
        proposal, want = Proposal(Latents(u)), Value(samples=True)
    evaluation = rounds.evaluate(Proposal(proposal.at, want), STUDY, 0)
    if evaluation is None:
        return None
    alive = evaluation.ok.nonzero().flatten().tolist()
    x = proposal.at.points if evaluation.samples is None else evaluation.samples
    if not alive:
        raise CapabilityError("a lesson", expected="samples with scores", got="failures alone")
    return Lesson(take(x, alive), columns(evaluation, names)[alive], u[alive])


def compare(
    rounds: Rounds,
    generator: Conditioned,
    lesson: Lesson,
    guidance: float,
    n: int,
    seed: int,
    number: int,
    first: int,
    sight: Sight,
) -> Comparison | None:
    """Ask for n scores at a weight of guidance, the `number`-th one; None when the budget ends before.

    The first scored row is numbered `first`; `sight` sees samples beside the lesson.
    """
    asked = requests(lesson.score, n, stream(seed, "requests", number))
    space = generator.at(None).space
    u = space.sample(n, stream(seed, "asked", number))
    parts = zip(asked.split(MANY), u.split(MANY), strict=True)
    samples = concatenated([made(generator.asked(wanted, guidance=guidance), points) for wanted, points in parts])
    evaluation = rounds.evaluate(Proposal(SamplesAt(samples)), CHECK + number, first)
    if evaluation is None:
        return None
    came, found = columns(evaluation, generator.names), []
    levels = sight.levels(samples, asked, evaluation.ok)
    for j, name in enumerate(generator.names):
        known = lesson.score[:, j]
        found.append(
            {
                "name": name,
                "guidance": guidance,
                "spread": float(known.std()),
                "lowest": float(known.min()),
                "highest": float(known.max()),
                "asked": asked[:, j].tolist(),
                "achieved": [v if math.isfinite(v) else None for v in came[:, j].tolist()],
                "levels": levels[j],
                "seen_by": sight.name,
            }
        )
    entries = at_levels(space, u, samples, evaluation, asked, generator.names)
    return Comparison(tuple(found), tuple(entries))


def finished(parent: Generator, tuner: Tuner[Any], x: Samples) -> Samples:
    """Return the samples of a lesson as scores see them: those of a path are finished first."""
    if Need.DENOISER not in tuner.needs:
        return x
    assert isinstance(parent, DiffusionGenerator), "its method needs a denoiser"
    assert isinstance(x, Tensor), "ends of paths"
    with torch.no_grad():
        return concatenated([spare(parent.finish(part.to(parent.device))) for part in x.split(MANY)])


def requests(score: Float[Tensor, "m k"], n: int, rng: torch.Generator) -> Float[Tensor, "n k"]:
    """Return requests spread evenly over the law of one score, or drawn from that of several."""
    if score.shape[1] > 1:
        return score[torch.randint(len(score), (n,), generator=rng, device="cpu")].float()
    levels = TAIL + (1 - 2 * TAIL) * (torch.arange(n, device="cpu", dtype=torch.float64) + 0.5) / n
    return score.double().quantile(levels, dim=0)[:, 0][torch.randperm(n, generator=rng, device="cpu")][:, None].float()


def made(generator: Generator, u: Float[Tensor, "n dim"]) -> Any:
    """Return the samples of latents."""
    with torch.no_grad():
        return generator.decode(generator.space.latents(u))
