"""What every method that learns G(x | s) from scored samples shares: its lesson, its requests, and when it is done."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import TypeVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from zmax.core.checks import positive, whole
from zmax.core.errors import CapabilityError, InputError
from zmax.core.generator import DiffusionGenerator, Generator
from zmax.core.proposal import Evaluation, Proposal, SamplesAt
from zmax.core.rng import Rng
from zmax.core.tuner import Lesson, Models, Rollout, Tuner
from zmax.kit.asked import columns, conditioned, dropped
from zmax.kit.forward import ends
from zmax.kit.ranks import by_rank, mean_ranks


@dataclass(frozen=True)
class Schooling:
    """How far learning has come.

    Attributes:
        rng: draws rows, noises and requests.
        steps: optimiser steps done.
    """

    rng: Rng
    steps: int = 0


@dataclass(frozen=True)
class LearnState(Schooling):
    """How far learning has come, and the samples that were asked for and scored on the way.

    Attributes:
        asks: how often was asked.
        more: what came of it.
        asked: what is being scored, with the scores that were asked for.
    """

    asks: int = 0
    more: Lesson | None = None
    asked: Lesson | None = None


StateT = TypeVar("StateT", bound=Schooling)


class Schooled(Tuner[StateT]):
    """Learns from a lesson, and is done after a set number of optimiser `steps`."""

    steps: int
    moves = "asked"

    def progress(self, state: StateT) -> float:
        """Return the share of the steps that is done."""
        return state.steps / self.steps

    def divergence(self, models: Models, rng: torch.Generator) -> tuple[float, float] | None:
        """Return none: that a conditioned generator differs from its parent is no measure of it."""
        return float("nan"), float("nan")


class Learner(Schooled[LearnState]):
    """Learns from the lesson in a set number of optimiser steps; on the way it may ask above the best and add that.

    A subclass says what a row is (:meth:`rows`) and what is descended on it (`loss`).

    Args:
        steps: optimiser steps.
        batch: rows of a step.
        drop: share of rows of which nothing is asked.
        asks: how often samples above the best are asked for, scored and added, at equal shares of the steps.
        asked: samples each time.
        sharpness: k of the weights 1 / (k N + rank) by which rows are drawn (:func:`~zmax.kit.ranks.by_rank`); of
            several scores by the sum of their ranks. None draws all alike.

    Raises:
        InputError: an argument is out of range.
    """

    def __init__(
        self, *, steps: int, batch: int, drop: float, asks: int, asked: int, sharpness: float | None = None
    ) -> None:
        name = type(self).__name__
        whole(name, steps=steps, batch=batch, asked=asked)
        whole(name, least=0, asks=asks)
        if sharpness is not None:
            positive(name, sharpness=sharpness)
        if not 0 <= drop < 1:
            raise InputError(f"{name}(drop=...)", expected="a share in [0, 1)", got=drop)
        self.steps, self.batch, self.drop, self.asks, self.asked = steps, batch, drop, asks, asked
        self.sharpness = sharpness

    def init(self, generator: Generator, rng: torch.Generator) -> LearnState:
        """Begin with the lesson alone."""
        return LearnState(Rng.of(rng))

    def collect(self, state: LearnState, models: Models) -> tuple[LearnState, Proposal | None]:
        """Return samples asked for above the best, when it is time for that."""
        if state.asks >= int(self.progress(state) * (self.asks + 1)):
            return state, None
        rng = state.rng.generator()
        assert models.lesson is not None, "a condition begins with one"
        best = models.lesson.score.max(0).values
        middle = models.lesson.score.median(0).values
        reach = 1 + 0.2 * torch.rand(self.asked, 1, generator=rng, device="cpu")
        wanted = (middle + reach * (best - middle)).float()
        u = models.parent.space.sample(self.asked, rng)
        made, proposal = self.made(models, wanted.expand(self.asked, -1), u)
        return replace(state, rng=Rng.of(rng), asks=state.asks + 1, asked=made), proposal

    def rollout(self, state: LearnState, models: Models, evaluation: Evaluation) -> tuple[LearnState, Rollout | None]:
        """Return rows drawn from all that is known."""
        lesson = models.lesson
        assert lesson is not None, "a condition begins with one"
        if state.asked is not None:
            alive = evaluation.ok.nonzero().flatten()
            score = columns(evaluation, conditioned(models.child).names)
            new = replace(state.asked, score=score).at(alive)
            state = replace(state, more=new if state.more is None else state.more.and_(new), asked=None)
        known = lesson if state.more is None else lesson.and_(state.more)
        rng = state.rng.generator()
        updates = min(self.recipe.updates, self.steps - state.steps)
        part = known.at(self._drawn(known.score, self.batch * updates, rng))
        rows = self.rows(models, part, self.progress(state), rng) | {"score": dropped(part.score, self.drop, rng)}
        return replace(state, rng=Rng.of(rng), steps=state.steps + self.recipe.updates), Rollout(rows)

    def _drawn(self, score: Float[Tensor, "known k"], n: int, rng: torch.Generator) -> Int[Tensor, " n"]:
        """Return the numbers of n rows of a lesson."""
        if self.sharpness is None:
            return torch.randint(len(score), (n,), generator=rng, device="cpu")
        place = torch.stack([mean_ranks(column) for column in score.cpu().unbind(1)]).sum(0)
        return torch.multinomial(by_rank(place, self.sharpness), n, replacement=True, generator=rng)

    def made(self, models: Models, wanted: Float[Tensor, "n k"], u: Float[Tensor, "n dim"]) -> tuple[Lesson, Proposal]:
        """Return the samples of a request for each latent, as they are learned from, and how to score them."""
        held = conditioned(models.child).asked(wanted)
        x = held.decode(held.space.latents(u))
        return Lesson(x, wanted), Proposal(SamplesAt(x))

    @abstractmethod
    def rows(self, models: Models, part: Lesson, done: float, rng: torch.Generator) -> dict[str, Tensor]:
        """Return what is trained on besides the requests, a row for each sample, with that share of the steps done."""


class PathLearner(Learner):
    """Learns from the ends of a diffusion or flow model's paths."""

    def made(self, models: Models, wanted: Float[Tensor, "n k"], u: Float[Tensor, "n dim"]) -> tuple[Lesson, Proposal]:
        """Return where paths end, and a proposal to score that."""
        held = conditioned(models.child).asked(wanted)
        assert isinstance(held, DiffusionGenerator), "it has a denoiser"
        x_0 = ends(held, u)
        return Lesson(x_0, wanted), Proposal(SamplesAt(held.finish(x_0)))


def tensor(part: Lesson) -> Tensor:
    """Return the samples of a lesson of a method that learns from tensors alone."""
    if not isinstance(part.x, Tensor):
        raise CapabilityError(
            "a lesson",
            expected="samples that are tensors",
            got=f"{type(part.x).__name__}",
            remedy="condition a map of the noises instead: method='noise-map'",
        )
    return part.x
