"""A Gaussian process over samples, in dual form: all it knows is a matrix of n points and a vector of n weights."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

WIDEST = 4096
GRID = {
    "length": (0.12, 0.25, 0.5, 1.0, 2.0, 4.0),
    "linear": (0.0, 0.3, 0.9, 0.99),
    "noise": (1e-6, 1e-4, 1e-2, 1e-1, 1.0),
}
STEADY = 1.25
TINY = 1e-12


@dataclass(frozen=True)
class Process:
    r"""The posterior of :math:`f \sim GP(0, s^2 k)` given values at n points, in standardised units.

    .. math:: k(x, x') = a\,(1 + x^\top x' + q q') + (1 - a)\, e^{-|x - x'|^2 / 2 \ell^2}, \qquad q = |x|^2 - 1

    with x centred and divided by the root mean square distance of the points from their mean. The first term holds what
    is linear in x or in its squared length, so that minus the distance to any target is learnt from as many points as
    G's samples have dimensions; the second holds the rest.

    Attributes:
        centre: mean of the points.
        scale: their root mean square distance from it.
        x: the standardised points.
        weights: (K + noise I)^-1 times the standardised values.
        factor: lower Cholesky factor of K + noise I.
        length: l.
        linear: a.
        noise: variance of a value, relative to that of f.
        chosen: number of points at which these three were chosen, 0 for never.
        variance: s^2.
        likely: log p(t), up to a constant.
    """

    centre: Float[Tensor, " m"]
    scale: float
    x: Float[Tensor, "n m"]
    weights: Float[Tensor, " n"]
    factor: Float[Tensor, "n n"]
    length: float = 1.0
    linear: float = 0.3
    noise: float = 1e-2
    chosen: int = 0
    variance: float = 1.0
    likely: float = 0.0

    @classmethod
    def blank(cls) -> Process:
        """Return the process that has seen nothing."""
        none = torch.zeros(0, dtype=torch.float64)
        return cls(none, 1.0, none[:, None][:, :0], none, none[:, None][:, :0])

    def told(self, x: Float[Tensor, "n m"], y: Float[Tensor, " n"]) -> Process:
        """Condition on these values alone; choose l, a and the noise anew once a quarter more are known.

        The choice is the most likely one on a grid,
        :math:`\\log p(y) = -\\tfrac n2 \\log s^2 - \\tfrac12 \\log|K| + c` with :math:`s^2 = y^T K^{-1} y / n`; see
        Rasmussen and Williams, Gaussian processes for machine learning, 2006, equation 2.30.
        """
        x, y = x.double(), y.double()
        centre = x.mean(0)
        scale = float((x - centre).square().sum(1).mean().sqrt())
        scale = scale if scale > TINY else 1.0
        blank = x.new_zeros(len(y), len(y))
        new = replace(self, centre=centre, scale=scale, x=(x - centre) / scale, weights=blank[0], factor=blank)
        stale = len(y) >= STEADY * self.chosen or len(y) < self.chosen
        return (new._chosen if stale else new._solved)(y, *new._products())

    def features(self, samples: Tensor) -> Float[Tensor, "n m"]:
        """Return samples in the process's units."""
        return (flattened(samples).double() - self.centre) / self.scale

    def predict(self, x: Float[Tensor, "k m"]) -> tuple[Float[Tensor, " k"], Float[Tensor, " k"]]:
        """Return mean and standard deviation of f at standardised points."""
        q, known = x.square().sum(1) - 1, self.x.square().sum(1) - 1
        inner = x @ self.x.T
        k = self._mixed(inner + torch.outer(q, known), (q[:, None] + known + 2 - 2 * inner).clamp_min(0.0))
        half = torch.linalg.solve_triangular(self.factor, k.T, upper=False)
        own = self._mixed(1 + q + q.square(), torch.zeros_like(q))
        return k @ self.weights, (self.variance * (own - half.square().sum(0)).clamp_min(TINY)).sqrt()

    def smoothed(self) -> Float[Tensor, " n"]:
        """Return the posterior mean at the points themselves, in standardised units."""
        linear, square = self._products()
        return self._mixed(linear, square) @ self.weights

    def _mixed(self, linear: Tensor, square: Tensor) -> Tensor:
        return self.linear * (1 + linear) + (1 - self.linear) * torch.exp(-square / (2 * self.length**2))

    def _products(self) -> tuple[Float[Tensor, "n n"], Float[Tensor, "n n"]]:
        q = self.x.square().sum(1) - 1
        inner = self.x @ self.x.T
        return inner + torch.outer(q, q), (q[:, None] + q + 2 - 2 * inner).clamp_min(0.0)

    def _solved(self, y: Tensor, linear: Tensor, square: Tensor) -> Process:
        """Solve for the weights at these l, a and noise."""
        spread = float(y.std(correction=0))
        t = (y - y.mean()) / (spread if spread > TINY * (1 + float(y.abs().max())) else 1.0)
        gram = self._mixed(linear, square)
        gram.diagonal().add_(self.noise)
        factor = torch.linalg.cholesky(gram)
        weights = torch.cholesky_solve(t[:, None], factor)[:, 0]
        variance = max(float(t @ weights) / len(t), TINY)
        likely = -0.5 * len(t) * math.log(variance) - float(factor.diagonal().log().sum())
        return replace(self, factor=factor, weights=weights, variance=variance, likely=likely)

    def _with(self, name: str, value: float) -> Process:
        changed: dict[str, Any] = {name: value}
        return replace(self, **changed)

    def _chosen(self, y: Tensor, linear: Tensor, square: Tensor) -> Process:
        """Climb the likelihood along the grid's axes, from where it was highest the last time."""
        best, found = replace(self, chosen=len(y))._solved(y, linear, square), True
        while found:
            found = False
            for name, values in GRID.items():
                for value in values:
                    near = abs(values.index(value) - values.index(getattr(best, name))) == 1
                    other = best._with(name, value)._solved(y, linear, square) if near else best
                    best, found = (other, True) if other.likely > best.likely else (best, found)
        return best


def flattened(samples: Float[Tensor, "n ..."]) -> Float[Tensor, "n m"]:
    """Return samples as vectors; above 4096 values they are sketched, which keeps distances to about 2 %.

    Each value is added, with a sign, to one of 4096 buckets: Charikar, Chen and Farach-Colton, Finding frequent items
    in data streams, ICALP 2002, section 3.
    """
    flat = samples.flatten(1)
    if flat.shape[1] <= WIDEST:
        return flat
    bucket, sign = _hashes(flat.shape[1])
    return flat.new_zeros(len(flat), WIDEST).index_add(1, bucket.to(flat.device), flat * sign.to(flat))


def _hashes(m: int) -> tuple[Int[Tensor, " m"], Float[Tensor, " m"]]:
    rng = torch.Generator(device="cpu").manual_seed(m)
    bucket = torch.randint(WIDEST, (m,), generator=rng, device="cpu")
    return bucket, torch.randint(2, (m,), generator=rng, device="cpu").float() * 2 - 1
