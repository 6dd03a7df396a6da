"""What gradient methods of many independent chains share: reading gradients, the shell's tangent, redraws.

What samplers of the tilted law share is in `mcmc.py`.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from zmax.core.errors import CapabilityError
from zmax.core.proposal import Evaluation
from zmax.core.rng import Rng
from zmax.core.space import Space
from zmax.core.start import Start, Starts
from zmax.core.strategy import Need, StateT, Strategy
from zmax.kit.rows import where

NUDGE = 1e-3
ROUNDING = 3e-4  # share of a gradient that single precision cannot tell from zero
TINY = 1e-300


class Climb(Strategy[StateT]):
    """Gradient ascent by chains that never see each other, in parts that other methods can put together anew."""

    batch: int
    needs = frozenset({Need.GRADIENT})
    begins = Starts.CHAINS

    def begin(self, space: Space, rng: torch.Generator, start: Start) -> StateT:
        """Set out from the points of a start, one chain each, as many as there are and the method has chains."""
        u = start.u[: self.batch]
        placed: StateT = self.placed(self.drawn(len(u), space, Rng.of(rng)), u)
        return placed

    def tell(self, state: StateT, evaluation: Evaluation) -> StateT:
        """Move every chain; redraw those that are spent."""
        moved, spent = self.advance(state, evaluation)
        return self.redraw(moved, spent)

    @abstractmethod
    def advance(self, state: StateT, evaluation: Evaluation) -> tuple[StateT, Bool[Tensor, " n"]]:
        """Move every chain, and say which are spent: their sample failed, or they get no further."""

    def redraw(self, state: StateT, rows: Bool[Tensor, " n"]) -> StateT:
        """Begin those chains again from prior draws."""
        if not bool(rows.any()):
            return state
        here: Any = state
        fresh = self.drawn(len(rows), here.space, here.rng)
        return replace(where(rows, fresh, here), rng=fresh.rng)

    @abstractmethod
    def drawn(self, n: int, space: Space, rng: Rng) -> Any:
        """Return the state of n chains drawn from the prior, with the stream that follows."""

    @abstractmethod
    def placed(self, state: Any, u: Float[Tensor, "n dim"]) -> Any:
        """Return chains that were just drawn, moved to those points."""

    @abstractmethod
    def best(self, state: StateT) -> Float[Tensor, " n"]:
        """Return the best score of each chain since it was drawn."""


def gradient_of(method: str, evaluation: Evaluation) -> Float[Tensor, "n dim"]:
    """Return the evaluation's gradient in double precision.

    Raises:
        CapabilityError: it has none.
    """
    if evaluation.grad is None:
        raise CapabilityError(f"{method} was told scores without gradients", expected="evaluation.grad")
    return evaluation.grad.double()


def tangent(space: Space, u: Float[Tensor, "n dim"], grad: Float[Tensor, "n dim"]) -> Float[Tensor, "n dim"]:
    r"""Take out of a gradient what retraction to the typical shell would undo.

    .. math:: \bigl(R(u + h g) - R(u)\bigr) / h

    Inside the shell that is g; at its rim it is the tangent part of a g that points out, and 0 where g is parallel
    to u.
    """
    u, norm = u.double(), grad.norm(dim=1, keepdim=True)
    h = NUDGE * u.norm(dim=1, keepdim=True) / norm.clamp_min(TINY)
    rest = (space.retract(u + h * grad) - space.retract(u)) / h
    return torch.where(rest.norm(dim=1, keepdim=True) > ROUNDING * norm, rest, 0.0)


def clipped(vector: Float[Tensor, "n dim"], longest: float | Float[Tensor, "n 1"]) -> Float[Tensor, "n dim"]:
    """Cut each row's norm to at most `longest`."""
    return vector * (longest / vector.norm(dim=1, keepdim=True).clamp_min(TINY)).clamp(max=1.0)


HALVINGS = 6


@dataclass(frozen=True)
class Progress:
    """One row a chain.

    Attributes:
        step: its present step.
        best: its best score.
        stalled: steps since that best, or since its step was last halved.
    """

    step: Float[Tensor, " n"]
    best: Float[Tensor, " n"]
    stalled: Int[Tensor, " n"]

    def told(self, evaluation: Evaluation, patience: int, first: float) -> tuple[Progress, Bool[Tensor, " n"]]:
        """Take in the scores: a chain that has not improved for `patience` steps halves its step.

        Args:
            evaluation: scores of the chains.
            patience: steps without improvement before that.
            first: the step that chains begin with.

        Returns:
            The progress, and which chains are spent: their sample failed, or their step was halved too often.
        """
        score = evaluation.score.double()
        better = evaluation.ok & (score > self.best)
        stalled = torch.where(better, 0, self.stalled + 1)
        tired = stalled >= patience
        step = torch.where(tired, self.step / 2, self.step)
        best, stalled = torch.where(better, score, self.best), torch.where(tired, 0, stalled)
        return Progress(step, best, stalled), ~evaluation.ok | (step < 0.75 * first / 2**HALVINGS)
