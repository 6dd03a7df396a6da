"""The folder of a run that the user did not name: `runs/<G>-<S>-<method>-<limit>`, numbered, never reused."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

HOME = Path("runs")
_LONGEST = 40


def slug(text: str) -> str:
    """Return a short name for folders: paths lose their folders, anything unusual becomes a hyphen.

    Example:
        >>> slug("attribute:glasses"), slug("/my/models/file.py:G"), slug("0.7*brightness + min(a, b)")
        ('attribute-glasses', 'file.py-G', '0.7-brightness-min-a-b')
    """
    short = re.sub(r"[^\s*+(,]*/", "", text)
    return re.sub(r"[^A-Za-z0-9.]+", "-", short).strip("-.")[:_LONGEST].rstrip("-.") or "run"


@contextmanager
def claimed(out: Path | None, words: list[str]) -> Iterator[Path]:
    """Give the folder of a new run.

    A folder that the user named is passed on untouched. Otherwise one under `runs` is made, so that no other process
    takes the same name, and removed again if the run never began.

    Args:
        out: what the user named.
        words: what the name is made of.
    """
    if out is not None:
        yield out
        return
    folder = _reserve("-".join(slug(word) for word in words))
    try:
        yield folder
    finally:
        for path in (folder, HOME):
            with suppress(OSError):  # not empty: the run began
                path.rmdir()


def _reserve(name: str) -> Path:
    for number in count(1):
        folder = HOME / (name if number == 1 else f"{name}-{number}")
        with suppress(FileExistsError):
            folder.mkdir(parents=True)
            return folder
    raise AssertionError("there is always another number")
