"""Points and moves on spheres, one for each block of the latents."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from zmax.core.space import Space
from zmax.kit.chains import TINY


def tangent_to_spheres(space: Space, u: Float[Tensor, "n d"], vector: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
    """Return the part of each vector that is tangent to the spheres of the blocks."""
    return torch.cat([_tangent(a, b) for a, b in zip(space.split(u), space.split(vector), strict=True)], dim=1)


def geodesic(space: Space, u: Float[Tensor, "n d"], move: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
    """Follow, in each block, the great circle that starts along a tangent move for the length of that move."""
    return torch.cat([_turned(a, b) for a, b in zip(space.split(u), space.split(move), strict=True)], dim=1)


def on_spheres(space: Space, u: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
    """Scale each block of k coordinates to the norm sqrt(k)."""
    return torch.cat([part.shape[1] ** 0.5 * direction(part) for part in space.split(u)], dim=1)


def _tangent(u: Tensor, vector: Tensor) -> Tensor:
    outward = direction(u)
    return vector - (vector * outward).sum(1, keepdim=True) * outward


def _turned(u: Tensor, move: Tensor) -> Tensor:
    radius = u.norm(dim=1, keepdim=True)
    angle = move.norm(dim=1, keepdim=True) / radius
    turned = angle.cos() * u + radius * angle.sin() * direction(move)
    return turned * (radius / turned.norm(dim=1, keepdim=True))  # rounding must not add up


def direction(vector: Float[Tensor, "n k"]) -> Float[Tensor, "n k"]:
    """Return each row at length 1."""
    return vector / vector.norm(dim=1, keepdim=True).clamp_min(TINY)
