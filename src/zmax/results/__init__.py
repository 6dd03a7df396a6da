"""What a run found and what it cost, as numbers."""

from zmax.results.calibration import Calibration
from zmax.results.conditioning import ConditionResult
from zmax.results.history import History
from zmax.results.looks import Look
from zmax.results.result import Result, figures, load_result
from zmax.results.spec import ConditionSpec, RunSpec, TuneSpec
from zmax.results.tuning import TuneResult

__all__ = [
    "Calibration",
    "ConditionResult",
    "ConditionSpec",
    "History",
    "Look",
    "Result",
    "RunSpec",
    "TuneResult",
    "TuneSpec",
    "figures",
    "load_result",
]
