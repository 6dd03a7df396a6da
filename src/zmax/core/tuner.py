"""The tuner: says what to score and what to descend, and owns neither optimiser nor loop; G's weights move."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Generic, TypeVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from zmax.core.generator import Generator
from zmax.core.proposal import Evaluation, Proposal
from zmax.core.registry import Registry
from zmax.core.samples import Samples, concatenated, take
from zmax.core.strategy import Need

StateT = TypeVar("StateT")

tuners: Registry[type[Tuner[Any]]] = Registry("tuner", "zmax.tuners", rooms=("zmax.finetune",))
"""Every tuner by name; the room adds its own when it is imported."""

conditioners: Registry[type[Tuner[Any]]] = Registry(
    "method that conditions", "zmax.conditioners", rooms=("zmax.condition",)
)
"""Every tuner that makes a generator one which is told a score."""


@dataclass(frozen=True)
class Recipe:
    """How the loop trains on what a tuner collects, unless the user says otherwise.

    Attributes:
        rate: learning rate of AdamW.
        updates: optimiser steps a round; each sees an equal share of the rollout's rows.
        clip: largest norm of a step's gradient.
        decay: weight decay of AdamW.
        lag: decay a round of the average of weights that samples are collected with; 0 collects with the latest.
        average: decay an update of the average of weights that is looked at and returned; 0 returns the latest.
        cool: whether the rate falls to 0 along half a cosine, where training has an end of its own.
    """

    rate: float = 1e-4
    updates: int = 1
    clip: float = 1.0
    decay: float = 0.0
    lag: float = 0.0
    average: float = 0.0
    cool: bool = False


WARM, COOL = 0.5, 1 / 16
"""Temperatures by default, in spreads of the parent's scores: the tilt of about the best of sixteen samples; and where
a ceiling says what is enough, so that nearly all samples get there."""


@dataclass(frozen=True)
class Lesson:
    """Scored samples that a generator is trained on from the first round, in order; those that failed are left out.

    Attributes:
        x: the samples; of a path, where it ends in the network's scale.
        score: of each, a column for each score.
        u: their whitened coordinates under the parent, None where they are not its own.
    """

    x: Samples
    score: Float[Tensor, "n k"]
    u: Float[Tensor, "n dim"] | None = None

    def __len__(self) -> int:
        return len(self.score)

    def at(self, index: Int[Tensor, " k"]) -> Lesson:
        """Return some of them."""
        u = None if self.u is None else self.u[index]
        return Lesson(take(self.x, index.tolist()), self.score[index], u)

    def and_(self, other: Lesson) -> Lesson:
        """Return these, then those; noises only where all have them."""
        u = None if self.u is None or other.u is None else torch.cat([self.u, other.u.to(self.u)])
        return Lesson(concatenated([self.x, other.x]), torch.cat([self.score, other.score]), u)


@dataclass(frozen=True)
class Models:
    """The generator that is finetuned and the one it began as, of equal latents; the parent never changes.

    Attributes:
        child, parent: the two.
        warmth: temperature by default, in spreads of the parent's scores.
        lesson: what is known before the first round, where the verb begins so.
    """

    child: Generator
    parent: Generator
    warmth: float = WARM
    lesson: Lesson | None = None


@dataclass(frozen=True)
class Rollout:
    """What a round is trained on: named tensors that the weights do not reach, with one row each.

    Attributes:
        rows: the tensors.
        shared: what all rows share, such as a surrogate of the score.

    Example:
        >>> rollout = Rollout({"u": torch.zeros(4, 2), "weight": torch.arange(4.0)})
        >>> len(rollout), rollout.at(torch.tensor([3, 1]))["weight"].tolist()
        (4, [3.0, 1.0])
    """

    rows: Mapping[str, Tensor]
    shared: Any = None

    def __len__(self) -> int:
        return len(next(iter(self.rows.values())))

    def __getitem__(self, name: str) -> Tensor:
        return self.rows[name]

    def at(self, index: Int[Tensor, " k"]) -> Rollout:
        """Return some rows."""
        return replace(self, rows={name: rows[index] for name, rows in self.rows.items()})


@dataclass(frozen=True)
class Check:
    """What was looked at before the first update, whether it is as it should be, and what was found."""

    name: str
    ok: bool
    found: str


class Tuner(ABC, Generic[StateT]):
    """A way of moving G's weights, as pure functions of a state; the loop alone evaluates, counts, steps and saves.

    A round is: `collect` proposes points, which are scored with the weights as they are; `rollout` makes of their
    evaluation what does not depend on the weights any more; `loss` is descended on its rows. Both are called without
    gradients, and find the child with the weights that samples are collected with. The constructor is the
    configuration, and the state a frozen dataclass of tensors, numbers and :class:`~zmax.core.rng.Rng`; what `collect`
    leaves in it for `rollout` is never saved.

    Attributes:
        needs: what the generator and the score must offer.
        recipe: how the loop trains, unless the user says otherwise.
        moves: "weights" of the generator, the "latents" that a small map puts before it, or what is "asked": weights
            and layers that are told a score; or a map of the "noises" that is told it, "noises:8" with 8 candidates;
            or a regressor beside the "path"; or nothing of what is asked by a "native" argument.
        use: when to choose it, in words for the method table.
        reference: the paper, section and address the tuner follows.
    """

    needs: frozenset[Need] = frozenset()
    recipe: Recipe = Recipe()
    moves: str = "weights"
    use: ClassVar[str] = ""
    reference: ClassVar[str] = ""

    @abstractmethod
    def init(self, generator: Generator, rng: torch.Generator) -> StateT:
        """Return the state before the first round; the generator is the child, in the form that is trained."""

    @abstractmethod
    def collect(self, state: StateT, models: Models) -> tuple[StateT, Proposal | None]:
        """Return the points to score next, None for none, and the state that `rollout` will find."""

    @abstractmethod
    def rollout(self, state: StateT, models: Models, evaluation: Evaluation) -> tuple[StateT, Rollout | None]:
        """Return the state of the next round and what is trained on, None where no row is of use.

        Where nothing was to be scored, the evaluation is empty.
        """

    @abstractmethod
    def loss(self, models: Models, rollout: Rollout) -> Float[Tensor, " rows"]:
        """Return what is descended, one value a row, with a graph to the child's weights."""

    def checks(self, models: Models, rollout: Rollout) -> list[Check]:
        """Return what should hold before the first update, beside what holds for every tuner."""
        return []

    def progress(self, state: StateT) -> float | None:
        """Return the share of training that is done, which ends at 1; None where the budget alone ends it."""
        return None

    def divergence(self, models: Models, rng: torch.Generator) -> tuple[float, float] | None:
        """Return KL(child || parent) in nats and its standard error, where the tuner knows it better than a fit."""
        return None


def parameters_of(kind: type) -> dict[str, Any]:
    """Return the constructor arguments of a tuner or method with their defaults."""
    return {p.name: p.default for p in inspect.signature(kind).parameters.values()}
