"""Relays with a purpose of their own."""

from __future__ import annotations

from zmax.core.presets import preset
from zmax.core.strategy import Need
from zmax.guide.paths.relay import Relay


@preset(first=16, lineages=4, polish_after=1)
class Polish(Relay):
    r"""Best-of-N, one pass of particles from the best of it, then :class:`~zmax.guide.DNO` from the best path.

    :class:`~zmax.guide.Relay` with `polish_after`. On `avatars-flow:20` at 2,000 network evaluations it climbs less
    high than DNO from prior draws, which has them all for its own steps, and its samples please the judge more: hats
    9.7 and 12.1, judge 5.9 and 5.0, where plain samples have 5.2 (six seeds, each noise tested alone).

    Example:
        >>> import zmax
        >>> law = zmax.testing.gaussian_mixture([[-1.0], [1.0]], [[[0.1]], [[0.1]]], [0.5, 0.5])
        >>> S = zmax.testing.quadratic_score([[1.0]], [2.5])
        >>> r = zmax.maximize(law.generator(steps=20), S, zmax.guide.Polish(), zmax.Budget(nfe=2000))
        >>> r.best.score > 2.5
        True
    """

    needs = frozenset({Need.BETWEEN, Need.GRADIENT, Need.PATH})
    use = "high scores of a diffusion model from a good start, at noises that pass for white"
