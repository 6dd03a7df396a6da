"""What scores said of single samples: answers of a batch that is not journalled yet, and of samples that may return."""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager

TABLES = """
CREATE TABLE IF NOT EXISTS paid (
  round INTEGER NOT NULL, row INTEGER NOT NULL, nth INTEGER NOT NULL, term TEXT NOT NULL, value REAL,
  failure TEXT NOT NULL, PRIMARY KEY (round, row, nth, term));
CREATE TABLE IF NOT EXISTS known (sample BLOB PRIMARY KEY, values_ TEXT NOT NULL, failure TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS begun (
  alone INTEGER PRIMARY KEY, round INTEGER NOT NULL, row INTEGER NOT NULL, rows INTEGER NOT NULL,
  times INTEGER NOT NULL);
"""

DEATHS = 2
"""Times that the process may die over a batch before its samples are scored alone; then once is enough."""

AGAIN = -2
"""Round number of repeats of samples that were scored before."""

Known = tuple[dict[str, float], str]
"""Values of one sample, of the whole score ("") and of its terms by name, and why it failed, "" if it did not."""


class AnswerBook:
    """The part of a journal that is about single samples.

    Args:
        db: the journal's.
        guard: turns errors of the database into errors of the store.
    """

    def __init__(self, db: sqlite3.Connection, guard: Callable[[], AbstractContextManager[None]]) -> None:
        self._db, self._guard = db, guard
        begun = db.execute("SELECT alone, round, row, rows, times FROM begun")
        self._begun: dict[int, tuple[int, int, int, int]] = {alone: tuple(mark) for alone, *mark in begun}
        self._owes = db.execute("SELECT 1 FROM paid LIMIT 1").fetchone() is not None

    def pay(self, round_: int, place: tuple[int, int], term: str, value: float, failure: str) -> None:
        """Keep an answer of a batch that is under way: of a row, and of one of its samples."""
        answer = (round_, *place, term, None if math.isnan(value) else value, failure)
        self._owes = True
        with self._guard():
            self._db.execute("INSERT OR REPLACE INTO paid VALUES (?, ?, ?, ?, ?, ?)", answer)

    def paid(self, round_: int, term: str) -> dict[tuple[int, int], tuple[float, str]]:
        """Return the answers of batches of that round that were cut short, by place."""
        found = self._db.execute(
            "SELECT row, nth, value, failure FROM paid WHERE round = ? AND term = ?", (round_, term)
        )
        return {(row, nth): (math.nan if v is None else v, failure) for row, nth, v, failure in found}

    def known(self) -> dict[bytes, Known]:
        """Return what is known of samples that may return."""
        found = self._db.execute("SELECT sample, values_, failure FROM known")
        return {sample: (json.loads(values), failure) for sample, values, failure in found}

    @contextmanager
    def under_way(self, round_: int, row: int, rows: int) -> Iterator[None]:
        """Mark a batch, or a row alone, as being evaluated, unless the process survives what cuts it short."""
        before = self._begun.get(int(rows == 1), (0, 0, 0, 0))
        times = before[3] if before[:3] == (round_, row, rows) else 0
        self._mark(round_, row, rows, times + 1)
        try:
            yield
        except BaseException:
            self._mark(round_, row, rows, times)
            raise

    def _mark(self, *mark: int) -> None:
        alone = int(mark[2] == 1)
        self._begun[alone] = mark  # type: ignore[assignment]
        with self._guard():
            self._db.execute("INSERT OR REPLACE INTO begun VALUES (?, ?, ?, ?, ?)", (alone, *mark))

    def deaths(self, round_: int, row: int) -> tuple[int, int]:
        """Return how often the process died over a batch with that row, and over that row alone."""
        over = {alone: t for alone, (r, first, n, t) in self._begun.items() if r == round_ and first <= row < first + n}
        return over.get(0, 0), over.get(1, 0)

    def settle(self, round_: int, end: int, known: Mapping[bytes, Known]) -> None:
        """Within a transaction, clear what is journalled up to a row, and write down samples that may return."""
        if self._owes:
            self._db.execute("DELETE FROM paid WHERE round = ? AND row < ?", (round_, end))
        new = [(sample, json.dumps(values), failure) for sample, (values, failure) in known.items()]
        if new:
            self._db.executemany("INSERT OR REPLACE INTO known VALUES (?, ?, ?)", new)

    def forget_failures(self) -> None:
        """Within a transaction, forget what failed, so that it is tried again."""
        for table in ("paid", "known"):
            self._db.execute(f"DELETE FROM {table} WHERE failure != ''")
        self._db.execute("DELETE FROM begun")
        self._begun = {}
