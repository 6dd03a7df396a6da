"""Checks of a method's arguments."""

from __future__ import annotations

import math

from zmax.core.errors import InputError


def positive(method: str, **values: float | None) -> None:
    """Raise InputError unless every value is a positive finite number; None means "the default" and passes."""
    for name, value in values.items():
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if value is not None and not (number and value > 0 and math.isfinite(value)):
            raise InputError(f"{method}({name}=...)", expected="a positive finite number", got=repr(value))


def not_negative(method: str, **values: float) -> None:
    """Raise InputError unless every value is a number of at least 0."""
    for name, value in values.items():
        if not value >= 0:
            raise InputError(f"{method}({name}=...)", expected="a number of at least 0", got=value)


def whole(method: str, *, least: int = 1, **values: int | None) -> None:
    """Raise InputError unless every value is an int of at least `least`; None means "the default" and passes."""
    for name, value in values.items():
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < least):
            raise InputError(f"{method}({name}=...)", expected=f"an int of at least {least}", got=repr(value))


def share(method: str, **values: float) -> None:
    """Raise InputError unless every value is a number above 0 and at most 1."""
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= 1:
            raise InputError(f"{method}({name}=...)", expected="a number above 0 and at most 1", got=repr(value))
