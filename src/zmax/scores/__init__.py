"""Judges: any callable as a score, the shipped scores, and expressions over them.

Every score maps n samples to n values, higher is better, each value a function of its own sample alone.
"""

from zmax.scores.batch import CallableScore, ScoreTimeoutError
from zmax.scores.callable import score
from zmax.scores.catalogue import ScoreInfo, catalogue, scores
from zmax.scores.load import load_score
from zmax.scores.per_sample import PerSampleScore
from zmax.scores.remote import RemoteScore
from zmax.scores.sets import SetScore, set_score

__all__ = [
    "CallableScore",
    "PerSampleScore",
    "RemoteScore",
    "ScoreInfo",
    "ScoreTimeoutError",
    "SetScore",
    "catalogue",
    "load_score",
    "score",
    "scores",
    "set_score",
]
