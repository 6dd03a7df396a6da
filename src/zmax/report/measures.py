"""The numbers behind the figures, as plain arrays; nothing here draws."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from zmax.results.history import History
from zmax.results.result import Result
from zmax.store import REFERENCE, Entry

Column = npt.NDArray[np.float64]

SUSPICIOUS = 0.05
"""Plausibility, or realism, below which a sample is suspicious: fewer than one draw in twenty is as unusual."""

MAX_DOTS = 3000
"""Dots drawn at most in one figure; beyond that, evenly spaced ones."""


@dataclass(frozen=True)
class Curve:
    """The best score against the cost.

    Attributes:
        calls: score calls at each evaluation that has a score.
        score: its score.
        best: best score up to there, NaN while no sample meets the constraints.
        end: score calls of the whole run.
        reference_mean: mean score of the random samples, None if none has one.
    """

    calls: Column
    score: Column
    best: Column
    end: float
    reference_mean: float | None


@dataclass(frozen=True)
class Points:
    """Pairs to scatter, by who they are."""

    all: tuple[Column, Column]
    reference: tuple[Column, Column]
    leaders: tuple[Column, Column]


def best_curve(result: Result) -> Curve | None:
    """Return the best-so-far curve, None if no evaluation has a score."""
    history = result.history
    alive = np.isfinite(history.score)
    if not alive.any():
        return None
    calls = call_numbers(history)[alive]
    score = history.score[alive]
    end = max(float(result.ledger.score_calls), float(calls[-1]))
    best = history.best_so_far()[alive]
    best = np.where(np.isfinite(best), best, np.nan)  # while none meets the constraints
    return Curve(calls, score, best, end, mean(scores(result.reference)))


def part_curves(result: Result) -> dict[str, tuple[Column, Column]]:
    """Return for each term of a combined score: score calls, and its value in the best sample so far."""
    history = result.history
    alive = np.isfinite(history.score) & history.final
    if not alive.any():
        return {}
    score = np.where(history.feasible, history.score, -np.inf)[alive]
    best = np.maximum.accumulate(score)
    new = np.concatenate([[True], best[1:] > best[:-1]])
    holder = np.maximum.accumulate(np.where(new, np.arange(len(score)), 0))
    calls = call_numbers(history)[alive]
    names = list(result.leaders[0].parts) if result.leaders else sorted(history.parts)
    return {name: (calls, history.parts[name][alive][holder]) for name in names}


def plausibility_points(result: Result) -> Points | None:
    """Return (plausibility, score) of all evaluations, the random samples and the leaders; None without any score."""
    history = result.history
    alive = np.isfinite(history.score) & np.isfinite(history.plausibility) & (history.round != REFERENCE)
    if not np.isfinite(history.score).any():
        return None
    return Points(
        all=(history.plausibility[alive], history.score[alive]),
        reference=_columns([(e.plausibility, e.score) for e in result.reference]),
        leaders=_columns([(e.plausibility, e.score) for e in result.leaders]),
    )


def front_points(result: Result) -> Points | None:
    """Return the first two goals of all evaluations, the random samples and the front; None where S is one number."""
    history, names = result.history, result.spec.goals[:2]
    if not result.front:
        return None
    alive = np.isfinite(history.score) & history.final & (history.round != REFERENCE)
    first, second = names
    return Points(
        all=(history.parts[first][alive], history.parts[second][alive]),
        reference=_columns([(e.parts[first], e.parts[second]) for e in result.reference]),
        leaders=_columns([(e.parts[first], e.parts[second]) for e in result.front]),
    )


def shares(result: Result) -> npt.NDArray[np.float64]:
    """Return the goals of the front, each from 0 for its lowest to 1 for its highest value there."""
    values = np.array([[e.parts[name] for name in result.spec.goals] for e in result.front])
    low, high = values.min(0), values.max(0)
    return (values - low) / np.where(high > low, high - low, 1.0)


def volume_curve(result: Result) -> tuple[Column, Column] | None:
    """Return score calls and hypervolume so far; None where S is one number."""
    if not result.spec.goals or not len(result.history):
        return None
    return call_numbers(result.history), result.history.hypervolume()


def watched_curves(result: Result) -> tuple[Column, Column, Column] | None:
    """Return score calls, score and held-out score of the top leaders at each look; None if it was looked at once."""
    looks = result.watched
    if len(looks) < 2:
        return None
    table = np.asarray([[look[key] for key in ("calls", "score", "held_out")] for look in looks], dtype=np.float64)
    return table[:, 0], table[:, 1], table[:, 2]


def held_out_points(result: Result) -> Points | None:
    """Return (score, held-out score) of the random samples and the leaders; None if no held-out score is known."""
    reference = _columns([(e.score, e.held_out) for e in result.reference])
    leaders = _columns([(e.score, e.held_out) for e in result.leaders])
    if not len(reference[0]) and not len(leaders[0]):
        return None
    return Points(all=_columns([]), reference=reference, leaders=leaders)


def call_numbers(history: History) -> Column:
    """Return at which score call each evaluation was done, spread evenly over the batch it belongs to."""
    ends = history.score_calls
    if not len(ends):
        return ends
    first = np.flatnonzero(np.concatenate([[True], ends[1:] != ends[:-1]]))
    size = np.diff(np.concatenate([first, [len(ends)]]))
    before = np.concatenate([[0.0], ends[first][:-1]])
    within = np.arange(len(ends)) - np.repeat(first, size) + 1
    spread: Column = np.repeat(before, size) + within * np.repeat((ends[first] - before) / size, size)
    return spread


def thin(x: Column, y: Column, most: int = MAX_DOTS) -> tuple[Column, Column]:
    """Return at most that many of the pairs, evenly spaced in order."""
    step = math.ceil(len(x) / most) if len(x) else 1
    return x[::step], y[::step]


def scores(entries: Sequence[Entry]) -> list[float]:
    """Return the scores of entries."""
    return [entry.score for entry in entries]


def held_out(entries: Sequence[Entry]) -> list[float]:
    """Return the held-out scores of entries, as far as there are any."""
    return [entry.held_out for entry in entries if entry.held_out is not None]


def realism(entries: Sequence[Entry]) -> list[float]:
    """Return the realism of entries, as far as it was measured."""
    return [entry.realism for entry in entries if entry.realism is not None]


def mean(values: Sequence[float]) -> float | None:
    """Return the mean of the finite values, None if there is none."""
    known = _finite(values)
    return float(known.mean()) if len(known) else None


def quantile(values: Sequence[float], q: float) -> float | None:
    """Return the q-quantile of the finite values, None if there is none."""
    known = _finite(values)
    return float(np.quantile(known, q)) if len(known) else None


LOG_ODDS = "log-odds"
"""Unit of scores that are also shown as probabilities."""


def probability(log_odds: float) -> float:
    """Return the probability that has these log-odds.

    Example:
        >>> probability(0.0), probability(-1000.0)
        (0.5, 0.0)
    """
    return 0.5 * (1 + math.tanh(log_odds / 2))


def _finite(values: Sequence[float]) -> Column:
    column = np.asarray(values, dtype=np.float64)
    return column[np.isfinite(column)]


def _columns(pairs: Sequence[tuple[float, float | None]]) -> tuple[Column, Column]:
    table = np.asarray([(a, b) for a, b in pairs if b is not None], dtype=np.float64).reshape(-1, 2)
    table = table[np.isfinite(table).all(1)]
    return table[:, 0], table[:, 1]
