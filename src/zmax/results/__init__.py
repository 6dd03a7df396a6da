"""What a run found and what it cost, as numbers."""

from zmax.results.history import History
from zmax.results.result import Result, figures, load_result
from zmax.results.spec import RunSpec

__all__ = ["History", "Result", "RunSpec", "figures", "load_result"]
