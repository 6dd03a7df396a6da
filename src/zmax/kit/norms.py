"""The norm of each block as one more coordinate of a search law, so that a shell's inside is searched as its rim is."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from zmax.core.priors import LEVEL, SMALL
from zmax.core.rng import Rng
from zmax.core.space import Space

RATE = 0.6  # of the natural gradient of a width in one dimension: (3 + ln 1) / 5
NARROWEST = 1e-9


@dataclass(frozen=True)
class Norms:
    r"""A law of norms beside a law of points, one row of them a block of the space.

    Past the rim of the typical shell a score of retracted points does not depend on how far past they were, so that a
    law of points loses sight of norms. Here a point u of the law gives its directions alone, and each block's norm is

    .. math:: r = \mathrm{clip}(\rho + \tau\,\zeta),\ \zeta \sim N(0, 1), \qquad
              \rho \leftarrow \sum_k w_k r_k, \qquad
              \tau \leftarrow \tau \exp\Bigl(\tfrac{\eta}{2} \sum_k (w_k - \tfrac1n)\,(r_k - \rho)^2 / \tau^2\Bigr)

    with the weights w of the parents, and :math:`\tau` never wider than one coordinate of the law at that norm.
    Clipped to the shell, norms that press against its rim narrow :math:`\tau` until they lie on it.

    Attributes:
        centre: :math:`\rho` of each block.
        width: :math:`\tau` of each block.
        r: norms drawn, the centre's as the last row.
    """

    centre: Float[Tensor, " blocks"]
    width: Float[Tensor, " blocks"]
    r: Float[Tensor, "n blocks"]


def fresh_norms(space: Space, u: Float[Tensor, "n dim"], weight: Float[Tensor, " n"]) -> Norms:
    """Return the law that begins at the weighted mean of the norms of points, as wide as it may be."""
    r = weight.double() @ _lengths(space, u)
    return Norms(r, torch.full_like(r, float("inf")), r[None])


def drawn_norms(
    norms: Norms, space: Space, mean: Float[Tensor, " dim"], variance: Float[Tensor, " dim"], n: int, rng: Rng
) -> tuple[Norms, Rng]:
    """Draw n norms a block, for a law of that mean and those variances of its coordinates."""
    spread = torch.stack([part.mean().sqrt() for part in space.split(variance[None].double())])
    cap = spread * norms.centre / _lengths(space, mean[None])[0].clamp_min(1e-30)
    width = torch.minimum(norms.width, cap).clamp_min(NARROWEST)
    zeta, rng = rng.normal(n, len(width), dtype=torch.float64)
    r = torch.cat([norms.centre + width * zeta, norms.centre[None]])
    low, high = torch.tensor(space.shells(), dtype=torch.float64).T
    return replace(norms, width=width, r=r.clamp(low, high)), rng


def learned_norms(norms: Norms, weight: Float[Tensor, " n"]) -> Norms:
    """Move the law towards the norms of the parents; weights are those of the drawn rows, and sum to 1."""
    r, w = norms.r[:-1], weight.double()
    off = (r - norms.centre) / norms.width
    grown = (w - 1 / len(w)) @ off.square()
    return replace(norms, centre=w @ r, width=norms.width * (RATE / 2 * grown).clamp(max=1.0).exp())


def placed(space: Space, u: Float[Tensor, "n dim"], norms: Float[Tensor, "n blocks"]) -> Float[Tensor, "n dim"]:
    """Return points in the directions of u at those norms; blocks without a shell are retracted as they are."""
    parts = []
    for block, part, r in zip(space.blocks, space.split(u), norms.T, strict=True):
        if block.prior.radial and block.size >= SMALL:
            length = torch.linalg.vector_norm(part, dim=1, keepdim=True).clamp_min(1e-30)
            parts.append(part * (r[:, None].to(part) / length))
        else:
            parts.append(block.prior.retract(part, LEVEL))
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)


def _lengths(space: Space, u: Float[Tensor, "n dim"]) -> Float[Tensor, "n blocks"]:
    return torch.stack([torch.linalg.vector_norm(part.double(), dim=1) for part in space.split(u)], dim=1)
