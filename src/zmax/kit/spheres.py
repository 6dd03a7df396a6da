"""Points and moves on spheres, one for each block of the latents.

Blocks of fewer than ten coordinates, and those that fill a box or a simplex, have no typical sphere: there moves are
straight, and end where a guard would stop.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from zmax.core.priors import EDGE, LEVEL
from zmax.core.space import Block, Space
from zmax.kit.chains import TINY


def tangent_to_spheres(space: Space, u: Float[Tensor, "n d"], vector: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
    """Return the part of each vector that is tangent to the spheres of the blocks."""
    rows = zip(space.blocks, space.split(u), space.split(vector), strict=True)
    return torch.cat([_tangent(a, b) if has_sphere(block) else b for block, a, b in rows], dim=1)


def geodesic(space: Space, u: Float[Tensor, "n d"], move: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
    """Follow, in each block, the great circle that starts along a tangent move for the length of that move."""
    rows = zip(space.blocks, space.split(u), space.split(move), strict=True)
    return torch.cat(
        [_turned(a, b) if has_sphere(block) else block.prior.retract(a + b, EDGE) for block, a, b in rows], dim=1
    )


def on_spheres(space: Space, u: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
    """Scale each block of k coordinates to the norm sqrt(k)."""
    rows = zip(space.blocks, space.split(u), strict=True)
    return torch.cat(
        [b.size**0.5 * direction(a) if has_sphere(b) else b.prior.retract(a, EDGE) for b, a in rows], dim=1
    )


def has_sphere(block: Block) -> bool:
    """Say whether prior draws of a block lie near a sphere."""
    return block.prior.shell(block.size, LEVEL)[0] > 0


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
