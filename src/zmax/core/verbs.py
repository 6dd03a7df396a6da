"""Rooms that share their name with a verb: `zmax.finetune(G, S)` runs it, `zmax.finetune.Direct()` is in the room."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any, cast

from zmax.core.imports import load_attribute


class CallableRoom(ModuleType):
    """A package that can be called, because its verb has its name; see docs/decisions/014-rooms-that-are-verbs.md."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the verb."""
        return self.__wrapped__(*args, **kwargs)

    @property
    def __wrapped__(self) -> Callable[..., Any]:
        """The verb, which `inspect.signature` shows; it is imported only now, since rooms know no loop."""
        name = self.__name__.rpartition(".")[2]
        return cast("Callable[..., Any]", load_attribute(f"zmax.run:{name}"))


def callable_room(name: str) -> None:
    """Make the package of that name run its verb when it is called.

    Example:
        >>> import inspect, zmax
        >>> list(inspect.signature(zmax.finetune).parameters)[:4], zmax.finetune.Direct().batch
        (['generator', 'score', 'method', 'budget'], 32)
    """
    sys.modules[name].__class__ = CallableRoom
