"""Exact maximiser of a quadratic over a sphere or a ball."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from zmax.core.errors import InputError


def argmax_on_sphere(matrix: Float[Tensor, "d d"], vector: Float[Tensor, " d"], radius: float) -> Float[Tensor, " d"]:
    r"""Return the maximiser of :math:`-u^\top H u / 2 + g^\top u` over :math:`|u| = r`.

    It solves :math:`(H + \mu I) u = g` with :math:`H + \mu I \succeq 0`, where the secular equation
    :math:`\sum_i g_i^2 / (h_i + \mu)^2 = r^2` fixes mu > -h_min. In the hard case (g orthogonal to the lowest
    eigenvectors and too little norm at mu = -h_min) the rest of the norm goes along a lowest eigenvector, of either
    sign. Reference: Nocedal & Wright 2006, *Numerical Optimization*, 2nd ed., thm 4.1 and sec. 4.3.

    Args:
        matrix: H (d, d), symmetric.
        vector: g (d,).
        radius: r > 0.

    Raises:
        InputError: the radius is not positive.

    Example:
        >>> H, g = torch.diag(torch.tensor([1.0, 2.0])).double(), torch.tensor([3.0, 0.0]).double()
        >>> [round(v, 6) + 0.0 for v in argmax_on_sphere(H, g, 2.0).tolist()]
        [2.0, 0.0]
    """
    if not radius > 0:
        raise InputError("radius of a sphere", expected="a positive number", got=radius)
    values, basis = torch.linalg.eigh(matrix)
    along = basis.T @ vector
    gap = values - values[0]
    scale = float(values.abs().max())
    lowest = gap <= 1e-13 * scale
    if float(along[lowest].norm()) <= 1e-14 * float(along.norm()):
        along = torch.where(lowest, 0.0, along)
        flat = torch.where(lowest, 0.0, along / torch.where(lowest, 1.0, gap))
        if float(flat.norm()) <= radius:
            flat[0] = (radius**2 - flat.square().sum()).clamp_min(0).sqrt()
            return basis @ flat
    gap = torch.where(lowest, 0.0, gap)
    solution = along / (gap + _secular_root(gap, along, radius))
    return basis @ (solution * (radius / solution.norm()))


def argmax_in_ball(matrix: Float[Tensor, "d d"], vector: Float[Tensor, " d"], radius: float) -> Float[Tensor, " d"]:
    r"""Return the maximiser of :math:`-u^\top H u / 2 + g^\top u` over :math:`|u| \le r`, the shortest if not unique.

    The unconstrained maximiser :math:`H^+ g` where there is one inside, else that on the sphere.

    Args:
        matrix: H (d, d), symmetric.
        vector: g (d,).
        radius: r > 0.
    """
    values, basis = torch.linalg.eigh(matrix)
    along = basis.T @ vector
    flat = values.abs() <= 1e-13 * float(values.abs().max())
    bounded = not bool((values[~flat] < 0).any()) and float(along[flat].norm()) <= 1e-14 * float(along.norm())
    inner = torch.where(flat, 0.0, along / torch.where(flat, 1.0, values))
    if bounded and float(inner.norm()) <= radius:
        return basis @ inner
    return argmax_on_sphere(matrix, vector, radius)


def _secular_root(gap: Float[Tensor, " d"], along: Float[Tensor, " d"], radius: float) -> float:
    """Solve |along / (gap + s)| = radius for s > 0 by bisection of the exponent: the norm falls with s."""
    high = float(along.norm()) / radius
    low = max(float(along[gap == 0].norm()) / radius, high * 1e-30)
    for _ in range(200):
        middle = (low * high) ** 0.5
        if float((along / (gap + middle)).norm()) > radius:
            low = middle
        else:
            high = middle
    return (low * high) ** 0.5
