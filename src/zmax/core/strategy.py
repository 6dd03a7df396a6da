"""The strategy: proposes points, is told how they scored, and owns nothing else."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import Enum
from typing import ClassVar, Generic, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from zmax.core.errors import CapabilityError
from zmax.core.proposal import Evaluation, Proposal
from zmax.core.space import Space
from zmax.core.start import Start, Starts

StateT = TypeVar("StateT")


class Need(Enum):
    """What a method needs of the generator and the score, or gives in return; its checks, words and road follow."""

    GRADIENT = "gradients of the score, through the generator"
    JACOBIAN = "gradients through the generator; the score may be a black box"
    PATH = "a path from noise to data, and works in the space of `G.stochastic()`, of all noises on it"
    DENOISER = "a denoiser of its own"
    LIKELIHOOD = "a loss of its own: a denoiser, or an encoder of its samples"
    ENCODER = "an encoder of its samples"
    ASKABLE = "an argument of its own for a score"
    SMOOTH = "both smooth and exact"
    TENSORS = "samples that are tensors"
    DESCRIPTOR = "a descriptor of samples"
    BETWEEN = "scores of points that no latent leads to, such as previews; constraints may be on samples alone"
    CATEGORIES = "latents with categories"
    FEW = "at most about 1000 latent dimensions"


class Gives(Enum):
    """What a method can do beside proposing points."""

    DRAWS = "draws from the tilted law, at the `temperature` of its constructor"
    RETRACTION = "keeps its points on the typical shell, unless its constructor is given `retract=False`"


@dataclass(frozen=True)
class Population:
    """Points with the weights they stand for.

    Attributes:
        u: whitened coordinates (n, d).
        score: values (n,).
        log_weight: (n,), logsumexp is 0.
        log_z: estimate of log E_p exp(S / T), for methods that make one; a single number.
        approximate: whether their law only approximates the tilted one, whatever the budget.
    """

    u: Float[Tensor, "n dim"]
    score: Float[Tensor, " n"]
    log_weight: Float[Tensor, " n"]
    log_z: Float[Tensor, ""] | None = None
    approximate: bool = False

    @classmethod
    def equal(cls, u: Float[Tensor, "n dim"], score: Float[Tensor, " n"]) -> Population:
        """Give every finite score the same weight, failures none."""
        alive = torch.isfinite(score)
        log_weight = torch.where(alive, -alive.sum().clamp_min(1).double().log(), float("-inf"))
        return cls(u, score, log_weight)


class Strategy(ABC, Generic[StateT]):
    """A way of choosing the next points, as pure functions of a state.

    The constructor is the configuration: keyword-only, typed, with defaults that work. The state is a frozen dataclass
    of tensors, numbers and :class:`~zmax.core.rng.Rng`; saving it after any `tell` and going on from it gives what
    the uninterrupted run gives. `ask` is a pure projection of the state: asking twice proposes the same points.

    Attributes:
        needs: what the generator and the score must offer.
        gives: what it can do beside proposing points.
        begins: what it makes of a start, None where it can take none.
        use: when to choose it, in words for the method table.
        reference: the paper, section and address the method follows.
    """

    needs: frozenset[Need] = frozenset()
    gives: ClassVar[frozenset[Gives]] = frozenset()
    begins: Starts | None = None
    use: ClassVar[str] = ""
    reference: ClassVar[str] = ""

    @abstractmethod
    def init(self, space: Space, rng: torch.Generator) -> StateT:
        """Return the state before the first proposal."""

    @abstractmethod
    def ask(self, state: StateT) -> Proposal:
        """Return the points to look at next, and what is wanted there."""

    @abstractmethod
    def tell(self, state: StateT, evaluation: Evaluation) -> StateT:
        """Return the state that takes the evaluation of `ask(state)` into account."""

    def begin(self, space: Space, rng: torch.Generator, start: Start) -> StateT:
        """Return the state before the first proposal of a search that begins at scored points, best first.

        Their space draws around them (`space.sample`, `space.drawn`) and its retraction leaves their norms alone, so
        for a method whose points all come from there this is :meth:`init`.

        Raises:
            CapabilityError: the method can take no start.
        """
        if self.begins is None:
            raise CapabilityError(f"{type(self).__name__} cannot begin at a start", expected="a method with `begins`")
        return self.init(space, rng)

    def draws(self, state: StateT) -> Population | None:
        """Return the draws that the state stands for, None if the last round's points are as good as any."""
        return None
