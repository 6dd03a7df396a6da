"""A search that begins at known points: they are scored first, or were before, and the method sets out from there."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import torch

from zmax.core.proposal import Evaluation, Latents, Proposal, Value
from zmax.core.rng import Rng
from zmax.core.space import Space
from zmax.core.start import Start
from zmax.core.state import STATIC
from zmax.core.strategy import Population, Strategy


@dataclass(frozen=True)
class StartedState:
    """The inner method's state, and whether it has begun.

    Attributes:
        inner: what the method would begin with from the prior, until the points are scored.
        begun: whether they are.
        wants: whether the method wants to be told samples.
        rng: the stream that the method begins with.
    """

    inner: Any
    begun: bool
    wants: bool
    rng: Rng
    space: Space = field(metadata=STATIC)


class Started(Strategy[StartedState]):
    """Score the points of a start, then let the method begin there; where none of them has a score, from the prior.

    Args:
        strategy: the method, inside its guard, which never moves the points of the start themselves.
        start: the points.

    Example:
        >>> from zmax.core.rng import stream
        >>> from zmax.search.ascent.gradient import Gradient
        >>> method = Started(strategy=Gradient(), start=Start(torch.zeros(1, 100), strength=0.5))
        >>> method.ask(method.init(Space.of((100,)), stream(0))).u.abs().max()
        tensor(0.)
    """

    def __init__(self, *, strategy: Strategy[Any], start: Start) -> None:
        self.strategy = strategy
        self.start = start
        self.needs = strategy.needs

    def init(self, space: Space, rng: torch.Generator) -> StartedState:
        """Propose the points of the start."""
        there, first = replace(space, start=self.start.nearest()), Rng.of(rng)
        inner = self.strategy.init(there, first.generator())
        want = self.strategy.ask(inner).want
        return StartedState(inner, False, isinstance(want, Value) and want.samples, first, there)

    def ask(self, state: StartedState) -> Proposal:
        """Return the points of the start, then what the method proposes."""
        if state.begun:
            return self.strategy.ask(state.inner)
        return Proposal(Latents(self.start.u), Value(samples=state.wants))

    def tell(self, state: StartedState, evaluation: Evaluation) -> StartedState:
        """Let the method begin at those points that have a score, or go on."""
        if state.begun:
            return replace(state, inner=self.strategy.tell(state.inner, evaluation))
        if not bool(evaluation.ok.any()):
            return replace(state, begun=True)
        scored = replace(self.start, score=evaluation.score, samples=evaluation.samples).ranked(evaluation.ok)
        inner = self.strategy.begin(state.space, state.rng.generator(), scored)
        return replace(state, inner=inner, begun=True)

    def draws(self, state: StartedState) -> Population | None:
        """Return what the inner method stands for."""
        return self.strategy.draws(state.inner)
