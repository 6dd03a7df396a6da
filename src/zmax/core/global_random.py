"""The global random numbers of torch, numpy and Python: they are the user's, and are left as they were found."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


def positions() -> dict[str, Any]:
    """Return where each of them stands, by the words that name it."""
    found = {
        "torch's global random numbers": torch.get_rng_state(),  # global on purpose
        "numpy's global random numbers": np.random.get_state(),  # noqa: NPY002 - global on purpose
        "Python's global random numbers": random.getstate(),  # global on purpose
    }
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        found["the GPU's global random numbers"] = torch.cuda.get_rng_state_all()
    return found


def moved(before: dict[str, Any]) -> str:
    """Name those that have moved since, "" if none has."""
    return ", ".join(name for name, now in positions().items() if name in before and not _same(now, before[name]))


def put_back(before: dict[str, Any]) -> None:
    """Set them to where they stood."""
    torch.set_rng_state(before["torch's global random numbers"])  # global on purpose
    np.random.set_state(before["numpy's global random numbers"])  # noqa: NPY002 - global on purpose
    random.setstate(before["Python's global random numbers"])  # global on purpose
    if "the GPU's global random numbers" in before:
        torch.cuda.set_rng_state_all(before["the GPU's global random numbers"])


@contextmanager
def left_as_found() -> Iterator[None]:
    """Put them back where they stood.

    Example:
        >>> before = positions()
        >>> with left_as_found():
        ...     layer = torch.nn.Linear(2, 2)
        >>> moved(before)
        ''
    """
    before = positions()
    try:
        yield
    finally:
        put_back(before)


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool((one == other).all()) if isinstance(one, (torch.Tensor, np.ndarray)) else bool(one == other)
