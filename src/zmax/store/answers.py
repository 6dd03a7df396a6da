"""What scores said of single samples: answers of a batch that is not journalled yet, and of samples that may return."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from zmax.core.score import Answer
from zmax.store.database import Database, Row
from zmax.store.records import opened, sealed

DEATHS = 2
"""Times that the process may die over a batch before its samples are scored alone; then once is enough."""

AGAIN = -2
"""Round number of repeats of samples that were scored before."""

FIRST = -3
"""Round number of what is scored before the run begins, in the order in which it is."""


@dataclass(frozen=True)
class Known:
    """What is known of one sample.

    Attributes:
        values: of the whole score ("") and of its terms by name.
        failure: why it failed, "" if it did not.
        why: what else was said of it, "" if nothing was.
    """

    values: dict[str, float]
    failure: str = ""
    why: str = ""


class AnswerBook:
    """The part of a journal that is about single samples.

    Args:
        db: the journal's.
    """

    def __init__(self, db: Database) -> None:
        self._db = db
        self._begun: dict[int, tuple[int, int, int, int]] = {}
        for alone, round_, row, rows, times in self._read("SELECT * FROM begun"):
            self._begun[alone] = round_, row, rows, times
        self._marks = self._unmarked = False
        self._owes = next(self._read("SELECT * FROM paid LIMIT 1"), None) is not None

    def pay(self, round_: int, place: tuple[int, int], term: str, answer: Answer) -> None:
        """Keep an answer of a batch that is under way: of a row, and of one of its samples.

        Its words stand in one column: why it failed where there is no number, what else was said where there is one.
        """
        value, words = float(answer.value), answer.failure or answer.why
        self._owes = True
        row = sealed(round_, *place, term, None if math.isnan(value) else value, words)
        self._db.do("INSERT OR REPLACE INTO paid VALUES (?, ?, ?, ?, ?, ?, ?)", row)

    def paid(self, round_: int, term: str) -> dict[tuple[int, int], Answer]:
        """Return the answers of batches of that round that were cut short, by place."""
        found = self._read("SELECT * FROM paid WHERE round = ? AND term = ?", round_, term)
        return {
            (row, nth): Answer(row, math.nan, words) if value is None else Answer(row, value, why=words)
            for _, row, nth, _, value, words in found
        }

    def forget(self) -> None:
        """Forget the answers of batches that were cut short."""
        self._db.do("DELETE FROM paid")

    def known(self) -> dict[bytes, Known]:
        """Return what is known of samples that may return."""
        found = self._read("SELECT * FROM known")
        return {sample: _known(json.loads(known), failure) for sample, known, failure in found}

    def go_on(self, *, died: bool) -> None:
        """Mark batches from now on if the process died that had the run before, since this one may die over the same.

        That one may have marked none, and died over the first batch that comes now.
        """
        self._marks, self._unmarked = died, died and not self._begun
        if self._begun and not died:
            self._db.do("DELETE FROM begun")
            self._begun = {}

    @contextmanager
    def under_way(self, round_: int, row: int, rows: int) -> Iterator[None]:
        """Mark a batch, or a row alone, as being evaluated, unless the process survives what cuts it short."""
        if not self._marks:
            yield
            return
        before = self._begun.get(int(rows == 1), (0, 0, 0, 0))
        times = before[3] if before[:3] == (round_, row, rows) else int(self._unmarked)
        self._unmarked = False
        self._mark(round_, row, rows, times + 1)
        try:
            yield
        except BaseException:
            self._mark(round_, row, rows, times)
            raise

    def _mark(self, *mark: int) -> None:
        alone = int(mark[2] == 1)
        self._begun[alone] = mark  # type: ignore[assignment]
        self._db.do("INSERT OR REPLACE INTO begun VALUES (?, ?, ?, ?, ?, ?)", sealed(alone, *mark))

    def deaths(self, round_: int, row: int) -> tuple[int, int]:
        """Return how often the process died over a batch with that row, and over that row alone."""
        over = {alone: t for alone, (r, first, n, t) in self._begun.items() if r == round_ and first <= row < first + n}
        return over.get(0, 0), over.get(1, 0)

    def settle(self, round_: int, end: int, known: Mapping[bytes, Known]) -> None:
        """Within a transaction, clear what is journalled up to a row, and write down samples that may return."""
        if self._owes:
            self._db.do("DELETE FROM paid WHERE round = ? AND row < ?", (round_, end))
        new = [
            sealed(sample, json.dumps([one.values, one.why] if one.why else one.values), one.failure)
            for sample, one in known.items()
        ]
        if new:
            self._db.do_all("INSERT OR REPLACE INTO known VALUES (?, ?, ?, ?)", new)

    def forget_failures(self) -> None:
        """Within a transaction, forget what failed, so that it is tried again."""
        self._db.do("DELETE FROM paid WHERE failure != '' AND value IS NULL")
        self._db.do("DELETE FROM known WHERE failure != ''")
        self._db.do("DELETE FROM begun")
        self._begun = {}

    def _read(self, sql: str, *values: object) -> Iterator[Row]:
        """Yield the rows of a question without their checksums."""
        for row in self._db.rows(sql, values):
            with self._db.sound("an answer"):
                found = opened(row)
            yield found


def _known(found: Any, failure: str) -> Known:
    """Return what was written down as values, or as values with what else was said."""
    values, why = (found, "") if isinstance(found, dict) else found
    return Known(values, failure, why)
