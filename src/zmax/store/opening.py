"""What was paid for before a run begins: kept in its folder until then, and found when it is begun again there."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from zmax.core.errors import InputError, StoreError, ZmaxWarning
from zmax.store.answers import AnswerBook
from zmax.store.database import Database
from zmax.store.folders import OPENING, holds_run, remove_opening
from zmax.store.records import opened, sealed
from zmax.store.tables import TABLES


@contextmanager
def paid_first(folder: Path, parts: Mapping[str, object]) -> Iterator[AnswerBook]:
    """Keep answers in a folder that is held, until a run begins there; those of other parts are forgotten.

    Args:
        folder: where the run will be.
        parts: JSON values that tell G and S from others.
    """
    db, n = Database(folder / OPENING, TABLES), 0
    try:
        book = _book(db, json.dumps(parts))
        try:
            yield book
        finally:
            n = len(list(db.rows("SELECT 1 FROM paid")))
            if n and not holds_run(folder):
                warnings.warn(
                    f"the run was cut short before it began; {n} scores that were paid for are kept: start it again "
                    f"in {str(folder)!r}",
                    ZmaxWarning,
                    stacklevel=4,
                )
    finally:
        db.close()
        if holds_run(folder) or not n:
            remove_opening(folder)


def _book(db: Database, parts: str) -> AnswerBook:
    """Return the answers of an opening of those parts, none if the file is damaged or of others."""
    assert db.file is not None, "a file"
    try:
        known = [opened(row)[1] for row in db.rows("SELECT * FROM meta")] if db.file.exists() else []
        if known == [parts]:
            return AnswerBook(db)
    except (StoreError, InputError, ValueError):
        pass
    db.close()
    remove_opening(db.file.parent)
    db.do("INSERT INTO meta VALUES (?, ?, ?)", sealed("parts", parts))
    return AnswerBook(db)
