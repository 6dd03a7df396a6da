"""What a process does that scores samples for another; started by :mod:`zmax.scores.workers`.

Messages are pickles of (value, failure); the first one says whether the function could be loaded. This module must stay
light: a worker whose function needs no torch never loads it.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import math
import os
import pickle
import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from multiprocessing import connection, parent_process
from types import ModuleType
from typing import Any

IN_WORDS = (
    'say where the number is, by an argument of zmax.score or RemoteScore: parse="score", a key of a dict or the word '
    "before the number; parse=0, a place in a pair; or parse=fn, a function of one answer, such as float"
)
"""What to do about a score that answers in words."""


class Files:
    """Finds modules that another process loaded from files, under the names that they have there."""

    def __init__(self, paths: Mapping[str, str]) -> None:
        self._paths = paths

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Return how to load a module of one of the files."""
        file = self._paths.get(name)
        return None if file is None else importlib.util.spec_from_file_location(name, file)


def serve(link: connection.Connection, function: bytes, paths: Mapping[str, str], threads: int, plain: bool) -> None:
    """Score one sample after another until nobody asks any more.

    Args:
        link: samples come, answers go.
        function: pickle of the function of one sample.
        paths: files of modules that were loaded by path, by name.
        threads: of torch and its like, unless the user said how many.
        plain: whether the function gives numbers; else its answers go as they are.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes of a terminal; the first one decides
    os.dup2(2, 1)  # what the user's function prints must not mix with what the program prints
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    threading.Thread(target=_end_with_parent, daemon=True).start()
    sys.meta_path.append(Files(paths))
    try:
        fn = pickle.loads(function)  # noqa: S301 - comes from the process that started this one
    except BaseException as error:  # noqa: BLE001 - importing the user's module may raise anything
        link.send_bytes(pickle.dumps((math.nan, _reason(error))))
        return
    link.send_bytes(pickle.dumps((math.nan, "")))
    while True:
        try:
            sample = link.recv_bytes()
        except (EOFError, OSError):
            return
        link.send_bytes(_answer(fn, sample, plain))


def _answer(fn: Any, sample: bytes, plain: bool) -> bytes:
    try:
        said = fn(pickle.loads(sample))  # noqa: S301 - as above
        return pickle.dumps((number(said) if plain else said, ""))
    except Exception as error:  # noqa: BLE001 - scores may raise anything
        return pickle.dumps((math.nan, _reason(error)))


def number(raw: Any) -> float:
    """Return what a function of one sample gave as a number; None is NaN.

    Raises:
        TypeError: it is in words.

    Example:
        >>> number(2), number(None)
        (2.0, nan)
    """
    if raw is None:
        return math.nan
    if isinstance(raw, (str, dict, list, tuple)):
        raise TypeError(f"the answer {raw!r:.200} is in words; {IN_WORDS}")
    return float(raw.item() if hasattr(raw, "item") else raw)


def _reason(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)
