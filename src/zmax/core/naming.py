"""The name a thing has unless it is given one."""

from __future__ import annotations


class ClassName:
    """Default for an attribute `name`: the class's name, until the class or the instance sets another.

    Example:
        >>> class Thing:
        ...     name = ClassName()
        >>> Thing().name
        'Thing'
    """

    def __get__(self, instance: object | None, owner: type) -> str:
        """Return the name; the class itself has none, so that a dataclass may have a field of that name."""
        if instance is None:
            raise AttributeError("name")
        return owner.__name__
