"""The run's journal: every evaluation, written before the method is told of it, in one SQLite file."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

import torch

from zmax.core.budget import Ledger
from zmax.core.errors import InputError
from zmax.core.strategy import Population
from zmax.store.answers import AGAIN, AnswerBook, Known
from zmax.store.database import Database, Row
from zmax.store.folders import FILE, OPENING, holds_run, put_in
from zmax.store.kept import Shelf
from zmax.store.records import Chunk, Entry, Position, chunk_row, opened, read_chunk, sealed
from zmax.store.salvage import salvage
from zmax.store.samples import pack, unpack
from zmax.store.tables import CHUNK, TABLES

REFERENCE = -1
"""Round number of the reference batch, drawn from the prior before the method begins."""

NOT_FINISHED = "not finished"
"""Why a run ended that has not: it goes on, or its process died."""

T = TypeVar("T")


class Journal:
    """One run's record in a folder, or in memory when no folder is given.

    The file is open only while a run writes it. A journal can be pickled: one in a folder by that, one in memory whole.

    Attributes:
        shelf: samples worth keeping.

    Raises:
        StoreError: the file cannot be written, or is damaged; what was written before is kept.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self._db = Database(None if folder is None else folder / FILE, TABLES)
        self.shelf = Shelf(self._db)

    @cached_property
    def answers(self) -> AnswerBook:
        """What is known of single samples."""
        return AnswerBook(self._db)

    @classmethod
    def create(
        cls, folder: Path | None, facts: Mapping[str, object], begin: Callable[[Journal], None] | None = None
    ) -> Journal:
        """Start a journal that records these facts and what `begin` writes; a folder holds it whole or not at all."""
        new = cls(None)
        new.put_facts(facts)
        if begin is not None:
            begin(new)
        if folder is None:
            return new
        try:
            new.copy_to(folder)
        except OSError as error:
            raise InputError(f"no run can be kept in {str(folder)!r}", got=error, remedy="choose another") from error
        made = cls(folder)
        made.shelf.live = new.shelf.live
        return made

    @classmethod
    def open(cls, folder: str | Path, *, damaged: bool = False) -> Journal:
        """Open the journal of an existing run; of a damaged one, if that is said, a copy in memory of what is whole.

        Raises:
            InputError: the folder holds no run, or one of another version.
            StoreError: its file is damaged.
        """
        path = Path(folder)
        if not holds_run(path) and (path / OPENING).is_file():
            remedy = "start it again there with the same words: what was paid for is kept"
            raise InputError(f"the run in {str(folder)!r} was cut short before it began", remedy=remedy)
        if not holds_run(path):
            raise InputError(f"no run in {str(folder)!r}", expected=f"a folder with {FILE}", remedy="check the path")
        made, rest = cls(path), cls(None)
        if damaged:
            salvage(made._db, rest._db)
            return rest
        made._db.check()
        return made

    def close(self) -> None:
        """Close the file; whoever asks or writes opens it again."""
        self._db.close()

    def apart(self) -> Journal:
        """Return a copy in memory, and close this one."""
        made = Journal(None)
        self._db.copy_to(made._db)
        self.close()
        return made

    def copy_to(self, folder: Path) -> None:
        """Copy the whole journal into another folder, which holds all of it at once."""
        with put_in(folder) as file:
            target = Database(file, "")
            try:
                self._db.copy_to(target)
            finally:
                target.close()

    def reading(self, what: str) -> AbstractContextManager[None]:
        """Say what reading something made of damaged or foreign data raises as an error of the store."""
        return self._db.sound(what)

    def together(self) -> AbstractContextManager[None]:
        """Write all that is written inside, or nothing of it."""
        return self._db.transaction()

    def set(self, key: str, value: object) -> None:
        """Record a JSON value about the run."""
        self.put_facts({key: value})

    def put_facts(self, facts: Mapping[str, object]) -> None:
        """Record JSON values about the run, all or nothing."""
        rows = [sealed(key, json.dumps(value)) for key, value in facts.items()]
        with self.together():
            self._db.do_all("INSERT OR REPLACE INTO meta VALUES (?, ?, ?)", rows)

    def get(self, key: str, default: Any = None) -> Any:
        """Return a recorded JSON value."""
        found = self._read(f"{key!r}", "SELECT * FROM meta WHERE key = ?", lambda row: json.loads(opened(row)[1]), key)
        return next(found, default)

    def append(
        self,
        chunk: Chunk,
        added: Sequence[Entry] = (),
        dropped: Sequence[int] = (),
        reference: Sequence[Entry] = (),
        known: Mapping[bytes, Known] = MappingProxyType({}),
        *,
        later: bool = False,
    ) -> None:
        """Write a chunk and the change it makes to the leaders, all or nothing.

        Args:
            chunk: what was evaluated.
            added: entries that join the leaders.
            dropped: ids that leave them.
            reference: entries of the reference batch, kept for good.
            known: what was learned of samples that may return.
            later: whether large samples of added entries can be made again, and wait for a checkpoint.
        """
        with self.together():
            self._db.do(f"INSERT INTO chunks {CHUNK}", chunk_row(chunk))
            self.answers.settle(chunk.round, chunk.offset + len(chunk), known)
            self.shelf.drop(dropped)
            self.shelf.add("leader", added, later=later)
            self.shelf.add("reference", reference)

    def chunks(self) -> Iterator[Chunk]:
        """Yield all chunks in the order of evaluation."""
        return self._chunks("ORDER BY round, offset")

    def find(self, round_: int, offset: int) -> Chunk | None:
        """Return the chunk that begins at that row of that round, if it was journalled."""
        return next(self._chunks("WHERE round = ? AND offset = ?", round_, offset), None)

    def ledger(self) -> Ledger:
        """Return the cost so far: what was written down beside the chunks, or the last chunk's if that came later."""
        written = self.get("ledger")
        asked = "SELECT * FROM chunks ORDER BY rowid DESC LIMIT 1"
        known = [Ledger(**written)] if written else []
        known += [chunk.ledger for chunk in self._read("the last batch", asked, read_chunk)]
        return max(known, key=lambda cost: cost.counted, default=Ledger())

    def last(self) -> Chunk | None:
        """Return the chunk evaluated last."""
        return next(self._chunks("ORDER BY round DESC, offset DESC LIMIT 1"), None)

    def newest(self) -> Iterator[Chunk]:
        """Yield all chunks but the reference, the one that was written last first."""
        return self._chunks("WHERE round != ? ORDER BY rowid DESC", REFERENCE)

    def forget_failures(self, round_: int) -> None:
        """Drop chunks with failures from that round on, and of looks that were not done, to try them again."""
        undone = REFERENCE - 1 - len(self.get("looks", []))
        with self.together():
            self._db.do("DELETE FROM chunks WHERE (round >= ? OR round <= ?) AND failures != '{}'", (round_, undone))
            self.answers.forget_failures()

    def kept(self, role: str) -> list[Entry]:
        """Return the samples kept as "leader", "reference", "draw" or "elite", best first."""
        known = self.get("realism", {})
        return [replace(e, realism=known.get(str(e.id))) for e in self.shelf.entries(role)]

    def keep(self, role: str, entries: Sequence[Entry]) -> None:
        """Keep these samples in that role, instead of those that had it."""
        with self.together():
            self.shelf.clear(role)
            self.shelf.add(role, entries)

    def add_repeats(self, found: dict[int, float], ledger: Ledger) -> None:
        """Record another score of each of these samples, and what the run has cost by then."""
        with self.together():
            asked = "INSERT INTO repeats (id, score, sum) VALUES (?, ?, ?)"
            self._db.do_all(asked, [sealed(id_, float(score)) for id_, score in found.items()])
            self.answers.settle(AGAIN, next(self._db.rows("SELECT count(*) FROM repeats"))[0], {})
            self.set("ledger", vars(ledger))

    def repeats(self) -> dict[int, list[float]]:
        """Return all repeated scores by sample id, failures as minus infinity."""
        found: dict[int, list[float]] = {}
        for id_, score in self._read("a repeat", "SELECT id, score, sum FROM repeats ORDER BY number", opened):
            found.setdefault(id_, []).append(score)
        return found

    def set_held_out(self, found: dict[int, float], ledger: Ledger, watched: object = None) -> None:
        """Record held-out values by sample id, the looks of a watch if there is one, and what the run has cost."""
        with self.together():
            self.put_facts({"ledger": vars(ledger)} | ({} if watched is None else {"watched": watched}))
            self.shelf.judged(found)

    def set_realism(self, found: dict[int, float], ledger: Ledger) -> None:
        """Record the realism of samples by id, beside what is known, and what the run has cost."""
        known = self.get("realism", {}) | {str(i): value for i, value in found.items()}
        self.put_facts({"realism": known, "ledger": vars(ledger)})

    def checkpoint(self, position: Position) -> None:
        """Save where the method stands, and the samples so far; gradients of earlier rounds are no longer needed."""
        with self.together():
            row = sealed(0, *vars(position).values())
            self._db.do("INSERT OR REPLACE INTO checkpoint VALUES (?, ?, ?, ?, ?)", row)
            forget = "UPDATE chunks SET grad = NULL, grad_sum = NULL WHERE round < ? AND grad IS NOT NULL"
            self._db.do(forget, (position.round,))
            self.shelf.write()

    def last_checkpoint(self) -> Position | None:
        """Return where the method stood at the last checkpoint, if there is one."""
        return next(self._read("the checkpoint", "SELECT * FROM checkpoint", lambda r: Position(*opened(r)[1:])), None)

    def set_population(self, population: Population) -> None:
        """Write down the draws that the method's last state stands for."""
        known = {name: torch.as_tensor(value) for name, value in vars(population).items() if value is not None}
        self._db.do("INSERT OR REPLACE INTO population VALUES (?, ?, ?)", sealed(0, pack(known)))

    def population(self) -> Population | None:
        """Return the draws that were written down, if any."""

        def read(row: Row) -> Population:
            found = unpack(opened(row)[1])
            approximate = bool(found.pop("approximate", False))
            return Population(**found, approximate=approximate)

        return next(self._read("the population", "SELECT * FROM population", read), None)

    def put(self, name: str, data: bytes, facts: Mapping[str, object]) -> None:
        """Write down bytes under a name, such as weights, together with JSON values that belong to them."""
        with self.together():
            self._db.do("INSERT OR REPLACE INTO blobs VALUES (?, ?, ?)", sealed(name, data))
            self.put_facts(facts)

    def blob(self, name: str) -> bytes | None:
        """Return the bytes of that name, if there are any."""
        return next(self._read(f"{name!r}", "SELECT * FROM blobs WHERE name = ?", lambda r: opened(r)[1], name), None)

    def drop(self, name: str) -> None:
        """Forget the bytes of that name."""
        self._db.do("DELETE FROM blobs WHERE name = ?", (name,))

    def _chunks(self, which: str, *values: int) -> Iterator[Chunk]:
        return self._read("a batch", f"SELECT * FROM chunks {which}", read_chunk, *values)

    def _read(self, what: str, sql: str, read: Callable[[Row], T], *values: object) -> Iterator[T]:
        """Yield what the rows of a question mean."""
        for row in self._db.rows(sql, values):
            with self._db.sound(what):
                found = read(row)
            yield found

    def __getstate__(self) -> dict[str, Any]:
        if self.folder is not None:
            return {"folder": self.folder.resolve()}
        return {"folder": None, "data": self._db.dumped(), "live": self.shelf.live}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["folder"])  # type: ignore[misc]
        if self.folder is None:
            self._db.load(state["data"])
            self.shelf.live = state["live"]
