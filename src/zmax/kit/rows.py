"""Batches row by row: choosing between rows, and their lengths, each on its own and in double precision."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def where_rows(rows: Tensor, a: Float[Tensor, "n ..."], b: Float[Tensor, "n ..."]) -> Tensor:
    """Take a's rows where `rows` is true, b's elsewhere."""
    return torch.where(spread(rows, a), a, b)


def spread(value: Tensor, like: Tensor) -> Tensor:
    """Return one value a row in a shape that multiplies `like`."""
    return value.reshape(-1, *[1] * (like.ndim - 1))


def length(x: Float[Tensor, "n ..."]) -> Float[Tensor, "n ..."]:
    """Return each row's norm, in a shape that divides it; never 0."""
    return spread(x.double().flatten(1).norm(dim=1).clamp_min(1e-150), x)


def unit(x: Float[Tensor, "n ..."]) -> Float[Tensor, "n ..."]:
    """Return each row at length 1, rows of zeros as they are."""
    return x.double() / length(x)


def cut(x: Float[Tensor, "n ..."], longest: float) -> Float[Tensor, "n ..."]:
    """Return each row, shortened to that length where it is longer."""
    return x * (longest / length(x)).clamp(max=1.0)


def as_long_as(model: Tensor, x: Tensor) -> Tensor:
    """Return the rows of x at the lengths and in the type of the model's."""
    return (unit(x) * length(model)).to(model)
