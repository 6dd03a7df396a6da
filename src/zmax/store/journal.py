"""The run's journal: every evaluation, written before the method is told of it, in one SQLite file."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Any

import torch

from zmax.core.budget import Ledger
from zmax.core.errors import InputError, StoreError
from zmax.core.strategy import Population
from zmax.store import records
from zmax.store.answers import AGAIN, TABLES, AnswerBook, Known
from zmax.store.folders import FILE, holds_run
from zmax.store.records import Chunk, Entry, Position, chunk_row, entry_row, pack, read_chunk, read_entry, unpack

_TABLES = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS chunks (
  round INTEGER NOT NULL, offset INTEGER NOT NULL, first_id INTEGER NOT NULL, data BLOB NOT NULL, grad BLOB,
  failures TEXT NOT NULL, ledger TEXT NOT NULL, PRIMARY KEY (round, offset));
CREATE TABLE IF NOT EXISTS kept (
  role TEXT NOT NULL, id INTEGER NOT NULL, score REAL NOT NULL, plausibility REAL NOT NULL, held_out REAL,
  latent BLOB NOT NULL, parts TEXT NOT NULL, kind TEXT NOT NULL, sample BLOB NOT NULL, PRIMARY KEY (role, id));
CREATE TABLE IF NOT EXISTS checkpoint (
  slot INTEGER PRIMARY KEY CHECK (slot = 0), round INTEGER, next_id INTEGER, state BLOB);
CREATE TABLE IF NOT EXISTS repeats (number INTEGER PRIMARY KEY, id INTEGER NOT NULL, score REAL);
CREATE TABLE IF NOT EXISTS population (slot INTEGER PRIMARY KEY CHECK (slot = 0), data BLOB);
CREATE TABLE IF NOT EXISTS blobs (name TEXT PRIMARY KEY, data BLOB NOT NULL);
"""

KIND = 7
"""Column of `kept` that names the kind of sample."""

REFERENCE = -1
"""Round number of the reference batch, drawn from the prior before the method begins."""


