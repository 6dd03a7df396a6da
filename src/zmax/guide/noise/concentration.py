"""How likely the moments of a noise are, by the bounds that hold for N(0, I); 0 where they are as they should be."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from zmax.core.space import Space

LOG2 = math.log(2)


def tail_bound(exponent: Tensor) -> Tensor:
    r"""Return :math:`\log \min(1, 2 e^{-x})`, the logarithm of a bound that says nothing until x is log 2.

    Example:
        >>> tail_bound(torch.tensor([0.5, 1.0 + LOG2])).tolist()
        [0.0, -1.0]
    """
    return torch.where(exponent > LOG2, LOG2 - exponent, 0.0)


def mean_bound(z: Float[Tensor, "n m k"]) -> Float[Tensor, " n"]:
    r"""Return the log of the bound on the mean of m standard normal vectors of k coordinates.

    .. math:: P(|\bar z| \ge M) \le \min(1, 2 e^{-m M^2 / (2k)})

    Reference: Tang et al., section 4, https://arxiv.org/abs/2405.18881.

    Example:
        >>> z = torch.randn(1, 400, 1, generator=torch.Generator().manual_seed(1))
        >>> float(mean_bound(z)), float(mean_bound(z + 1)) < -100
        (0.0, True)
    """
    return tail_bound(z.mean(1).square().sum(1) * (z.shape[1] / (2 * z.shape[2])))


def covariance_bound(z: Float[Tensor, "n m k"]) -> Float[Tensor, " n"]:
    r"""Return the log of the bound on the covariance of m standard normal vectors of k coordinates.

    .. math:: P\Bigl(\bigl\| \tfrac1m \textstyle\sum_i z_i z_i^\top - I \bigr\|_2 \ge M\Bigr)
              \le \min\Bigl(1, 2 \exp\bigl(-\tfrac m2 \max(0, \sqrt{1 + M} - 1 - \sqrt{k / m})^2\bigr)\Bigr)

    Reference: Tang et al., section 4, https://arxiv.org/abs/2405.18881.

    Example:
        >>> z = torch.randn(1, 400, 4, generator=torch.Generator().manual_seed(0))
        >>> float(covariance_bound(z)), float(covariance_bound(2 * z)) < -100
        (0.0, True)
    """
    m, k = z.shape[1:]
    off = (torch.linalg.eigvalsh(z.mT @ z / m) - 1).abs().amax(1)
    return tail_bound(((1 + off).sqrt() - 1 - (k / m) ** 0.5).clamp_min(0).square() * (m / 2))


def noise_log_bound(
    space: Space, u: Float[Tensor, "n dim"], width: int, orders: Sequence[Sequence[Tensor]]
) -> Float[Tensor, " n"]:
    r"""Return the log of the bounds on the moments of noises, block by block, summed; differentiable, in nats.

    The coordinates of a block are put into rows of `width`, as they lie and in other orders, for
    :func:`covariance_bound` (over the other orders the mean is taken), and into rows of one for :func:`mean_bound`.
    These bounds hold for any noise and so are wide: in 768 coordinates a correlation of 0.25 passes. Where the space
    knows standard scores z of its blocks and of what lies between them (:meth:`~zmax.core.space.Space.deviation`),
    :math:`\min(1, 2 e^{-z^2 / 2})` of each is added, which holds back at once what would make a point implausible, and
    with many tests even draws of the prior a little: giving each the room that the greatest of all needs was tried, and
    left lower scores at less plausible noises.

    Args:
        space: says where the blocks lie.
        u: whitened coordinates.
        width: coordinates of a row; fewer where a block is smaller.
        orders: of each block's coordinates, one list a block.
    """
    total = tail_bound(space.deviation(u).square() / 2).sum(1)
    for x, others in zip(u.split([block.size for block in space.blocks], dim=1), orders, strict=True):
        total = total + mean_bound(x[:, :, None]) + _rows_bound(x, width)
        for order in others:
            total = total + _rows_bound(x[:, order], width) / len(others)
    return total


def _rows_bound(x: Float[Tensor, "n size"], width: int) -> Float[Tensor, " n"]:
    k = min(width, x.shape[1])
    return covariance_bound(x[:, : x.shape[1] // k * k].reshape(len(x), -1, k))
