"""An SQLite file that one process writes and others may read, or one in memory; each error of it is said in words."""

from __future__ import annotations

import shutil
import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import quote

from safetensors import SafetensorError

from zmax.core.errors import InputError, StoreError

Row = tuple[Any, ...]

KIND_OF_FILE = 0x7A6D6178
"""What the header of each of our files says: "zmax"."""

LOG = "-wal"
"""Ending of the file beside ours in which SQLite writes first."""

VERSION = 1
"""Version of the tables; it goes up with each change after which older files are no longer read."""

AT_RISK = 1.0
"""Seconds of writing that a loss of power may cost; to wait for the disk after each write takes some milliseconds."""

WRONG = (ValueError, KeyError, TypeError, IndexError, OverflowError, EOFError, SafetensorError)
"""What reading damaged data may raise."""


class Database:
    """A file, opened once somebody writes and until it is closed, and otherwise for each question; or one in memory.

    What was written survives a loss of power, but for the last second of it.

    Args:
        file: where it is; None for one in memory.
        tables: SQL that makes them.

    Raises:
        StoreError: it cannot be written, or what it holds is damaged.
    """

    def __init__(self, file: Path | None, tables: str) -> None:
        self.file = file
        self._tables = tables
        self._open: sqlite3.Connection | None = None
        self._synced, self._waits = float("-inf"), False
        self._copy: TemporaryDirectory[str] | None = None
        if file is None:
            self._open = self._connected(":memory:")
            self._made(self._open)

    def do(self, sql: str, values: Row = ()) -> None:
        """Carry out a statement that writes."""
        with self.guard():
            self._writer().execute(sql, values)

    def do_all(self, sql: str, rows: Iterable[Row]) -> None:
        """Carry out a statement that writes for each row."""
        with self.guard():
            self._writer().executemany(sql, rows)

    def rows(self, sql: str, values: Row = ()) -> Iterator[Row]:
        """Yield what a question gives."""
        asked = self._open
        reader = self._reader() if asked is None else asked
        try:
            with self.guard():
                cursor = reader.execute(sql, values)
            while True:
                with self.guard():
                    row = cursor.fetchone()
                if row is None:
                    return
                yield row
        finally:
            if asked is None:
                reader.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Write all that is written inside, or nothing of it; one inside another is part of that."""
        with self.guard():
            writer = self._writer()
        if writer.in_transaction:
            yield
            return
        with self.guard():
            due = time.monotonic() >= self._synced + AT_RISK
            self._wait(writer, due)
            writer.execute("BEGIN IMMEDIATE")
        try:
            yield
            with self.guard():
                writer.execute("COMMIT")
            self._synced = time.monotonic() if due else self._synced
            self._wait(writer, False)
        except BaseException:
            writer.rollback()
            raise

    def _wait(self, writer: sqlite3.Connection, due: bool) -> None:
        """Let what is written next wait for the disk, or not."""
        if due != self._waits:
            writer.execute(f"PRAGMA synchronous={'FULL' if due else 'NORMAL'}")
            self._waits = due

    def close(self) -> None:
        """Close the file, if it is open; one in memory stays."""
        if self.file is not None and self._open is not None:
            with suppress(sqlite3.Error):  # somebody reads it: then it keeps its files beside it
                self._open.execute("PRAGMA journal_mode=DELETE")
            self._open.close()
            self._open = None

    def check(self) -> None:
        """See whether the file is one of ours, of this version, and sound.

        Raises:
            InputError: it is not ours, or of another version.
            StoreError: it is damaged.
        """
        try:
            ours, version = (self._asked(f"PRAGMA {name}")[0][0] for name in ("application_id", "user_version"))
            tables = {name for (name,) in self._asked("SELECT name FROM sqlite_master WHERE type = 'table'")}
        except StoreError as error:
            if "not a database" in str(error):
                raise self._foreign("no database") from error
            raise
        if ours != KIND_OF_FILE and not {"meta", "chunks"} <= tables:
            raise self._foreign("another database")
        if version != VERSION:
            age = "newer" if version > VERSION else "older"
            remedy = "read it with that version; nothing in it was changed"
            raise InputError(
                f"{str(self.file)!r} was written by {'an' if age == 'older' else 'a'} {age} version of zmax",
                expected=f"tables of version {VERSION}",
                got=f"version {version}",
                remedy=remedy,
            )
        assert self.file is not None, "a file"
        pages, size = (self._asked(f"PRAGMA {name}")[0][0] for name in ("page_count", "page_size"))
        if not self.file.with_name(f"{self.file.name}{LOG}").exists() and self.file.stat().st_size < pages * size:
            raise self.damaged(f"it is cut short, at {self.file.stat().st_size} of {pages * size} bytes")
        found = [str(line) for (line,) in self._asked("PRAGMA integrity_check(3)")]
        if found != ["ok"]:
            raise self.damaged("; ".join(found).replace("\n", " "))

    def _foreign(self, got: str) -> InputError:
        return InputError(f"{str(self.file)!r} is no run", expected="a file that zmax wrote", got=got)

    def copy_to(self, other: Database) -> None:
        """Copy everything into another one, which is empty."""
        asked = self._open
        reader = self._reader() if asked is None else asked
        try:
            with self.guard():
                reader.backup(other._writer())
        finally:
            if asked is None:
                reader.close()

    def dumped(self) -> bytes:
        """Return all that one in memory holds."""
        with TemporaryDirectory(prefix="zmax-") as folder:
            copy = Database(Path(folder) / "copy", "")
            self.copy_to(copy)
            copy.close()
            return Path(folder, "copy").read_bytes()

    def load(self, data: bytes) -> None:
        """Take over what another one in memory held."""
        with TemporaryDirectory(prefix="zmax-") as folder:
            Path(folder, "copy").write_bytes(data)
            Database(Path(folder) / "copy", "").copy_to(self)

    def damaged(self, why: object) -> StoreError:
        """Return the error of data that cannot be what was written."""
        where = "in memory" if self.file is None else f"{str(self.file)!r}"
        return StoreError(
            f"the run's file {where} is damaged: {why}",
            remedy="restore the file from a copy; zmax.load_result(FOLDER, damaged=True) reads what is whole",
        )

    @contextmanager
    def guard(self) -> Iterator[None]:
        """Say what SQLite raises as an error of the store."""
        try:
            yield
        except sqlite3.Error as error:
            if type(error) is sqlite3.DatabaseError:
                raise self.damaged(error) from error
            place = None if self.file is None else str(self.file.parent)
            remedy = "free some space or stop the other writer, then `zmax resume` it: all that was written is kept"
            raise StoreError(f"the journal in {place!r} cannot be used: {error}", remedy=remedy) from error

    @contextmanager
    def sound(self, what: str) -> Iterator[None]:
        """Say what reading damaged data raises as an error of the store."""
        try:
            yield
        except WRONG as error:
            raise self.damaged(f"{what}: {type(error).__name__}: {error}"[:300]) from error

    def _asked(self, sql: str) -> list[Row]:
        return list(self.rows(sql))

    def _writer(self) -> sqlite3.Connection:
        if self._open is None:
            made = self._connected(str(self.file))
            try:
                made.execute("PRAGMA journal_mode=WAL")
                self._made(made)
            except BaseException:
                made.close()
                raise
            self._open, self._waits = made, True
        return self._open

    def _made(self, connection: sqlite3.Connection) -> None:
        """Make the tables of a new file."""
        if not connection.execute("PRAGMA user_version").fetchone()[0]:
            connection.executescript(self._tables)
            connection.execute(f"PRAGMA application_id={KIND_OF_FILE}")
            connection.execute(f"PRAGMA user_version={VERSION}")

    def _reader(self) -> sqlite3.Connection:
        """Open the file to read; where its folder cannot be written and a writer left a log there, a copy of both."""
        assert self.file is not None, "one in memory is always open"
        with self.guard():
            try:
                return self._tried(self.file.resolve())
            except sqlite3.OperationalError:
                return self._tried(self._copied(self.file))

    def _tried(self, file: Path) -> sqlite3.Connection:
        made = self._connected(f"file:{quote(str(file))}?mode=ro")
        try:
            made.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchall()
        except sqlite3.Error:
            made.close()
            raise
        return made

    def _copied(self, file: Path) -> Path:
        if self._copy is None:
            self._copy = TemporaryDirectory(prefix="zmax-")
            for part in ("", LOG):
                with suppress(OSError):
                    shutil.copy(f"{file}{part}", self._copy.name)
        return Path(self._copy.name) / file.name

    @staticmethod
    def _connected(name: str) -> sqlite3.Connection:
        return sqlite3.connect(name, isolation_level=None, check_same_thread=False, uri=name.startswith("file:"))
