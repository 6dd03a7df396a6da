"""Points on well-known shapes, for :func:`~zmax.testing.point_cloud`."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor


def ring(
    n: int, rng: torch.Generator, *, inner: float = 0.8, outer: float = 1.2, noise: float = 0.0
) -> Float[Tensor, "n 2"]:
    """Draw points uniform in area on a ring about the origin.

    Args:
        n: number of points.
        rng: source of randomness.
        inner: smallest radius.
        outer: largest radius.
        noise: standard deviation of normal noise added to them.

    Example:
        >>> radius = ring(1000, torch.Generator().manual_seed(0)).norm(dim=1)
        >>> bool(((radius >= 0.8) & (radius <= 1.2)).all())
        True
    """
    u = torch.rand(n, 2, generator=rng, dtype=torch.float64)
    radius, angle = torch.lerp(u.new_tensor(inner**2), u.new_tensor(outer**2), u[:, 0]).sqrt(), 2 * math.pi * u[:, 1]
    return torch.stack([radius * angle.cos(), radius * angle.sin()], 1) + noise * _normal(n, 2, rng)


def swiss_roll(n: int, rng: torch.Generator, *, noise: float = 0.3, scale: float = 2.0) -> Float[Tensor, "n 3"]:
    r"""Draw points of the Swiss roll, wound in x and y and 21 / scale wide along z, about z = 0.

    .. math:: (\theta \cos\theta, \theta \sin\theta, h) / \text{scale} + \text{noise}\, \xi / \text{scale}, \quad
        \theta \sim U(\tfrac32 \pi, \tfrac92 \pi), \quad h \sim U(-\tfrac{21}{2}, \tfrac{21}{2})

    That is scikit-learn's `make_swiss_roll` with its last two axes exchanged, h centred, divided by the scale. At the
    default scale the score -x^2/100 - y^2/100 - z^2 has the mean -0.72 under the law that it tilts at temperature 1.
    References: Marsland 2014, *Machine Learning*, ch. 6; the problem is that of Kim et al. 2025, *DAS*, sec. 4.1,
    https://arxiv.org/abs/2501.05803, whose scale is not stated there.

    Args:
        n: number of points.
        rng: source of randomness.
        noise: standard deviation of normal noise, before the division.
        scale: what the coordinates are divided by.

    Example:
        >>> swiss_roll(5, torch.Generator().manual_seed(0)).shape
        torch.Size([5, 3])
    """
    u = torch.rand(n, 2, generator=rng, dtype=torch.float64)
    angle = 1.5 * math.pi * (1 + 2 * u[:, 0])
    roll = torch.stack([angle * angle.cos(), angle * angle.sin(), 21 * (u[:, 1] - 0.5)], 1)
    return (roll + noise * _normal(n, 3, rng)) / scale


def _normal(n: int, d: int, rng: torch.Generator) -> Tensor:
    return torch.randn(n, d, generator=rng, dtype=torch.float64)
