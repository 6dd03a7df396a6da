"""What functions return as scores, as a tensor of one value a sample."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from zmax.core.errors import ShapeError
from zmax.core.samples import describe
from zmax.core.serve import IN_WORDS


def as_values(raw: Any, n: int, name: str) -> Float[Tensor, " n"]:
    """Turn a tensor, an array or a list of floats into a float tensor (n,), keeping its graph.

    Args:
        raw: what the score returned; None in a list or an object array becomes NaN.
        n: number of samples.
        name: the score, for messages.

    Raises:
        ShapeError: not one number a sample.

    Example:
        >>> as_values([1, None, 2.5], 3, "mine").tolist()
        [1.0, nan, 2.5]
    """
    value = _tensor(raw, n, name)
    if tuple(value.shape) == (n, 1) or (n == 1 and not value.ndim):
        value = value.reshape(n)
    if tuple(value.shape) != (n,):
        raise _wrong(name, n, describe(raw), _remedy(tuple(value.shape), n))
    if value.is_complex():
        raise _wrong(name, n, "complex numbers", "return real numbers, such as .real or .abs()")
    return value if value.is_floating_point() else value.double()


def stack_values(rows: list[Any]) -> Any:
    """Join what a function of one sample returned; single-element tensors keep their graphs."""
    if rows and all(isinstance(row, Tensor) and row.numel() == 1 for row in rows):
        return torch.stack([row.reshape(()) for row in rows])
    return [row.item() if isinstance(row, (Tensor, np.ndarray)) and row.size == 1 else row for row in rows]


def _tensor(raw: Any, n: int, name: str) -> Tensor:
    if isinstance(raw, Tensor):
        return raw
    if isinstance(raw, Mapping):
        known = ", ".join(map(repr, raw))
        choose = "return one of its values, lambda x: fn(x)['KEY'], or make goals of them: zmax.score(fn, goals=[...])"
        raise _wrong(name, n, f"{describe(raw)} with {known}", choose)
    if isinstance(raw, tuple) and raw and _is_column(raw[0], n):
        raise _wrong(
            name,
            n,
            f"a tuple of {', '.join(map(describe, raw))}",
            "return the first part, lambda x: fn(x)[0], or make goals of all: zmax.score(fn, goals=[...])",
        )
    if isinstance(raw, (list, tuple, np.ndarray)) and any(_in_words(row) for row in raw):
        first = next(row for row in raw if _in_words(row))
        raise _wrong(name, n, f"answers in words, such as {first!r:.200}", IN_WORDS)
    if isinstance(raw, (list, tuple)) and raw and all(isinstance(row, Tensor) for row in raw):
        return torch.stack(list(raw))
    if isinstance(raw, (list, tuple)):
        raw = [math.nan if row is None else row for row in raw]
    try:
        array = np.asarray(raw)
        if array.dtype == object:
            array = np.array([math.nan if row is None else float(row) for row in array], dtype=np.float64)
        return torch.tensor(np.array(array, order="C"))
    except (TypeError, ValueError, RuntimeError) as error:
        raise _wrong(name, n, describe(raw), "return a tensor, an array or a list of floats") from error


def _is_column(part: Any, n: int) -> bool:
    """Say whether the first part of a tuple holds the values of all samples by itself."""
    return not isinstance(part, str) and hasattr(part, "__len__") and getattr(part, "ndim", 1) > 0 and len(part) == n


def _in_words(row: Any) -> bool:
    """Say whether what belongs to one sample is a text, a dict, or has a text in it."""
    return isinstance(row, (str, Mapping)) or (isinstance(row, (list, tuple)) and any(map(_in_words, row)))


def _wrong(name: str, n: int, got: str, remedy: str) -> ShapeError:
    return ShapeError(f"values of the score {name!r}", expected=f"one number a sample: ({n},)", got=got, remedy=remedy)


def _remedy(shape: tuple[int, ...], n: int) -> str:
    if len(shape) == 2 and shape[0] == n:
        return (
            f"which of the {shape[1]} columns? choose one, as in [:, 0], join them, as in .mean(1), or make goals of "
            "them: zmax.score(fn, goals=[...])"
        )
    if shape == ():
        return (
            "reduce over each sample, not over the batch; a function of one sample needs per_sample=True, one of a "
            "set zmax.set_score(fn, k)"
        )
    if len(shape) > 1 and shape[0] == n:
        return "reduce each sample to one number: .flatten(1).mean(1)"
    return "return the values in the order of the samples, one each"
