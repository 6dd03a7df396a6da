"""Samples worth keeping: in the file, or in memory until they are written there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from zmax.core.samples import Sample
from zmax.store.database import Database, Row
from zmax.store.records import Entry, entry_row, opened, read_entry, sealed, stored
from zmax.store.samples import LATER
from zmax.store.tables import KEPT


class Shelf:
    """The part of a journal that is about samples worth keeping.

    Args:
        db: the journal's.

    Attributes:
        live: samples by id that the file does not hold whole, or not yet, for as long as this process has them.
    """

    def __init__(self, db: Database) -> None:
        self._db = db
        self.live: dict[int, Sample] = {}
        self._due: set[int] = set()

    def entries(self, role: str) -> list[Entry]:
        """Return the samples of a role, best first; of equal scores the more plausible, then the earlier."""
        rows = self._db.rows("SELECT * FROM kept WHERE role = ? ORDER BY score DESC, id", (role,))
        found = sorted((self._read(f"a {role}", row) for row in rows), key=lambda e: (-e.merit, -e.plausibility))
        return [replace(e, sample=self.live[e.id], whole=True) if e.id in self.live else e for e in found]

    def add(self, role: str, entries: Sequence[Entry], *, later: bool = False) -> None:
        """Write down samples in a role; large ones may wait for :meth:`write`, all else of them is written at once."""
        if not entries:
            return
        rows = [entry_row(role, e, later=later) for e in entries]
        self.live |= {e.id: e.sample for e, row in zip(entries, rows, strict=True) if e.whole and not row[-2]}
        self._due |= {row[1] for row in rows if row[7] == LATER}
        self._db.do_all(f"INSERT INTO kept {KEPT}", rows)

    def drop(self, ids: Sequence[int]) -> None:
        """Forget leaders."""
        if ids:
            self._db.do_all("DELETE FROM kept WHERE role = 'leader' AND id = ?", [(i,) for i in ids])
        for i in self._due.intersection(ids):
            self._due.remove(i)
            del self.live[i]

    def clear(self, role: str) -> None:
        """Forget all samples of a role."""
        self._db.do("DELETE FROM kept WHERE role = ?", (role,))

    def due(self) -> set[int]:
        """Return the ids of samples that the file does not hold although it could."""
        return {id_ for (id_,) in self._db.rows("SELECT id FROM kept WHERE kind = ?", (LATER,))}

    def revive(self, samples: Mapping[int, Sample]) -> None:
        """Take over samples that were made again, by id."""
        self.live |= samples
        self._due |= self.due() & samples.keys()

    def write(self) -> None:
        """Within a transaction, write down the samples that wait for it."""
        if not self._due:
            return
        found = self._db.rows("SELECT * FROM kept WHERE kind = ?", (LATER,))
        due = [(row[0], self._read("a sample", row)) for row in found if row[1] in self._due]
        rows = [entry_row(role, replace(e, sample=self.live[e.id], whole=True)) for role, e in due]
        self._db.do_all(f"INSERT OR REPLACE INTO kept {KEPT}", rows)
        self._due.clear()
        for row in rows:
            if row[-2]:
                self.live.pop(row[1], None)

    def judged(self, found: Mapping[int, float]) -> None:
        """Within a transaction, write down held-out values by id."""
        for id_, value in found.items():
            rows = [opened(row) for row in self._db.rows("SELECT * FROM kept WHERE id = ?", (id_,))]
            known = [sealed(*row[:4], stored(value), *row[5:]) for row in rows]
            self._db.do_all(f"INSERT OR REPLACE INTO kept {KEPT}", known)

    def _read(self, what: str, row: Row) -> Entry:
        with self._db.sound(what):
            return read_entry(row)
