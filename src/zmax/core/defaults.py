"""Default dtype, device and gradient mode of torch, and the directory: what our code needs, and the user's code had."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar

import torch

Defaults = tuple[torch.dtype, torch.device]

OURS: Defaults = (torch.float32, torch.device("cpu"))
"""What our code is written for."""

_THEIRS: ContextVar[Defaults | None] = ContextVar("theirs", default=None)


@contextmanager
def ours() -> Iterator[None]:
    """Set what our code needs, with gradients to be had; code of the user's still meets :func:`theirs`."""
    with torch.inference_mode(False), torch.enable_grad(), placed():
        yield


@contextmanager
def placed() -> Iterator[None]:
    """Set the dtype and device that our code needs, and leave the gradient mode."""
    here = _now()
    token = _THEIRS.set(_THEIRS.get() or here)
    try:
        with nullcontext() if here == OURS else _set(OURS):
            yield
    finally:
        _THEIRS.reset(token)


@contextmanager
def theirs() -> Iterator[None]:
    """Call code of the user's with the defaults that were found, and take back what it leaves changed.

    Example:
        >>> with theirs():
        ...     torch.set_default_dtype(torch.float64)
        >>> torch.get_default_dtype()
        torch.float32
    """
    here, grad, place = _now(), torch.is_grad_enabled(), _directory()
    wanted = _THEIRS.get() or here
    try:
        with nullcontext() if wanted == here else _set(wanted):
            yield
    finally:
        if _now() != here:
            torch.set_default_dtype(here[0])
            torch.set_default_device(None if here[1] == OURS[1] else here[1])
        if torch.is_grad_enabled() != grad:
            torch.set_grad_enabled(grad)
        if place is not None and _directory() != place:
            os.chdir(place)


def _directory() -> str | None:
    """Return the current directory, None where it was removed."""
    try:
        return os.getcwd()
    except FileNotFoundError:
        return None


def _now() -> Defaults:
    return torch.get_default_dtype(), torch.get_default_device()


@contextmanager
def _set(wanted: Defaults) -> Iterator[None]:
    before = _now()
    torch.set_default_dtype(wanted[0])
    try:
        with nullcontext() if before[1] == wanted[1] else wanted[1]:
            yield
    finally:
        torch.set_default_dtype(before[0])
