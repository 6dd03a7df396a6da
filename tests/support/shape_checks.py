"""The check of shapes that all tests run under: calls against jaxtyping's annotations, each kind of call once.

jaxtyping's own wrapper takes longer than most of what it wraps. It sees a call only where the shapes and types, in and
out, are new to the function.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import re
import threading
from collections import defaultdict
from collections.abc import Callable
from types import CodeType
from typing import Any

import beartype
import jaxtyping
import torch
from beartype.roar import BeartypeDecorHintPep3119Exception

_SHAPES = re.compile(r"\b(Float|Int|Bool|Shaped)\[")
_typed = beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))
_jaxtyped = jaxtyping.jaxtyped
_seen = defaultdict[CodeType, set[Any]](set)
_one_at_a_time = threading.RLock()


def install() -> None:
    """Check what is imported from zmax after this."""
    jaxtyping.jaxtyped = checked  # the hook's decorators look it up by this name
    jaxtyping.install_import_hook("zmax", "shape_checks.typed")


def typed(function: Any) -> Any:
    """Check every call against the annotations; a protocol that `isinstance` cannot test leaves a function as it is."""
    try:
        return _typed(function)
    except BeartypeDecorHintPep3119Exception:
        return function


def checked(function: Any = None, *, typechecker: Any = None) -> Any:
    """Wrap a function, or the `__init__` of a dataclass, whose annotations name shapes."""
    if function is None:
        return functools.partial(checked, typechecker=typechecker)
    if inspect.isclass(function):
        if dataclasses.is_dataclass(function):
            function.__init__ = checked(function.__init__, typechecker=typechecker)  # type: ignore[misc]
        return function
    if not any(_SHAPES.search(str(hint)) for hint in getattr(function, "__annotations__", {}).values()):
        return function
    seen = _seen[function.__code__]  # all closures of a definition share it
    judge = functools.cache(lambda: _Answer(function, typechecker))

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        answer = function(*args, **kwargs)
        call = _kind(args), tuple(kwargs), _kind(tuple(kwargs.values())), _kind(answer)
        if call not in seen:
            judge().check(answer, args, kwargs)
            seen.add(call)
        return answer

    return wrapped


def _kind(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return (type(value), *map(_kind, value))
    if isinstance(value, torch.Tensor) or type(value).__module__ == "numpy":
        return type(value), tuple(value.shape), value.dtype
    return type(value)


class _Answer:
    """A function that gives the answer it was told, so that jaxtyping sees a call without a second one."""

    def __init__(self, function: Callable[..., Any], typechecker: Any) -> None:
        functools.update_wrapper(self, function)
        self.__globals__ = function.__globals__
        self._judged = _jaxtyped(self, typechecker=typechecker)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._answer

    def check(self, answer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        with _one_at_a_time:
            self._answer = answer
            self._judged(*args, **kwargs)
            del self._answer
