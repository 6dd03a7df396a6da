"""What a run found and what it cost, as numbers."""

from zmax.results.history import History
from zmax.results.looks import Look
from zmax.results.result import Result, figures, load_result
from zmax.results.spec import RunSpec, TuneSpec
from zmax.results.tuning import TuneResult

__all__ = ["History", "Look", "Result", "RunSpec", "TuneResult", "TuneSpec", "figures", "load_result"]
