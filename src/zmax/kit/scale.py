"""Scores in units that tuners can rely on, whatever the user's."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from zmax.core.tuner import WARM

NORMAL_RANGE = 1.349
"""Distance between the quartiles of a standard normal."""


@dataclass(frozen=True)
class Scale:
    """Middle and spread of the parent's scores by quartiles, once they are known.

    Attributes:
        middle: median of the first scores.
        spread: distance of their quartiles, over that of a standard normal; 0 while nothing is known.
        warmth: temperature by default, in such spreads.
    """

    middle: float = 0.0
    spread: float = 0.0
    warmth: float = WARM

    def told(self, score: Float[Tensor, " n"], warmth: float = WARM) -> Scale:
        """Take in scores; only the first ones with a spread count, so that the unit stays what it was.

        Example:
            >>> Scale().told(torch.arange(101.0)).middle
            50.0
        """
        alive = score[torch.isfinite(score)].double()
        if self.spread > 0 or len(alive) < 2:
            return self
        low, middle, high = torch.quantile(alive, torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64)).tolist()
        spread = (high - low) / NORMAL_RANGE or float(alive.std())
        return replace(self, middle=middle, spread=spread, warmth=warmth)

    def temperature(self, asked: float | None) -> float:
        """Return the temperature that was asked for, or the default one in units of the score; 1 if all are equal."""
        return asked or self.warmth * self.spread or 1.0


def groupwise(score: Float[Tensor, " n"], ok: Tensor) -> Float[Tensor, " n"]:
    r"""Return advantages :math:`(S - \bar S) / \hat\sigma` within a round, 0 for failures.

    Args:
        score: values.
        ok: which are of use.
    """
    known = torch.where(ok, score.double(), torch.nan)
    apart = known - known.nanmean()
    return torch.nan_to_num(apart / apart.square().nanmean().sqrt().clamp_min(1e-12))
