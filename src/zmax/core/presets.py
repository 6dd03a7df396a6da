"""Presets: a method under a name of its own, which differs from its parent in arguments and words alone."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any, TypeVar

from zmax.core.errors import InputError
from zmax.core.strategy import Strategy
from zmax.core.tuner import Tuner

KindT = TypeVar("KindT", bound=Strategy[Any] | Tuner[Any])


def preset(*shown: str, **values: Any) -> Callable[[type[KindT]], type[KindT]]:
    """Make a class a preset of the method that it is derived from.

    Its constructor takes the arguments that are shown, in the parent's order, and gives the others to the parent as
    they are fixed here or else as the parent has them. The class says the rest: its docstring holds a summary, text and
    an example; `use`, `reference` and needs that differ stand below. What the docstring says of arguments and errors
    is the parent's.

    Args:
        shown: names of the parent's arguments that can be chosen; none named means all of them.
        values: what is fixed, or for arguments that are shown their new defaults.

    Raises:
        InputError: the parent has no such argument.

    Example:
        >>> from zmax.search.sampling.random import Random
        >>> @preset("batch", batch=64)
        ... class Many(Random):
        ...     "Many prior draws at once."
        >>> Many().batch, str(inspect.signature(Many))
        (64, "(*, batch: 'int' = 64) -> 'None'")
    """

    def complete(kind: type[KindT]) -> type[KindT]:
        parent = kind.__mro__[1]
        arguments = inspect.signature(parent).parameters
        lost = [name for name in (*shown, *values) if name not in arguments]
        if lost:
            raise InputError(f"arguments of the preset {kind.__name__}", expected=", ".join(arguments), got=lost)
        taken = [a.replace(default=values.get(n, a.default)) for n, a in arguments.items() if not shown or n in shown]
        kind.__init__ = _constructor(kind, taken, values)  # type: ignore[method-assign]
        kind.__doc__ = _completed(kind, parent, [argument.name for argument in taken], values)
        return kind

    return complete


def _constructor(kind: type[Any], taken: list[inspect.Parameter], values: dict[str, Any]) -> Callable[..., None]:
    """Return a constructor that takes some of the parent's arguments."""
    build = kind.__init__
    itself = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    names = [argument.name for argument in taken]

    def __init__(self: Strategy[Any] | Tuner[Any], **given: Any) -> None:
        for name in given:
            if name not in names:
                raise TypeError(f"{kind.__name__}() has no argument {name!r}; it has {', '.join(names)}")
        build(self, **{**values, **given})

    __init__.__signature__ = inspect.Signature([itself, *taken], return_annotation="None")  # type: ignore[attr-defined]
    return __init__


def _completed(kind: type, parent: type, shown: list[str], values: dict[str, Any]) -> str:
    """Return the docstring with what the parent's says of the arguments that are shown, and of errors."""
    text, described = inspect.cleandoc(kind.__doc__ or ""), inspect.getdoc(parent) or ""
    before, example, after = text.partition("Example:\n")
    settings = " with " + ", ".join(f"`{name}={value!r}`" for name, value in values.items()) if values else ""
    home = f"It is :class:`~{parent.__module__}.{parent.__qualname__}`{settings}."
    entries = re.findall(r"^    (\w+): (.*(?:\n        .*)*)", _section(described, "Args"), re.MULTILINE)
    arguments = [f"    {name}: {words}" for name, words in entries if name in shown]
    parts = [before.rstrip(), home, "\n".join(["Args:", *arguments]), _section(described, "Raises")]
    return "\n\n".join(part for part in (*parts, example + after) if part)


def _section(text: str, name: str) -> str:
    """Return one section of a docstring, "" if there is none."""
    found = re.search(rf"^{name}:\n(?:(?:    .*)?\n?)*", text, re.MULTILINE)
    return found[0].rstrip() if found else ""
