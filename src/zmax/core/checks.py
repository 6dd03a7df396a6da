"""Checks of a method's arguments."""

from __future__ import annotations

import math

from zmax.core.errors import CapabilityError, InputError

MOST_COVARIED = 2000
"""Latent dimensions up to which a full covariance is kept: 32 MB, and seconds for each decomposition."""


def positive(method: str, **values: float | None) -> None:
    """Raise InputError unless every value is a positive finite number; None means "the default" and passes."""
    for name, value in values.items():
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if value is not None and not (number and value > 0 and math.isfinite(value)):
            raise InputError(f"{method}({name}=...)", expected="a positive finite number", got=repr(value))


def few(method: str, dim: int) -> None:
    """Raise CapabilityError where latents have too many dimensions for a full covariance."""
    if dim > MOST_COVARIED:
        raise CapabilityError(
            f"{method} keeps a covariance of all pairs of latent dimensions",
            expected=f"at most {MOST_COVARIED:,} dimensions",
            got=f"{dim:,}",
            remedy="choose 'sphere-cma' or 'snes', or search a subspace: zmax.generators.subspace(G, 100)",
        )


def categories(method: str, levels: tuple[int, ...]) -> None:
    """Raise CapabilityError where latents have no categories."""
    if not levels:
        raise CapabilityError(
            f"{method} changes one category of the latents after the other, and they have none",
            expected="a block with a prior such as zmax.Categorical(6)",
            remedy="choose 'turbo', or 'auto'",
        )


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
