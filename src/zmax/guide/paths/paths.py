"""Search over paths: keep the points whose previews score best, and let each branch with fresh noise."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar

import torch

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
class PathsState:
    """Points on their way, and the stream of all draws."""

    walk: Walk
    rng: Rng
    space: Space = field(metadata=STATIC)


class Paths(Strategy[PathsState]):
    r"""Search over paths: every few steps the k best of n points branch into n / k each, by the scores of previews.

    .. math:: x_i^{(j)} = a\, x_{i-1} + b\, E[x_0 | x_{i-1}] + c\, \xi^{(j)}, \qquad
              \text{kept: } \operatorname{top}_k\ S(E[x_0 | x_i^{(j)}])

    The paper noises points back a little before they branch; on a path with fresh noise the steps themselves branch,
    which costs nothing. S is asked on the steps where points are chosen and at the end. After a pass the next begins.

    Args:
        rows: number n of points.
        keep: number k of points that branch; divides n.
        every: steps between two choices, which spares score calls.
        ahead: denoising steps that sharpen a preview before it is scored, one more network evaluation each.

    Raises:
        InputError: an argument is not a positive int, or `keep` does not divide `rows`.

    Example:
        >>> import zmax
        >>> law = zmax.testing.gaussian_mixture([[-1.0], [1.0]], [[[0.1]], [[0.1]]], [0.5, 0.5])
        >>> S = zmax.testing.quadratic_score([[1.0]], [2.5])
        >>> r = zmax.maximize(law.generator(steps=20), S, zmax.guide.Paths(every=2), budget=500)
        >>> r.best.score > 2.5
        True
    """

    needs = frozenset({Need.BETWEEN, Need.PATH})
    begins = Starts.PATH
    use: ClassVar[str] = "best samples of a diffusion model where score calls are dear and previews tell"
    reference: ClassVar[str] = (
        "Ma et al., Inference-time scaling for diffusion models beyond scaling denoising steps, 2025, section 3.2, "
        "https://arxiv.org/abs/2501.09732"
    )

    def __init__(self, *, rows: int = 16, keep: int = 4, every: int = 1, ahead: int = 0) -> None:
        whole("Paths", rows=rows, keep=keep, every=every)
        whole("Paths", least=0, ahead=ahead)
        checked_branching("Paths", rows, keep)
        self.rows = rows
        self.keep = keep
        self.every = every
        self.ahead = ahead

    def init(self, space: Space, rng: torch.Generator) -> PathsState:
        """Draw the initial noises."""
        path_of(space)
        return PathsState(Walk.begin(space, self.rows, rng), Rng.of(rng), space)

    def ask(self, state: PathsState) -> Proposal:
        """Return the points, to be scored where they are to be chosen from."""
        scored = (state.walk.step + 1) % self.every == 0
        return state.walk.preview(state.space, scored=scored, ahead=self.ahead)

    def tell(self, state: PathsState, evaluation: Evaluation) -> PathsState:
        """Let the best points branch where that is due, and take a step; at the end begin anew."""
        generator = state.rng.generator()
        walk = None
        if not state.walk.at_end(state.space):
            walk = branched(state.walk, state.space, evaluation, self.keep, generator)
        walk = walk or Walk.begin(state.space, self.rows, generator)
        return PathsState(walk, Rng.of(generator), state.space)


def checked_branching(name: str, rows: int, keep: int) -> None:
    """Raise InputError unless `keep` points can branch into `rows`."""
    if rows % keep or rows == keep:
        raise InputError(f"{name}(keep=...)", expected=f"a proper divisor of rows={rows}", got=keep)


def branched(walk: Walk, space: Space, evaluation: Evaluation, keep: int, generator: torch.Generator) -> Walk | None:
    """Take a step from the points whose previews score best, or from all where none was scored; None if none lives.

    Args:
        walk: the points, all of which go on or branch, so that their number stays.
        space: of their paths.
        evaluation: of their previews.
        keep: how many branch.
        generator: draws the noises of the step.
    """
    (x_0, finite), rows = shown(evaluation), len(walk.x)
    alive = evaluation.ok & finite
    if not bool(alive.any()):
        return None
    if len(evaluation.score):
        score = evaluation.score.masked_fill(~alive, -math.inf)
        best = score.argsort(descending=True, stable=True)[: min(keep, int(alive.sum()))]
        chosen = best.repeat(-(-rows // len(best)))[:rows]
    else:
        chosen = torch.where(alive, torch.arange(rows), alive.long().argmax())
    noise = torch.randn(x_0.shape, generator=generator)
    return take(walk, chosen).onward(space, x_0[chosen], noise)
