"""The run's journal: a folder with one SQLite file."""

from zmax.store.journal import REFERENCE, Chunk, Entry, Journal, Position, holds_run

__all__ = ["REFERENCE", "Chunk", "Entry", "Journal", "Position", "holds_run"]
