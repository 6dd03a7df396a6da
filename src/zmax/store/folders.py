"""Folders of runs: which hold one, which can take a new one, and which process has one."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from zmax.core.errors import InputError

FILE = "run.sqlite"
BESIDE = (f"{FILE}-wal", f"{FILE}-shm", f"{FILE}-journal")
"""What SQLite keeps beside the file while it is written."""

NEW = f"{FILE}.new"
"""The file before it is whole."""

OPENING = "opening.sqlite"
"""What was paid for before the run began."""

LOCK = "run.lock"
"""The file that a process locks while a run goes on in its folder; it holds the process's number."""

_held: set[int] = set()


def holds_run(folder: Path) -> bool:
    """Say whether a folder holds a run."""
    return (folder / FILE).is_file()


def remove_opening(folder: Path) -> None:
    """Remove what was kept of a run that had not begun."""
    for end in ("", "-wal", "-shm", "-journal"):
        (folder / f"{OPENING}{end}").unlink(missing_ok=True)


def new_folder(out: str | Path | None) -> Path | None:
    """Return the folder of a run that is to begin.

    Raises:
        InputError: it holds another run, which is never overwritten, or what is left of one; or it is a file.
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
    for name in BESIDE:
        if (path / name).exists():
            raise InputError(
                f"{str(out)!r} holds {name} without its {FILE}",
                expected="a new or empty folder",
                remedy=f"bring {FILE} back, of which it holds the last writes, or delete it",
            )
    return path


@contextmanager
def held(out: str | Path | None) -> Iterator[Path | None]:
    """Hold the folder of a run, so that no other process begins or resumes one there; it is made if need be.

    Where no run began in it, nothing is left behind. The hold ends with the process, however that ends.

    Raises:
        InputError: another process, or another run of this one, holds it; or it cannot be made.
    """
    if out is None:
        yield None
        return
    folder = Path(out)
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = _locked(folder)
    except OSError as error:
        raise InputError(f"no run can be kept in {str(folder)!r}", got=error, remedy="choose another") from error
    try:
        yield folder
    finally:
        if lock in _held:  # not so in a child process
            _released(folder, lock, made)


@contextmanager
def begun(out: str | Path | None) -> Iterator[Path | None]:
    """Hold the folder of a run that is to begin; see :func:`new_folder` and :func:`held`."""
    new_folder(out)
    with held(out):
        yield new_folder(out)  # which may have been another's until now


def _released(folder: Path, lock: int, made: list[Path]) -> None:
    (folder / NEW).unlink(missing_ok=True)
    (folder / LOCK).unlink(missing_ok=True)
    _held.discard(lock)
    os.close(lock)
    if not holds_run(folder):
        with suppress(OSError):  # not empty
            for path in made:
                path.rmdir()


@contextmanager
def put_in(folder: Path) -> Iterator[Path]:
    """Give a new file, which becomes the run of a folder once it is written."""
    folder.mkdir(parents=True, exist_ok=True)
    new = folder / NEW
    new.unlink(missing_ok=True)
    try:
        yield new
        new.rename(folder / FILE)
    finally:
        new.unlink(missing_ok=True)


def _locked(folder: Path) -> int:
    """Lock the folder's file and write our number into it; return its descriptor."""
    file = folder / LOCK
    while True:
        lock = os.open(file, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o644)
        try:
            _lock(lock)
        except BlockingIOError:
            owner = os.read(lock, 32).decode(errors="replace").strip()
            os.close(lock)
            raise InputError(
                f"a run in {str(folder)!r} is already running" + (f" (pid {owner})" if owner else ""),
                remedy="wait until it ends, or end it; another folder starts afresh",
            ) from None
        if file.exists() and os.path.samestat(os.fstat(lock), file.stat()):
            break
        os.close(lock)  # whoever had it has just ended and removed it
    os.truncate(lock, 0)
    os.write(lock, f"{os.getpid()}\n".encode())
    _held.add(lock)
    return lock


def _lock(descriptor: int) -> None:
    """Lock a file for as long as this process has it open, if nobody else has."""
    if sys.platform == "win32":
        import msvcrt

        try:
            os.lseek(descriptor, 1 << 20, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError as error:
            raise BlockingIOError from error
        finally:
            os.lseek(descriptor, 0, os.SEEK_SET)
    else:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _forget() -> None:
    """Close what a parent process holds: a child that outlives it is not the run."""
    for lock in _held:
        os.close(lock)
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
