"""The run-time checker behind jaxtyping's import hook."""

from __future__ import annotations

from typing import Any

import beartype
from beartype.roar import BeartypeDecorHintPep3119Exception

_typed = beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))


def checked(function: Any) -> Any:
    """Check every call against the annotations; a protocol that `isinstance` cannot test leaves a function as it is."""
    try:
        return _typed(function)
    except BeartypeDecorHintPep3119Exception:
        return function
