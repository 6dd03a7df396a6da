"""What decoders return, as samples: arrays, tables, and objects that hold them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch.utils.dlpack
from torch import Tensor

from zmax.core.samples import Rows, Samples

HOLDS = ("sample", "samples", "images", "frames", "audios")
"""Names under which an object that a model returns has its samples."""


def as_samples(made: Any, n: int) -> Samples:
    """Return what a decoder made of n latents as n samples, as far as that is plain to see.

    Arrays become tensors; a table, as a data frame or a dict of columns, becomes a list of its rows; of an object that
    holds samples, or of a tuple of one part, these are taken.

    Example:
        >>> as_samples({"a": [1, 2], "b": torch.tensor([0.5, 1.5])}, 2)
        [{'a': 1, 'b': 0.5}, {'a': 2, 'b': 1.5}]
        >>> as_samples({"sample": np.zeros((2, 3)), "loss": None}, 2).shape
        torch.Size([2, 3])
    """
    if isinstance(made, (Tensor, list)):
        return made
    if isinstance(made, np.ndarray):
        return torch.as_tensor(made, device="cpu") if made.dtype.kind in "biufc" else made.tolist()
    if hasattr(made, "columns") and callable(getattr(made, "to_numpy", None)):  # a data frame
        return Rows(made.to_dicts() if hasattr(made, "to_dicts") else made.to_dict("records"))
    if isinstance(made, tuple) and len(made) == 1 and _long(made[0], n):
        return as_samples(made[0], n)
    held = _held(made, n)
    if held is not None:
        return as_samples(held, n)
    if isinstance(made, Mapping) and made and all(_long(column, n) for column in made.values()):
        columns = {name: _plain(column) for name, column in made.items()}
        return Rows([{name: column[i] for name, column in columns.items()} for i in range(n)])
    return torch.utils.dlpack.from_dlpack(made) if hasattr(made, "__dlpack__") else made


def _held(made: Any, n: int) -> Any:
    """Return what an object has under one of the names of samples; None if it has none, or a column of many."""
    if isinstance(made, Mapping):
        known = {name: value for name, value in made.items() if value is not None}
        table = len(known) > 1 and all(_long(value, n) for value in known.values()) and not hasattr(made, "to_tuple")
        return None if table else next((known[name] for name in HOLDS if _long(known.get(name), n)), None)
    return next((value for name in HOLDS if _long(value := getattr(made, name, None), n)), None)


def _long(part: Any, n: int) -> bool:
    """Say whether something is n of something."""
    counted = hasattr(part, "__len__") and not isinstance(part, (str, bytes, Mapping))
    return counted and getattr(part, "ndim", 1) > 0 and len(part) == n


def _plain(column: Any) -> Any:
    """Return a column with numbers as those of Python."""
    if isinstance(column, (Tensor, np.ndarray)) and column.ndim == 1:
        return column.tolist()
    return column.detach() if isinstance(column, Tensor) else column
