"""Folders of runs: which hold one, and which can take a new one."""

from __future__ import annotations

from pathlib import Path

from zmax.core.errors import InputError

FILE = "run.sqlite"


def holds_run(folder: Path) -> bool:
    """Say whether a folder holds a run."""
    return (folder / FILE).is_file()


def new_folder(out: str | Path | None) -> Path | None:
    """Return the folder of a run that is to begin.

    Raises:
        InputError: it holds another run, which is never overwritten, or it is a file.
    """
    if out is None:
        return None
    path = Path(out)
    if path.exists() and not path.is_dir():
        raise InputError(f"cannot write a run to {str(out)!r}", expected="a folder", got="a file")
    if holds_run(path):
        raise InputError(
            f"{str(out)!r} already holds a run",
            expected="a new or empty folder",
            remedy=f"`zmax resume {out}` goes on with it; another folder starts afresh",
        )
    return path
