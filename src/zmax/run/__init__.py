"""The loop and the verbs that drive it."""

from zmax.run.maximize import maximize
from zmax.run.resume import resume
from zmax.run.sample import sample

__all__ = ["maximize", "resume", "sample"]
