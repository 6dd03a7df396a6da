"""The run's journal: a folder with one SQLite file."""

from zmax.store.answers import AGAIN, DEATHS, FIRST, AnswerBook, Known
from zmax.store.folders import FILE, begun, held, holds_run, new_folder
from zmax.store.journal import NOT_FINISHED, REFERENCE, Journal
from zmax.store.opening import paid_first
from zmax.store.records import Chunk, Entry, Position, missed

__all__ = [
    "AGAIN",
    "DEATHS",
    "FILE",
    "FIRST",
    "NOT_FINISHED",
    "REFERENCE",
    "AnswerBook",
    "Chunk",
    "Entry",
    "Journal",
    "Known",
    "Position",
    "begun",
    "held",
    "holds_run",
    "missed",
    "new_folder",
    "paid_first",
]
