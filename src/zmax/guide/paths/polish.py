"""Polish: best-of-N, then particles, then gradients from the best path that these have found."""

from __future__ import annotations

from typing import ClassVar

from zmax.core.strategy import Need
from zmax.guide.paths.relay import Relay


class Polish(Relay):
    r"""Best-of-N, one pass of particles from the best of it, then :class:`~zmax.guide.DNO` from the best path.

    :class:`~zmax.guide.Relay` with `polish_after`. On `avatars-flow:20` at 2,000 network evaluations it climbs less
    high than DNO from prior draws, which has them all for its own steps, and its samples please the judge more: hats
    9.7 and 12.1, judge 5.9 and 5.0, where plain samples have 5.2 (six seeds, all noises plausible).

    Args:
        first: number of paths that are drawn at first.
        lineages: number of paths that are kept.
        rows: points of a pass.
        keep: points of them that branch; divides `rows`.
        tournament: lineages of which the best is taken for a pass.
        polish_after: passes before gradients take over.

    Raises:
        InputError: an argument is not a positive int, or they do not fit each other.

    Example:
        >>> import zmax
        >>> law = zmax.testing.gaussian_mixture([[-1.0], [1.0]], [[[0.1]], [[0.1]]], [0.5, 0.5])
        >>> S = zmax.testing.quadratic_score([[1.0]], [2.5])
        >>> r = zmax.maximize(law.generator(steps=20), S, zmax.guide.Polish(), zmax.Budget(nfe=2000))
        >>> r.best.score > 2.5
        True
    """

    needs = frozenset({Need.GRADIENT, Need.PATH})
    use: ClassVar[str] = "high scores at plausible noises of a diffusion model; look at what they show"

    def __init__(
        self,
        *,
        first: int = 16,
        lineages: int = 4,
        rows: int = 16,
        keep: int = 4,
        tournament: int = 2,
        polish_after: int = 1,
    ) -> None:
        super().__init__(
            first=first, lineages=lineages, rows=rows, keep=keep, tournament=tournament, polish_after=polish_after
        )
