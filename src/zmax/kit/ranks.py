"""What the methods of this room share: ranks, and what becomes of a search law's mean."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from zmax.core.space import Space

COLLAPSED, EXPLODED = 1e-6, 1e6


def ranking(score: Float[Tensor, " n"], ok: Bool[Tensor, " n"]) -> Int[Tensor, " n"]:
    """Return the row numbers from best to worst; failed rows come last, ties keep their order."""
    by_score = torch.argsort(score, descending=True, stable=True)
    return by_score[torch.argsort(ok[by_score].byte(), descending=True, stable=True)]


def shared(weight: Float[Tensor, " n"], score: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """Give equal scores equal weights, the mean of what their ranks earn; scores are sorted from best to worst.

    Example:
        >>> shared(torch.tensor([0.5, 0.25, 0.125, 0.125]), torch.tensor([3.0, 2.0, 2.0, 1.0])).tolist()
        [0.5, 0.1875, 0.1875, 0.125]
    """
    _, group, size = score.unique_consecutive(return_inverse=True, return_counts=True)
    if len(size) == len(score):
        return weight
    return (torch.zeros(len(size), dtype=weight.dtype).index_add_(0, group, weight) / size)[group]


def mean_ranks(score: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """Return the rank of each score, 0 for the lowest; equal scores share the mean of theirs.

    Example:
        >>> mean_ranks(torch.tensor([3.0, 1.0, 3.0, 2.0])).tolist()
        [2.5, 0.0, 2.5, 1.0]
    """
    _, group, size = score.unique(return_inverse=True, return_counts=True)
    return (size.cumsum(0).double() - (size + 1) / 2)[group]


def by_rank(score: Float[Tensor, " n"], sharpness: float) -> Float[Tensor, " n"]:
    r"""Return weights :math:`1 / (k n + \mathrm{rank})`, the best having rank 0; equal scores share theirs.

    Example:
        >>> by_rank(torch.tensor([1.0, 3.0, 2.0]), 1 / 3).tolist()
        [0.333..., 1.0, 0.5]
    """
    order = score.argsort(descending=True, stable=True)
    weight = 1 / (sharpness * len(score) + torch.arange(len(score), device="cpu", dtype=torch.float64))
    return torch.empty_like(weight).index_copy(0, order, shared(weight, score[order]))


def retracted(mean: Float[Tensor, " dim"], space: Space, retract: bool) -> Float[Tensor, " dim"]:
    """Return the mean, moved to the prior's typical shell if that is wanted."""
    return space.retract(mean[None])[0] if retract else mean


def lost(width: float, mean: Float[Tensor, " dim"]) -> bool:
    """Say whether a search law is too narrow for single precision to tell its points apart, or has blown up."""
    scale = max(1.0, float(mean.norm()) / len(mean) ** 0.5)
    return not (COLLAPSED * scale < width < EXPLODED * scale)
