"""The loop and the verbs that drive it."""

from zmax.run.finetune import finetune
from zmax.run.maximize import maximize
from zmax.run.resume import resume
from zmax.run.sample import sample

__all__ = ["finetune", "maximize", "resume", "sample"]
