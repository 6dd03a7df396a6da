"""Weights of particles, in the log domain, and the draws that even them out."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from zmax.core.rng import rows_at


def effective_size(log_weight: Float[Tensor, " n"]) -> float:
    r"""Return the effective sample size :math:`(\sum_i w_i)^2 / \sum_i w_i^2`; 0 where no weight is positive.

    Example:
        >>> effective_size(torch.tensor([0.0, 0.0, -math.inf])), effective_size(torch.tensor([-1e5, -2e5]))
        (2.0, 1.0)
    """
    if not bool(torch.isfinite(log_weight).any()):
        return 0.0
    w = log_weight.double()
    return math.exp(float(2 * w.logsumexp(0) - (2 * w).logsumexp(0)))


def log_mean(log_weight: Float[Tensor, " n"]) -> float:
    """Return the logarithm of the mean weight."""
    return float(log_weight.double().logsumexp(0)) - math.log(len(log_weight))


def systematic(log_weight: Float[Tensor, " n"], k: int, generator: torch.Generator) -> Int[Tensor, " k"]:
    """Return k rows, each as often as its share of k up to rounding, with one random offset.

    Reference: Carpenter et al. 1999, *Improved particle filter for nonlinear problems*,
    https://doi.org/10.1049/ip-rsn:19990255.

    Example:
        >>> rows = systematic(torch.tensor([0.5, 0.25, 0.25]).log(), 4, torch.Generator().manual_seed(0))
        >>> rows.tolist()
        [0, 0, 1, 2]
    """
    offset = torch.rand(1, generator=generator, dtype=torch.float64)
    return rows_at(log_weight.double().softmax(0), (torch.arange(k, dtype=torch.float64) + offset) / k)


def residual(log_weight: Float[Tensor, " n"], k: int, generator: torch.Generator) -> Int[Tensor, " k"]:
    """Return the whole part of each row's share of k, and draw the rest by what is left of the shares.

    Reference: Liu and Chen 1998, *Sequential Monte Carlo methods for dynamic systems*, section 3.2,
    https://doi.org/10.1080/01621459.1998.10473765.
    """
    share = log_weight.double().softmax(0) * k
    whole = share.floor()
    rows = torch.repeat_interleave(torch.arange(len(share)), whole.long())
    missing = k - len(rows)
    if not missing:
        return rows
    rest = share - whole
    points = torch.rand(missing, generator=generator, dtype=torch.float64)
    return torch.cat([rows, rows_at(rest / rest.sum(), points)])
