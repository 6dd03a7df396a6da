"""The loop and the verbs that drive it."""

from zmax.core.strategy import Population
from zmax.run.maximize import maximize
from zmax.run.methods import MethodInfo, methods
from zmax.run.result import Result, load_result
from zmax.run.resume import resume
from zmax.run.sample import sample
from zmax.run.spec import RunSpec

__all__ = ["MethodInfo", "Population", "Result", "RunSpec", "load_result", "maximize", "methods", "resume", "sample"]