class Journal:
    """One run's record in a folder, or in memory when no folder is given.

    Raises:
        StoreError: the file cannot be written; what was written before is kept.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self._live: dict[int, Any] = {}  # samples that are no data, for as long as this process has them
        self._db = sqlite3.connect(":memory:" if folder is None else folder / FILE, isolation_level=None)
        with self._guard():
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=NORMAL")
            self._db.executescript(_TABLES + TABLES)
        self.answers = AnswerBook(self._db, self._guard)

    @classmethod
    def create(
        cls, folder: Path | None, facts: Mapping[str, object], begin: Callable[[Journal], None] = lambda journal: None
    ) -> Journal:
        """Start a journal that records these facts and what `begin` writes; a folder holds it whole or not at all."""
        if folder is None:
            return cls(None)._with(facts, begin)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with TemporaryDirectory(dir=folder, prefix=".new-") as nursery:
                new = cls(Path(nursery))._with(facts, begin)
                new.close()
                Path(nursery, FILE).rename(folder / FILE)
        except OSError as error:
            raise InputError(f"no run can be kept in {str(folder)!r}", got=error, remedy="choose another") from error
        made = cls(folder)
        made._live = new._live
        return made

    @classmethod
    def open(cls, folder: str | Path) -> Journal:
        """Open the journal of an existing run.

        Raises:
            InputError: the folder holds no run.
        """
        path = Path(folder)
        if not holds_run(path):
            raise InputError(f"no run in {str(folder)!r}", expected=f"a folder with {FILE}", remedy="check the path")
        return cls(path)

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def apart(self) -> Journal:
        """Return a copy in memory, and close this one."""
        made = Journal(None)
        with self._guard():
            self._db.backup(made._db)
        self.close()
        return made

    def copy_to(self, folder: Path) -> None:
        """Copy the whole journal into another folder."""
        folder.mkdir(parents=True, exist_ok=True)
        target = sqlite3.connect(folder / FILE)
        with self._guard():
            self._db.backup(target)
        target.close()

    def set(self, key: str, value: object) -> None:
        """Record a JSON value about the run."""
        with self._guard():
            self._put({key: value})

    def get(self, key: str, default: Any = None) -> Any:
        """Return a recorded JSON value."""
        row = self._db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return default if row is None else json.loads(row[0])

    def append(
        self,
        chunk: Chunk,
        added: Sequence[Entry] = (),
        dropped: Sequence[int] = (),
        reference: Sequence[Entry] = (),
        known: Mapping[bytes, Known] = MappingProxyType({}),
    ) -> None:
        """Write a chunk and the change it makes to the leaders, all or nothing.

        Args:
            chunk: what was evaluated.
            added: entries that join the leaders.
            dropped: ids that leave them.
            reference: entries of the reference batch, kept for good.
            known: what was learned of samples that may return.
        """
        kept = [("leader", e) for e in added] + [("reference", e) for e in reference]
        rows = [(role, *entry_row(e)) for role, e in kept]
        self._live |= {e.id: e.sample for (_, e), row in zip(kept, rows, strict=True) if row[KIND] == "printed"}
        with self._transaction():
            self._db.execute("INSERT INTO chunks VALUES (?, ?, ?, ?, ?, ?, ?)", chunk_row(chunk))
            self.answers.settle(chunk.round, chunk.offset + len(chunk), known)
            if dropped:
                self._db.executemany("DELETE FROM kept WHERE role = 'leader' AND id = ?", [(i,) for i in dropped])
            if rows:
                self._db.executemany("INSERT INTO kept VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)

    def chunks(self) -> Iterator[Chunk]:
        """Yield all chunks in the order of evaluation."""
        for row in self._db.execute("SELECT * FROM chunks ORDER BY round, offset"):
            yield read_chunk(row)

    def find(self, round_: int, offset: int) -> Chunk | None:
        """Return the chunk that begins at that row of that round, if it was journalled."""
        row = self._db.execute("SELECT * FROM chunks WHERE round = ? AND offset = ?", (round_, offset)).fetchone()
        return None if row is None else read_chunk(row)

    def ledger(self) -> Ledger:
        """Return the cost so far: what the end of the run wrote down, or the last chunk written if that came later."""
        written = self.get("ledger")
        last = self._db.execute("SELECT ledger FROM chunks ORDER BY rowid DESC LIMIT 1").fetchone()
        known = [Ledger(**written)] if written else []
        known += [] if last is None else [Ledger(**json.loads(last[0]))]
        return max(known, key=lambda cost: (cost.score_calls, cost.nfe, cost.held_out_calls), default=Ledger())

    def last(self) -> Chunk | None:
        """Return the chunk evaluated last."""
        row = self._db.execute("SELECT * FROM chunks ORDER BY round DESC, offset DESC LIMIT 1").fetchone()
        return None if row is None else read_chunk(row)

    def newest(self) -> Iterator[Chunk]:
        """Yield all chunks of the method, the last one first."""
        for row in self._db.execute("SELECT * FROM chunks WHERE round >= 0 ORDER BY round DESC, offset DESC"):
            yield read_chunk(row)

    def forget_failures(self, round_: int) -> None:
        """Drop the chunks from that round on that hold failures, so that going on tries them again."""
        with self._transaction():
            self._db.execute("DELETE FROM chunks WHERE round >= ? AND failures != '{}'", (round_,))
            self.answers.forget_failures()

    def kept(self, role: str) -> list[Entry]:
        """Return the samples kept as "leader", "reference", "draw" or "elite", best first."""
        rows = self._db.execute("SELECT * FROM kept WHERE role = ? ORDER BY score DESC, id", (role,)).fetchall()
        known = self.get("realism", {})
        entries = [replace(e, realism=known.get(str(e.id))) for e in (read_entry(row[1:]) for row in rows)]
        return [replace(e, sample=self._live[e.id]) if e.id in self._live else e for e in entries]

    def keep(self, role: str, entries: Sequence[Entry]) -> None:
        """Keep these samples in that role, instead of those that had it."""
        rows = [(role, *entry_row(e)) for e in entries]
        with self._transaction():
            self._db.execute("DELETE FROM kept WHERE role = ?", (role,))
            self._db.executemany("INSERT INTO kept VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)

    def add_repeats(self, found: dict[int, float], ledger: Ledger) -> None:
        """Record another score of each of these samples, and what the run has cost by then."""
        with self._transaction():
            self._db.executemany("INSERT INTO repeats (id, score) VALUES (?, ?)", list(found.items()))
            self.answers.settle(AGAIN, self._db.execute("SELECT count(*) FROM repeats").fetchone()[0], {})
            self._put({"ledger": vars(ledger)})

    def repeats(self) -> dict[int, list[float]]:
        """Return all repeated scores by sample id, failures as minus infinity."""
        found: dict[int, list[float]] = {}
        for id_, score in self._db.execute("SELECT id, score FROM repeats ORDER BY number"):
            found.setdefault(id_, []).append(score)
        return found

    def set_held_out(self, found: dict[int, float], ledger: Ledger, watched: object = None) -> None:
        """Record held-out values by sample id, the looks of a watch if there is one, and what the run has cost."""
        with self._transaction():
            self._put({"ledger": vars(ledger)} | ({} if watched is None else {"watched": watched}))
            rows = [(records.stored(value), id_) for id_, value in found.items()]
            self._db.executemany("UPDATE kept SET held_out = ? WHERE id = ?", rows)

    def set_realism(self, found: dict[int, float], ledger: Ledger) -> None:
        """Record the realism of samples by id, beside what is known, and what the run has cost."""
        known = self.get("realism", {}) | {str(i): value for i, value in found.items()}
        with self._transaction():
            self._put({"realism": known, "ledger": vars(ledger)})

    def checkpoint(self, position: Position) -> None:
        """Save where the method stands; gradients of earlier rounds are no longer needed."""
        with self._transaction():
            self._db.execute("INSERT OR REPLACE INTO checkpoint VALUES (0, ?, ?, ?)", tuple(vars(position).values()))
            self._db.execute("UPDATE chunks SET grad = NULL WHERE round < ? AND grad IS NOT NULL", (position.round,))

    def set_population(self, population: Population) -> None:
        """Write down the draws that the method's last state stands for."""
        known = {name: torch.as_tensor(value) for name, value in vars(population).items() if value is not None}
        with self._guard():
            self._db.execute("INSERT OR REPLACE INTO population VALUES (0, ?)", (pack(known),))

    def population(self) -> Population | None:
        """Return the draws that were written down, if any."""
        row = self._db.execute("SELECT data FROM population").fetchone()
        if row is None:
            return None
        found = unpack(row[0])
        approximate = bool(found.pop("approximate", False))
        return Population(**found, approximate=approximate)

    def put(self, name: str, data: bytes, facts: Mapping[str, object]) -> None:
        """Write down bytes under a name, such as weights, together with JSON values that belong to them."""
        with self._transaction():
            self._db.execute("INSERT OR REPLACE INTO blobs VALUES (?, ?)", (name, data))
            self._put(facts)

    def blob(self, name: str) -> bytes | None:
        """Return the bytes of that name, if there are any."""
        row = self._db.execute("SELECT data FROM blobs WHERE name = ?", (name,)).fetchone()
        return None if row is None else row[0]

    def drop(self, name: str) -> None:
        """Forget the bytes of that name."""
        with self._guard():
            self._db.execute("DELETE FROM blobs WHERE name = ?", (name,))

    def last_checkpoint(self) -> Position | None:
        """Return where the method stood at the last checkpoint, if there is one."""
        row = self._db.execute("SELECT round, next_id, state FROM checkpoint").fetchone()
        return None if row is None else Position(*row)

    def _put(self, facts: Mapping[str, object]) -> None:
        rows = [(key, json.dumps(value)) for key, value in facts.items()]
        self._db.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", rows)

    def _with(self, facts: Mapping[str, object], begin: Callable[[Journal], None]) -> Journal:
        for key, value in facts.items():
            self.set(key, value)
        begin(self)
        return self

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._guard():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    @contextmanager
    def _guard(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise StoreError(
                f"the journal in {str(self.folder)!r} cannot be used: {error}",
                remedy="free some space or stop the other writer, then `zmax resume` it: all that was written is kept",
            ) from error
