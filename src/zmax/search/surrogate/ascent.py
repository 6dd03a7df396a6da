"""Ascent of a model of the score through G: conjugate gradients on the typical shell, without line search."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float
from torch import Tensor

from zmax.core.space import Space
from zmax.core.state import ROW
from zmax.kit.chains import TINY, tangent
from zmax.kit.rows import where

LONGER, SHORTER = 1.6, 0.4
SHORTEST, ANEW = 1e-5, 1e-2


@dataclass(frozen=True)
class Ascent:
    """One row a chain: the best it reached, where it goes, and what it tries next.

    Attributes:
        u: the best point reached; value and slope are those of the model there.
        value: minus infinity before the start has been looked at.
        slope: gradient of the model in u.
        way: direction of search.
        step: length of the next try, in units of |u|.
        trial: the point tried next.
    """

    u: Float[Tensor, "n dim"] = field(metadata=ROW)
    value: Float[Tensor, " n"] = field(metadata=ROW)
    slope: Float[Tensor, "n dim"] = field(metadata=ROW)
    way: Float[Tensor, "n dim"] = field(metadata=ROW)
    step: Float[Tensor, " n"] = field(metadata=ROW)
    trial: Float[Tensor, "n dim"] = field(metadata=ROW)

    @classmethod
    def begin(cls, u: Float[Tensor, "n dim"], step: Float[Tensor, " n"]) -> Ascent:
        """Return chains whose first try is where they start."""
        zero = torch.zeros(u.shape, dtype=torch.float64)
        return cls(u, zero.new_full((len(u),), float("-inf")), zero, zero, step, u)


def climbed(space: Space, at: Ascent, value: Tensor, slope: Tensor, nudge: Tensor) -> Ascent:
    r"""Take in what the model says of the trials; keep the better ones, and try further along, or nearer where worse.

    .. math:: d \leftarrow g' + \max\left(0, \frac{g'^\top (g' - g)}{g^\top g}\right) d

    Reference: Polak and Ribiere, Note sur la convergence de methodes de directions conjuguees, 1969.

    Args:
        space: the space of the chains.
        at: the chains.
        value: the model's values at their trials (n,).
        slope: its gradients in u (n, d).
        nudge: added to the next directions, in units of the prior's standard deviation (n, d).
    """
    new = tangent(space, at.trial, slope.double())
    first = at.value == float("-inf")
    better = (torch.isfinite(value) & (value > at.value)) | first
    old = at.slope.square().sum(1)
    turn = torch.where(old > 0, ((new - at.slope) * new).sum(1) / old.clamp_min(TINY), 0.0).clamp(0.0, 2.0)
    way = new + turn[:, None] * at.way
    way = torch.where(((way * new).sum(1) > 0)[:, None], way, new)
    step = torch.where(first, at.step, at.step * torch.where(better, LONGER, SHORTER))
    value = torch.nan_to_num(value, nan=-1e300, neginf=-1e300)
    kept = replace(where(better, replace(at, u=at.trial, value=value, slope=new, way=way), at), step=step)
    anew = replace(kept, way=kept.slope, step=torch.full_like(step, ANEW))
    kept = where(step < SHORTEST, anew, kept)
    unit = kept.way / kept.way.norm(dim=1, keepdim=True).clamp_min(TINY) * space.dim**0.5
    trial = kept.u.double() + kept.step[:, None] * (unit + nudge)
    return replace(kept, trial=space.retract(trial).to(at.u.dtype))
