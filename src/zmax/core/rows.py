"""One value a row, in a shape that multiplies what has many a row."""

from __future__ import annotations

from torch import Tensor


def spread(value: Tensor, like: Tensor) -> Tensor:
    """Return `value` with axes of 1 behind its own, as many as it has fewer than `like`.

    Example:
        >>> import torch
        >>> spread(torch.zeros(5), torch.zeros(5, 3, 8, 8)).shape
        torch.Size([5, 1, 1, 1])
    """
    return value.reshape(*value.shape, *[1] * (like.ndim - value.ndim))
