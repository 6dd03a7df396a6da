"""Where words go: results to standard output, all else to standard error."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from typing import Any


def say(message: str) -> None:
    """Tell the person something that is not the result."""
    print(message, file=sys.stderr, flush=True)


def emit(value: object) -> None:
    """Write one JSON document, the only thing on standard output; numbers that are not finite become null."""
    print(json.dumps(_finite(value), allow_nan=False), flush=True)


@contextmanager
def only_stderr(active: bool) -> Iterator[None]:
    """Send to standard error whatever is printed meanwhile, also by programs that a score starts."""
    if not active:
        yield
        return
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_finite(item) for item in value]
    return value if value is None or isinstance(value, (str, int, bool)) else str(value)
