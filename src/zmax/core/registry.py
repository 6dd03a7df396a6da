"""Names for things that are imported only when asked for; other packages add theirs by entry point."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from importlib import import_module
from importlib.metadata import entry_points
from typing import Generic, TypeVar, cast

from zmax.core.errors import InputError, UnknownNameError

T = TypeVar("T")


class Registry(Generic[T]):
    """A table from name to "module:attribute".

    Args:
        kind: what the entries are, for messages ("method").
        group: entry-point group from which installed packages add entries ("zmax.methods"); a name that is taken
            keeps its entry, with a warning.
        rooms: modules of our own that add entries when they are imported.

    Example:
        >>> planets = Registry("planet", "zmax.planets")
        >>> planets.add("pi", "math:pi")
        >>> planets.load("pi")
        3.141592653589793
    """

    def __init__(self, kind: str, group: str, rooms: Sequence[str] = ()) -> None:
        self.kind = kind
        self.group = group
        self.rooms = rooms
        self._targets: dict[str, str] = {}
        self._scanned = False

    def add(self, name: str, target: str) -> None:
        """Add an entry.

        Raises:
            InputError: the name is taken by something else.
        """
        if self._targets.setdefault(name, target) != target:
            raise InputError(f"{self.kind} {name!r} is already registered", got=target, expected=self._targets[name])

    def load(self, name: str) -> T:
        """Import and return the entry of that name.

        Raises:
            UnknownNameError: nothing is called so; the message offers the nearest names.
        """
        if name not in self._targets:
            self._scan()
        if name not in self._targets:
            raise UnknownNameError(self.kind, name, self._targets)
        module, _, attribute = self._targets[name].partition(":")
        return cast(T, getattr(import_module(module), attribute))

    def __iter__(self) -> Iterator[str]:
        self._scan()
        return iter(sorted(self._targets))

    def __contains__(self, name: str) -> bool:
        self._scan()
        return name in self._targets

    def _scan(self) -> None:
        if self._scanned:
            return
        self._scanned = True
        for room in self.rooms:
            import_module(room)
        for point in entry_points(group=self.group):
            kept = self._targets.setdefault(point.name, point.value)
            if kept != point.value:
                owner = point.dist.name if point.dist else "an installed package"
                message = f"{owner} registers {self.kind} {point.name!r} as {point.value}; keeping {kept}"
                warnings.warn(message, stacklevel=3)
