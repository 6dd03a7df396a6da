"""What the methods of this room share: argument checks, ranks, and what becomes of a search law's mean."""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from zmax.core.errors import InputError
from zmax.core.space import Space

COLLAPSED, EXPLODED = 1e-6, 1e6


def positive(method: str, **values: float | None) -> None:
    """Raise InputError unless every value is a positive finite number; None means "the default" and passes."""
    for name, value in values.items():
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if value is not None and not (number and value > 0 and math.isfinite(value)):
            raise InputError(f"{method}({name}=...)", expected="a positive finite number", got=repr(value))


def whole(method: str, *, least: int = 1, **values: int | None) -> None:
    """Raise InputError unless every value is an int of at least `least`; None means "the default" and passes."""
    for name, value in values.items():
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < least):
            raise InputError(f"{method}({name}=...)", expected=f"an int of at least {least}", got=repr(value))


def share(method: str, **values: float) -> None:
    """Raise InputError unless every value is a number above 0 and at most 1."""
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= 1:
            raise InputError(f"{method}({name}=...)", expected="a number above 0 and at most 1", got=repr(value))


def ranking(score: Float[Tensor, " n"], ok: Bool[Tensor, " n"]) -> Int[Tensor, " n"]:
    """Return the row numbers from best to worst; failed rows come last, ties keep their order."""
    by_score = torch.argsort(score, descending=True, stable=True)
    return by_score[torch.argsort(ok[by_score].byte(), descending=True, stable=True)]


def retracted(mean: Float[Tensor, " dim"], space: Space, retract: bool) -> Float[Tensor, " dim"]:
    """Return the mean, moved to the prior's typical shell if that is wanted."""
    return space.retract(mean[None])[0] if retract else mean


def lost(width: float, mean: Float[Tensor, " dim"]) -> bool:
    """Say whether a search law is too narrow for single precision to tell its points apart, or has blown up."""
    scale = max(1.0, float(mean.norm()) / len(mean) ** 0.5)
    return not (COLLAPSED * scale < width < EXPLODED * scale)


def where_rows(rows: Tensor, a: Float[Tensor, "n ..."], b: Float[Tensor, "n ..."]) -> Tensor:
    """Take a's rows where `rows` is true, b's elsewhere."""
    return torch.where(rows.reshape(-1, *[1] * (a.ndim - 1)), a, b)
