"""The run's journal: a folder with one SQLite file."""

from zmax.store.folders import FILE, begun, held, holds_run, new_folder
from zmax.store.journal import REFERENCE, Journal
from zmax.store.records import Chunk, Entry, Position

__all__ = ["FILE", "REFERENCE", "Chunk", "Entry", "Journal", "Position", "begun", "held", "holds_run", "new_folder"]
