"""A trust region on the prior's shell, and where in it the bound of a Gaussian process is largest."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from zmax.search.surrogate.matern import Posterior
from zmax.search.surrogate.trust import COLUMNS, inner

SPAN = 1e-10  # added to inner products / d of points that may be dependent
STEPS, STRIDE, SCATTER = 25, 0.5, 0.3  # ascent of the bound: steps, the first of them and its start, in radii


def bordered(gram: Float[Tensor, "n n"], rows: Float[Tensor, "b m"]) -> Float[Tensor, "m m"]:
    """Return the Gram matrix of n points and b more, whose inner products with all n + b are `rows`."""
    return torch.cat([torch.cat([gram, rows[:, : len(gram)].T], dim=1), rows])


@dataclass(frozen=True)
class Frame:
    """Coordinates, in units of sqrt(d), in which points and directions have as few numbers as their span allows.

    Attributes:
        rows: coordinates of the points kept, then of the directions.
        factor: lower triangle with which `rows` are the span's own coordinates, None where they are plain ones.
    """

    rows: Float[Tensor, "m r"]
    factor: Float[Tensor, "m m"] | None

    @classmethod
    def of(cls, points: Float[Tensor, "n dim"], gram: Float[Tensor, "n n"], z: Float[Tensor, "b dim"]) -> Frame:
        """Return the frame of points, whose inner products / d are `gram`, and of directions z."""
        every = torch.cat([points, z])
        if len(every) >= every.shape[1]:
            return cls(every.double() / every.shape[1] ** 0.5, None)
        gram = bordered(gram, inner(z, every))
        gram.diagonal().add_(SPAN)
        factor = torch.linalg.cholesky(gram)
        return cls(factor, factor)

    def plain(self, x: Float[Tensor, "k r"], points: Float[Tensor, "m dim"]) -> Float[Tensor, "k dim"]:
        """Return coordinates x as points of the whole space."""
        if self.factor is None:
            return (x * points.shape[1] ** 0.5).float()
        c = torch.linalg.solve_triangular(self.factor, x, upper=False, left=False)
        return torch.cat([c @ part.double() for part in points.split(COLUMNS, dim=1)], dim=1).float()


@dataclass(frozen=True)
class Region:
    """The typical points within a radius of home; all lengths in units of sqrt(d)."""

    home: Float[Tensor, " r"]
    radius: float
    low: float
    high: float

    def inside(self, x: Float[Tensor, " r"]) -> Float[Tensor, " r"]:
        """Return x drawn towards home, then moved to the shell."""
        step = x - self.home
        x = self.home + step * min(1.0, self.radius / _length(step))
        return x * (min(max(_length(x), self.low), self.high) / _length(x))

    def climbed(self, model: Posterior, known: Tensor, towards: Tensor, confidence: float) -> Float[Tensor, " r"]:
        """Follow the bound's normalised gradient with ever smaller steps, from beside home."""
        x = self.inside(self.home + SCATTER * self.radius * towards)
        for step in range(STEPS):
            _, pull = model.bound((known - x).square().sum(1), confidence)
            slope = pull.sum() * x - pull @ known
            x = self.inside(x + slope * (STRIDE * self.radius * (1 - step / STEPS) / _length(slope)))
        return x


def maximisers(
    model: Posterior, region: Region, known: Float[Tensor, "n r"], towards: Float[Tensor, "b r"], confidence: float
) -> Float[Tensor, "b r"]:
    """Return maximisers of the bound in the region, one for each direction, each knowing of those before it."""
    n = len(known)
    for direction in towards:
        x = region.climbed(model, known, direction, confidence)
        model = model.foreseeing((known - x).square().sum(1))
        known = torch.cat([known, x[None]])
    return known[n:]


def _length(x: Tensor) -> float:
    return max(float(x.norm()), 1e-15)
