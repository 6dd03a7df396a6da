"""Requested against achieved scores of a conditioned generator: how far off, how sure, and where to trust it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from zmax.natural.sliding import Level

LEVEL = 0.9
"""Coverage of intervals where nothing else is said."""

NEAREST, SHARE = 16, 8
"""Requests that tell of one: a share of one in so many, at least this many."""

TRUSTED = 0.25
"""How far the mean achieved score may be from the request, in standard deviations of the data, to be trusted."""


@dataclass(frozen=True)
class Calibration:
    """What was requested and what came, of one score at one weight of guidance.

    Attributes:
        name: of the score.
        guidance: weight.
        spread: standard deviation of the scores that were learned from.
        lowest, highest: the range of those.
        asked, achieved: of each sample; what failed is left out.
        levels: how samples differ from data of the score that was asked for, from the lowest request on.
        seen_by: the held-out score by whose features that was measured, "" where it was by the samples' values.

    Example:
        >>> asked = np.linspace(-2.0, 2.0, 201)
        >>> c = Calibration("S", 0.0, 1.0, -2.0, 2.0, asked, asked + np.where(np.arange(201) % 4 < 2, 0.1, -0.1))
        >>> round(c.label_score, 3), round(c.rho, 2), c.trusted
        (0.1, 1.0, (-2.0, 2.0))
        >>> [round(float(v), 2) for v in c.interval(1.0)]
        [0.9, 1.1]
    """

    name: str
    guidance: float
    spread: float
    lowest: float
    highest: float
    asked: NDArray[np.float64]
    achieved: NDArray[np.float64]
    levels: tuple[Level, ...] = ()
    seen_by: str = ""

    @property
    def frechet(self) -> float:
        """Sliding Fréchet distance: mean over levels of that of samples to data of the score that was asked for."""
        return _mean([level.frechet for level in self.levels])

    @property
    def frechet_data(self) -> float:
        """The same of the data to themselves, which so few samples cause by chance."""
        return _mean([level.frechet_data for level in self.levels])

    @property
    def diversity(self) -> float:
        """Mean over levels of the distance of two samples, in those of two of the data of that score."""
        return _mean([level.distance / level.distance_data for level in self.levels if level.distance_data])

    @property
    def label_score(self) -> float:
        """Mean distance of achieved from requested scores, in standard deviations of the data."""
        return float(np.abs(self.achieved - self.asked).mean()) / self.spread

    @property
    def rho(self) -> float:
        """Spearman's correlation of requested and achieved scores."""
        return spearman(self.asked, self.achieved)

    def beyond(self, score: float) -> float:
        """Return how far a request is outside the data, in standard deviations: above 0 above it, below 0 below it."""
        return (max(score - self.highest, 0.0) + min(score - self.lowest, 0.0)) / self.spread

    def mean(self, score: float) -> float:
        """Return the mean score achieved at a request, by a line through the nearest ones."""
        return _near(self.asked, self.achieved, score)[0]

    def deviation(self, score: float) -> float:
        """Return the standard deviation of scores achieved at a fixed request."""
        return _near(self.asked, self.achieved, score)[1]

    def interval(self, score: float, level: float = LEVEL) -> tuple[float, float]:
        r"""Return an interval that holds the score achieved at a request, with that probability.

        .. math:: m(s) \pm q\, d(s), \qquad q = \text{the } \lceil (n + 1)\,\text{level} \rceil
            \text{-th smallest of } |a_i - m(s_i)| / d(s_i)

        with mean m and deviation d fitted to one half of the samples and q taken over the other (split conformal
        prediction, Lei et al. 2018, sec. 2.2 and 5.2, https://arxiv.org/abs/1604.04173).
        """
        errors = self._errors
        rank = math.ceil((len(errors) + 1) * level)
        q = float(errors[rank - 1]) if rank <= len(errors) else math.inf
        m, d = _near(*self._half(0), score)
        return m - q * d, m + q * d

    @cached_property
    def _errors(self) -> NDArray[np.float64]:
        """How far the second half is from what the first half says of it, in deviations, ascending."""
        fitted = self._half(0)
        near = [(a, *_near(*fitted, s)) for s, a in zip(*self._half(1), strict=True)]
        return np.sort([abs(a - m) / d for a, m, d in near])

    def _half(self, start: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return every other sample in the order of what was asked."""
        order = np.argsort(self.asked, kind="stable")[start::2]
        return self.asked[order], self.achieved[order]

    @cached_property
    def trusted(self) -> tuple[float, float] | None:
        """The requests around the median for which the mean achieved is near enough; None where there are none."""
        asked = np.sort(self.asked)
        good = np.array([abs(self.mean(s) - s) <= TRUSTED * self.spread for s in asked])
        middle = len(asked) // 2
        if not good[middle]:
            return None
        below, above = np.flatnonzero(~good[:middle]), np.flatnonzero(~good[middle:])
        low = below[-1] + 1 if len(below) else 0
        high = middle + above[0] - 1 if len(above) else len(asked) - 1
        return float(asked[low]), float(asked[high])

    def row(self) -> dict[str, float | str]:
        """Return the numbers of a table."""
        low, high = self.trusted or (math.nan, math.nan)
        middle = float(np.median(self.asked))
        told = {"label_score": self.label_score, "rho": self.rho, "deviation": self.deviation(middle)}
        told |= {"trusted_from": low, "trusted_to": high, "diversity": self.diversity}
        told |= {"frechet": self.frechet, "frechet_data": self.frechet_data}
        return {"score": self.name, "guidance": self.guidance, **told}


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan


def spearman(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Return the correlation of the ranks of two columns, equal values sharing theirs; NaN where all are equal.

    Example:
        >>> round(spearman(np.array([1.0, 2.0, 3.0]), np.array([1.0, 8.0, 27.0])), 6)
        1.0
    """
    ranks = [_ranks(column) for column in (x, y)]
    if len(x) < 2 or min(rank.std() for rank in ranks) == 0:
        return math.nan
    one, other = ((rank - rank.mean()) / rank.std() for rank in ranks)
    return float((one * other).mean())


def _ranks(column: NDArray[np.float64]) -> NDArray[np.float64]:
    order = np.sort(column)
    low, high = (np.searchsorted(order, column, side) for side in ("left", "right"))
    return (low + high).astype(np.float64)


def _near(asked: NDArray[np.float64], achieved: NDArray[np.float64], score: float) -> tuple[float, float]:
    """Return mean and deviation at a request, by a line through the nearest ones."""
    k = min(len(asked), max(NEAREST, len(asked) // SHARE))
    near = np.argsort(np.abs(asked - score), kind="stable")[:k]
    x, y = asked[near] - score, achieved[near]
    wide = float(np.abs(x).max())
    slope, at = np.polyfit(x, y, 1) if wide > 0 and len(np.unique(x)) > 2 else (0.0, float(y.mean()))
    rest = y - (at + slope * x)
    scale = 1e-9 * (1.0 + float(np.abs(achieved).max()))
    return float(at), max(float(np.sqrt((rest**2).sum() / max(1, k - 2))), scale)
