"""The law of numbers that were seen, each coordinate on its own, as a prior of a latent block."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from zmax.core.errors import ShapeError
from zmax.core.priors import Prior

KNOTS, BEYOND = 129, 6.0
"""Quantiles that a law is known by, and the whitened coordinate up to which it goes on in a straight line."""


@dataclass(frozen=True)
class Quantiles(Prior):
    r"""A law known by its quantiles: z = Q(Phi(u)), linear in u between them; beyond the last ones at the law's spread.

    No request is NaN, in z and in u.

    Attributes:
        knots: ascending values (m, k) of each coordinate at m whitened coordinates, see :func:`places`.

    Example:
        >>> law = Quantiles.fit(torch.arange(1000.0)[:, None])
        >>> [round(float(law.to_latent(torch.tensor([[u]])))) for u in (0.0, 1.0)]
        [500, 840]
    """

    knots: Float[Tensor, "m k"]

    def __post_init__(self) -> None:
        if self.knots.ndim != 2 or len(self.knots) < 4 or bool((self.knots.diff(dim=0) < 0).any()):
            raise ShapeError("knots of a law", expected="(m, k), ascending", got=tuple(self.knots.shape))

    @property
    def size(self) -> int:
        """Number of coordinates."""
        return self.knots.shape[1]

    @classmethod
    def fit(cls, values: Float[Tensor, "n k"]) -> Quantiles:
        """Estimate the quantiles of values; what is not finite is left out."""
        columns = []
        for column in values.double().cpu().unbind(1):
            alive = column[column.isfinite()]
            at = torch.special.ndtr(places(KNOTS + 2)[1:-1])
            inner = alive.quantile(at)
            spread = max(float(alive.std(correction=0)), 1e-9 * (1.0 + float(alive.abs().max())))
            first, last = places(KNOTS + 2)[1], places(KNOTS + 2)[-2]
            low, high = inner[:1] - spread * (BEYOND + first), inner[-1:] + spread * (BEYOND - last)
            columns.append(torch.cat([low, inner, high]))
        return cls(torch.stack(columns, 1).float())

    def to_latent(self, u: Float[Tensor, "n k"]) -> Float[Tensor, "n k"]:
        """Apply the quantile function of Phi(u)."""
        at = places(len(self.knots)).to(u)
        columns = zip(u.unbind(1), self.knots.to(u).unbind(1), strict=True)
        return torch.stack([_line(column, at, knots) for column, knots in columns], 1)

    def to_white(self, z: Float[Tensor, "n k"]) -> Float[Tensor, "n k"]:
        """Invert it; a value that many samples share comes from the middle of them."""
        at = places(len(self.knots)).to(z)
        columns = zip(z.unbind(1), self.knots.to(z).unbind(1), strict=True)
        return torch.stack([_line(column, knots, at) for column, knots in columns], 1)


def places(m: int) -> Float[Tensor, " m"]:
    r"""Return the whitened coordinates of m knots: those of probabilities (i + 1/2) / (m - 2) between two ends."""
    share = (torch.arange(m - 2, device="cpu", dtype=torch.float64) + 0.5) / (m - 2)
    end = torch.tensor([BEYOND], device="cpu", dtype=torch.float64)
    return torch.cat([-end, torch.special.ndtri(share), end])


def _line(x: Tensor, at: Tensor, to: Tensor) -> Tensor:
    """Return the broken line through (at, to) at x; where it stands upright, the middle of that piece."""
    x, at, to = x.contiguous(), at.contiguous(), to.contiguous()
    low, high = (torch.searchsorted(at, x.detach(), right=right) for right in (False, True))
    right = low.clamp(1, len(at) - 1)
    left = right - 1
    width = (at[right] - at[left]).clamp_min(1e-30)
    slanted = to[left] + (x - at[left]) / width * (to[right] - to[left])
    upright = (high - low) > 1
    middle = (to[low.clamp_max(len(at) - 1)] + to[(high - 1).clamp(0, len(at) - 1)]) / 2
    return torch.where(upright & ~x.isnan(), middle, slanted)
