"""Rollover budget forcing: a step is taken once a child beats its parent; what is left over goes to the next step."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from zmax.core.checks import whole
from zmax.core.errors import InputError
from zmax.core.proposal import Evaluation, Proposal
from zmax.core.rng import Rng
from zmax.core.space import Space
from zmax.core.start import Starts
from zmax.core.state import STATIC
from zmax.core.strategy import Need, Strategy
from zmax.generators.diffusion.path import path_of
from zmax.kit.rows import take
from zmax.kit.walk import Walk, shown


@dataclass(frozen=True)
class RolloverState:
    """A point on its way, the children that are to be looked at, and the best of those seen at this step.

    Attributes:
        walk: children of the point, one step ahead of it.
        parent: the point; no rows before the first step.
        x_0: what the parent shows.
        level: the parent's score, -inf before the first step.
        best: the best child so far; no rows before there is one.
        best_x_0: what it shows.
        best_score: its score.
        left: children that may still be looked at in this step.
        rng: the stream of all draws.
    """

    walk: Walk
    parent: Walk
    x_0: Float[Tensor, "m ..."]
    level: float
    best: Walk
    best_x_0: Float[Tensor, "k ..."]
    best_score: float
    left: int
    rng: Rng
    space: Space = field(metadata=STATIC)


class Rollover(Strategy[RolloverState]):
    r"""Rollover budget forcing: one path, whose children are drawn until one's preview scores more than its parent's.

    .. math:: x_s^{(j)} = a\, x_t + b\, E[x_0 | x_t] + c\, \xi^{(j)}, \qquad
              \text{taken: the first } j \text{ with } S(E[x_0 | x_s^{(j)}]) > S(E[x_0 | x_t])

    Every step has a quota of children; what a step does not use is carried over to the next, and a step that has used
    up its own takes the best child. After a pass the next begins.

    Args:
        quota: children a step.
        rows: children looked at together; of several that are better, the best is taken.

    Raises:
        InputError: an argument is not a positive int, or `rows` is more than `quota`.

    Example:
        >>> import zmax
        >>> law = zmax.testing.gaussian_mixture([[-1.0], [1.0]], [[[0.1]], [[0.1]]], [0.5, 0.5])
        >>> S = zmax.testing.quadratic_score([[1.0]], [2.5])
        >>> r = zmax.maximize(law.generator(steps=20), S, zmax.guide.Rollover(), budget=500)
        >>> r.best.score > 2.5
        True
    """

    needs = frozenset({Need.BETWEEN, Need.PATH})
    begins = Starts.PATH
    use: ClassVar[str] = "one very good sample of a diffusion model, evaluations spent where a step is hard"
    reference: ClassVar[str] = (
        "Kim et al., Inference-time scaling for flow models via stochastic generation and rollover budget forcing, "
        "2025, section 5, https://arxiv.org/abs/2503.19385"
    )

    def __init__(self, *, quota: int = 16, rows: int = 4) -> None:
        whole("Rollover", quota=quota, rows=rows)
        if rows > quota:
            raise InputError("Rollover(rows=...)", expected=f"at most quota={quota}", got=rows)
        self.quota = quota
        self.rows = rows

    def init(self, space: Space, rng: torch.Generator) -> RolloverState:
        """Draw the first initial noises."""
        path_of(space)
        return self._begun(space, rng)

    def ask(self, state: RolloverState) -> Proposal:
        """Return the children."""
        return state.walk.preview(state.space)

    def tell(self, state: RolloverState, evaluation: Evaluation) -> RolloverState:
        """Take the step if a child is better or the quota is spent, else look at further children."""
        generator = state.rng.generator()
        x_0, finite = shown(evaluation)
        score = evaluation.score.double().masked_fill(~(evaluation.ok & finite), -math.inf)
        row = score.argmax()[None]
        left = state.left - len(score)
        if float(score[row]) > state.best_score:
            best, best_x_0, best_score = take(state.walk, row), x_0[row], float(score[row])
            state = replace(state, best=best, best_x_0=best_x_0, best_score=best_score)
        if state.best_score <= state.level and left > 0:
            return self._tried(state, left, generator)
        if state.walk.at_end(state.space) or not math.isfinite(state.best_score):
            return self._begun(state.space, generator)
        kept = replace(state, parent=state.best, x_0=state.best_x_0, level=state.best_score)
        kept = replace(kept, best=take(state.best, row[:0]), best_x_0=state.best_x_0[:0], best_score=-math.inf)
        return self._tried(kept, self.quota + max(left, 0), generator)

    def _tried(self, state: RolloverState, left: int, generator: torch.Generator) -> RolloverState:
        """Draw children of the parent; before the first step, further initial noises."""
        rows = min(self.rows, left)
        if not len(state.x_0):
            return replace(state, walk=Walk.begin(state.space, rows, generator), left=left, rng=Rng.of(generator))
        same = torch.zeros(rows, dtype=torch.long)
        noise = torch.randn(rows, *state.x_0.shape[1:], generator=generator)
        walk = take(state.parent, same).onward(state.space, state.x_0[same], noise)
        return replace(state, walk=walk, left=left, rng=Rng.of(generator))

    def _begun(self, space: Space, rng: torch.Generator) -> RolloverState:
        walk = Walk.begin(space, self.rows, rng)
        nobody = take(walk, torch.zeros(0, dtype=torch.long))
        none = -math.inf
        return RolloverState(walk, nobody, nobody.x, none, nobody, nobody.x, none, self.quota, Rng.of(rng), space)
