"""Networks in training mode that make a decoder or a score give another answer."""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Iterator
from typing import Any

from torch import nn

from zmax.core.generator import Generator
from zmax.core.networks import Opaque
from zmax.core.score import Score

DEPTH = 4
"""How far a network is looked for: in a wrapper, its function, what that holds, and what this holds."""

UNSTEADY = ("Dropout", "BatchNorm", "InstanceNorm", "RReLU")
"""Beginnings of the names of layers that behave otherwise in training."""


def in_training(part: Generator | Score) -> str:
    """Name a network in training mode that G or S can reach, with the layers in question; "" if there is none."""
    for network in _networks(part, DEPTH):
        kinds = {type(m).__name__ for m in network.modules() if m.training and not isinstance(m, nn.Identity)}
        layers = sorted(kind for kind in kinds if any(word in kind for word in UNSTEADY))
        if layers:
            return f"{type(network).__name__} ({', '.join(layers)})"
    return ""


def _networks(part: Any, depth: int) -> Iterator[nn.Module]:
    """Find networks in what an object or a function holds."""
    if isinstance(part, nn.Module) and not isinstance(part, Opaque):
        yield part
    elif depth:
        for held in _held(part):
            yield from _networks(held, depth - 1)


def _held(part: Any) -> list[Any]:
    if isinstance(part, functools.partial):
        return [part.func, *part.args, *part.keywords.values()]
    if isinstance(part, types.MethodType):
        return [part.__self__, part.__func__]
    if isinstance(part, types.FunctionType):
        known = inspect.getclosurevars(part)
        held = [*known.nonlocals.values(), *known.globals.values(), *(part.__defaults__ or ())]
        return [one for one in held if not isinstance(one, (type, types.ModuleType))]
    if isinstance(part, (list, tuple)):
        return list(part)
    return list(part.values()) if isinstance(part, dict) else list(getattr(part, "__dict__", {}).values())
