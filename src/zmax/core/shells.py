"""The typical shell of a normal block: between which norms its points are plausible."""

from __future__ import annotations

from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor

SMALL = 10
"""Blocks of fewer coordinates have no shell: their prior reaches to the origin, so only norms too large are odd."""

LEVEL = 0.5
"""Plausibility that retraction ends at where nothing else is said."""

EDGE = 0.051
"""Plausibility that guards hold points at: a little above 0.05, below which it is suspicious, for rounding's sake."""


def radial_plausibility(u: Float[Tensor, "n k"]) -> Float[Tensor, " n"]:
    r"""Return the p-value of :math:`|u|^2` under :math:`\chi^2_k`: two-sided, or the upper one below ten dimensions.

    .. math:: 2 \min\{F_k(|u|^2),\ 1 - F_k(|u|^2)\} \quad\text{or}\quad 1 - F_k(|u|^2)

    It is uniform on [0, 1] for prior draws, near 1 on the typical shell :math:`|u| \approx \sqrt{k}`, and falls to 0
    for points too far out *or* too near the origin, which is no rare place where k is small.

    Example:
        >>> shell = torch.ones(1, 100)
        >>> [round(float(radial_plausibility(s * shell)), 2) for s in (0.5, 1.0, 2.0)]
        [0.0, 0.96, 0.0]
    """
    half = torch.tensor(u.shape[1] / 2, dtype=torch.float64, device=u.device)
    square = u.double().square().sum(1) / 2
    above = torch.special.gammaincc(half, square)
    return (above if u.shape[1] < SMALL else 2 * torch.minimum(1 - above, above)).to(u.dtype)


def radial_retract(u: Float[Tensor, "n k"], level: float) -> Float[Tensor, "n k"]:
    """Move each row radially to the nearest norm whose plausibility is at least `level`; rows already there stay."""
    return between(u, *shell(u.shape[1], level))


def between(u: Float[Tensor, "n k"], low: float, high: float) -> Float[Tensor, "n k"]:
    """Move each row radially to the nearest norm between the two; rows already there stay."""
    norm = torch.linalg.vector_norm(u, dim=1, keepdim=True)
    factor = torch.where((norm < low) | (norm > high), norm.clamp(low, high) / norm.clamp_min(1e-30), 1.0)
    moved = u * factor
    return torch.where(norm > 0, moved, low / u.shape[1] ** 0.5) if bool((norm == 0).any()) else moved


@lru_cache(maxsize=256)
def shell(k: int, level: float) -> tuple[float, float]:
    """Return the radii between which a block of k coordinates is kept: where its plausibility is at least `level`.

    In fewer than ten dimensions any norm is taken that is not suspicious: there a level of 0.5 would forbid most of
    what a method can gain.
    """
    if k < SMALL:
        return 0.0, _chi_quantile(k, 1 - min(level, EDGE))
    return _chi_quantile(k, level / 2), _chi_quantile(k, 1 - level / 2)


def _chi_quantile(k: int, p: float) -> float:
    """Invert the chi distribution function by bisection (it is monotone; 200 halvings reach float64)."""
    half = torch.tensor(k / 2, dtype=torch.float64, device="cpu")
    low, high = 0.0, k**0.5 + 40.0
    for _ in range(200):
        middle = (low + high) / 2
        below = float(torch.special.gammainc(half, half.new_tensor(middle**2 / 2))) < p
        low, high = (middle, high) if below else (low, middle)
    return (low + high) / 2
