"""The loop and the verbs that drive it."""

from zmax.run.condition import condition
from zmax.run.finetune import finetune
from zmax.run.maximize import maximize
from zmax.run.resume import resume
from zmax.run.sample import sample

__all__ = ["condition", "finetune", "maximize", "resume", "sample"]
