"""The loop and the verbs that drive it."""

from zmax.core.methods import MethodInfo, methods
from zmax.core.strategy import Population
from zmax.results.result import Result, load_result
from zmax.results.spec import RunSpec
from zmax.run.maximize import maximize
from zmax.run.resume import resume
from zmax.run.sample import sample

__all__ = ["MethodInfo", "Population", "Result", "RunSpec", "load_result", "maximize", "methods", "resume", "sample"]
