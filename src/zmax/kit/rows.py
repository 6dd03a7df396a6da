"""Batches row by row: choosing rows of tensors and states, and lengths, each on its own and in double precision.

The rows of a state are its fields marked with `metadata=ROW`; :func:`take`, :func:`join` and :func:`where` work on any
dataclass by these marks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from zmax.core.samples import spread

RowsT = TypeVar("RowsT")


def take(state: RowsT, chosen: Tensor) -> RowsT:
    """Return the state of those rows, any of them any number of times; what is not marked stays.

    Args:
        state: a dataclass whose marked fields all have the same number of rows.
        chosen: numbers of rows (k,), or which rows (n,).
    """
    lengths = {len(value) for value in _marked(state)}
    assert len(lengths) == 1, f"the rows of a {type(state).__name__} must be as many in every field, got {lengths}"
    return _each(lambda value: value[chosen], state)


def join(first: RowsT, second: RowsT) -> RowsT:
    """Return the first state with the rows of the second behind its own; what is not marked is the first's."""
    return _each(lambda *values: torch.cat(values), first, second)


def where(rows: Tensor, a: RowsT, b: RowsT) -> RowsT:
    """Return state b with a's rows where `rows` is true; what is not marked is b's."""
    return _each(lambda old, new: old if new is old else where_rows(rows, new, old), b, a)


def _each(change: Callable[..., Tensor], state: Any, *others: Any) -> Any:
    """Return the state with each marked tensor changed, given those of the others."""
    parts: dict[str, Any] = {}
    for name in _names(state):
        value, *same = (getattr(each, name) for each in (state, *others))
        if value is not None:
            parts[name] = _each(change, value, *same) if is_dataclass(value) else change(value, *same)
    return replace(state, **parts)


def _marked(state: Any) -> Iterator[Tensor]:
    for name in _names(state):
        value = getattr(state, name)
        if is_dataclass(value):
            yield from _marked(value)
        elif value is not None:
            yield value


def _names(state: Any) -> list[str]:
    return [f.name for f in fields(state) if f.metadata.get("row")]


def where_rows(rows: Tensor, a: Shaped[Tensor, "n ..."], b: Shaped[Tensor, "n ..."]) -> Tensor:
    """Take a's rows where `rows` is true, b's elsewhere."""
    return torch.where(spread(rows, a), a, b)


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
