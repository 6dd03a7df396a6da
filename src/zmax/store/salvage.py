"""What is whole of a damaged file."""

from __future__ import annotations

from contextlib import suppress

from zmax.core.errors import StoreError
from zmax.store.database import Database
from zmax.store.records import opened
from zmax.store.tables import COLUMNS


def salvage(broken: Database, new: Database) -> None:
    """Copy every row of a damaged file that can be read and whose checksum fits into a new one."""
    for table, columns in COLUMNS.items():
        with suppress(StoreError):  # the rest of the table is lost
            for row in broken.rows(f"SELECT * FROM {table}"):
                with suppress(ValueError, TypeError):
                    opened(row[:-2] if table == "chunks" else row if table != "repeats" else row[1:])
                    new.do(f"INSERT INTO {table} VALUES ({', '.join('?' * columns)})", row)
