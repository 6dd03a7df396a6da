"""Gradients from differences of scores at u + sigma e and u - sigma e."""

from __future__ import annotations

from jaxtyping import Bool, Float
from torch import Tensor

from zmax.core.proposal import Evaluation


def antithetic_gradient(
    e: Float[Tensor, "k dim"], difference: Float[Tensor, " k"], width: float
) -> Float[Tensor, " dim"]:
    r"""Estimate a gradient from k antithetic pairs.

    .. math:: \hat g = \frac{1}{k} \sum_{i=1}^{k} \frac{S(u + \sigma e_i) - S(u - \sigma e_i)}{2 \sigma}\, e_i

    For a linear S this is :math:`\frac1k \sum_i e_i e_i^\top \nabla S`, unbiased for directions of covariance I.

    Args:
        e: directions (k, d).
        difference: S(u + sigma e_i) - S(u - sigma e_i).
        width: sigma.

    Example:
        >>> import torch
        >>> slope, e = torch.tensor([3.0, -1.0]), torch.tensor([[1.0, 1.0], [1.0, -1.0]])
        >>> antithetic_gradient(e, 2 * 0.1 * e @ slope, 0.1).round(decimals=4).tolist()
        [3.0, -1.0]
    """
    return (difference / (2 * width * len(e))) @ e


def pairs(evaluation: Evaluation, k: int) -> tuple[Float[Tensor, " k"], Float[Tensor, " k"], Bool[Tensor, " k"]]:
    """Return the scores of the rows at u + sigma e, of those at u - sigma e, and which pairs have both."""
    ok = evaluation.ok[:k] & evaluation.ok[k : 2 * k]
    score = evaluation.score[: 2 * k].double()
    return score[:k], score[k:], ok


def centred_ranks(score: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """Return ranks spread evenly over [-1/2, 1/2], the best at 1/2; ties share the mean of their ranks.

    Example:
        >>> import torch
        >>> centred_ranks(torch.tensor([0.3, 9.0, 0.1])).tolist()
        [0.0, 0.5, -0.5]
    """
    below = (score[:, None] > score).sum(1)
    not_above = (score[:, None] >= score).sum(1)
    return (below + not_above - len(score)).double() / (2 * max(len(score) - 1, 1))
