"""Whether a latent that should be white noise still looks like it, beyond its norm."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from zmax.core.samples import spread

GROUP = 8
"""Consecutive values whose covariance is looked at, at most."""


def noise_scores(x: Float[Tensor, "n channels *sizes"]) -> Float[Tensor, "n tests"]:
    r"""Return standard scores that are nearly N(0, 1) where x is white noise; the overall scale of x plays no part.

    With x scaled to unit mean square and k values in all: the mean :math:`\sqrt k\,\bar x`; along each axis behind the
    first the correlation of neighbours :math:`\sum_i x_i x_{i+1} / \sqrt{\#pairs}`; and the covariance of groups of b
    consecutive values, whose :math:`\chi^2 = \sum_{i<j} (\sum_r x_{ri} x_{rj})^2 / r` has b (b - 1) / 2 degrees of
    freedom, turned into a standard score by :func:`chi_square_score`. Optimised noise fails these tests long before
    its norm looks odd.

    Reference: Tang et al. 2024, *Inference-time alignment of diffusion models with direct noise optimization*,
    section 4, https://arxiv.org/abs/2405.18881.

    Example:
        >>> white = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
        >>> bool(noise_scores(white).abs().max() < 3), bool(noise_scores(white + 1).abs().max() > 5)
        (True, True)
    """
    n, k = len(x), x[0].numel()
    x = x / spread(x.flatten(1).square().mean(1).sqrt().clamp_min(1e-12), x)
    tests = [k**0.5 * x.flatten(1).mean(1)]
    for axis in range(2, x.ndim):
        if x.shape[axis] > 1:
            pairs = x.narrow(axis, 0, x.shape[axis] - 1) * x.narrow(axis, 1, x.shape[axis] - 1)
            tests.append(pairs.flatten(1).sum(1) / pairs[0].numel() ** 0.5)
    b = max(size for size in range(1, GROUP + 1) if k % size == 0)
    if b > 1:
        groups = x.reshape(n, -1, b)
        products = (groups.mT @ groups) / groups.shape[1] ** 0.5
        upper = torch.triu_indices(b, b, offset=1, device=x.device)
        tests.append(chi_square_score(products[:, upper[0], upper[1]].square().sum(1), b * (b - 1) // 2))
    return torch.stack(tests, dim=1)


def chi_square_score(value: Float[Tensor, " n"], degrees: int) -> Float[Tensor, " n"]:
    r"""Return the standard score of a chi-squared value, differentiable in it.

    .. math:: z = \frac{(v / k)^{1/3} - (1 - 2 / (9k))}{\sqrt{2 / (9k)}}

    Reference: Wilson and Hilferty 1931, *The distribution of chi-square*, https://doi.org/10.1073/pnas.17.12.684.

    Example:
        >>> [round(v, 1) for v in chi_square_score(torch.tensor([3.94, 9.5, 18.31]), 10).tolist()]
        [-1.6, 0.0, 1.6]
    """
    variance = 2 / (9 * degrees)
    return ((value / degrees).clamp_min(1e-12) ** (1 / 3) - (1 - variance)) / variance**0.5
