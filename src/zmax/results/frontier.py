"""The frontier of a finetune: what was gained against how far the child went, beside best-of-n of the parent."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from zmax.results.looks import Look

Column = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Line:
    """What choosing the best of n draws of the parent gives, for n = 1, 2, ...

    Attributes:
        kl: KL of the law of the best to the parent's, log n - (n - 1) / n nats.
        value: expected value of the best.
        error: its standard error, by leaving out one draw at a time.
    """

    kl: Column
    value: Column
    error: Column

    @property
    def end(self) -> float:
        """Largest KL of the line, 0 where there is none."""
        return float(self.kl[-1]) if len(self.kl) else 0.0

    def at(self, kl: float) -> tuple[float, float] | None:
        """Return value and standard error at a KL, None beyond the line's end.

        Example:
            >>> line = best_of([1.0, 2.0, 3.0], [1.0, 2.0, 3.0])
            >>> round(line.at(0.0)[0], 6), line.at(5.0)
            (2.0, None)
        """
        if not len(self.kl) or not kl <= self.kl[-1]:
            return None
        value, error = (float(np.interp(kl, self.kl, column)) for column in (self.value, self.error))
        return value, error


@dataclass(frozen=True)
class Point:
    """A look on the frontier: KL to the parent in nats and mean value, each with its standard error."""

    look: int
    kl: float
    kl_error: float
    value: float
    error: float


@dataclass(frozen=True)
class Frontier:
    """The looks whose KL is known, and the line to beat.

    Attributes:
        judged: whether values are held-out scores; scores otherwise.
        points: in the order of the looks.
        line: best-of-n of the parent, chosen by the score and valued like the points.
        chosen: the point of the weights that are returned, None where its KL is not known.
    """

    judged: bool
    points: tuple[Point, ...]
    line: Line
    chosen: Point | None


def frontier(looks: Sequence[Look], chosen: int) -> Frontier | None:
    """Return the frontier, None where there are no two looks whose KL is known.

    Args:
        looks: of the finetune, that of the parent first.
        chosen: number of the look whose weights are returned.
    """
    judged = any(math.isfinite(value) for look in looks for value in look.held_out)
    points = [_point(look, judged) for look in looks]
    known = tuple(point for point in points if math.isfinite(point.kl) and math.isfinite(point.value))
    if len(known) < 2:
        return None
    pairs = np.array([(score, value if judged else score) for score, value, _ in looks[0].samples()])
    line = best_of(*pairs[np.isfinite(pairs).all(1)].T)
    return Frontier(judged, known, line, next((point for point in known if point.look == chosen), None))


def best_of(score: Sequence[float] | Column, value: Sequence[float] | Column) -> Line:
    r"""Return what the best of n by score is worth by value, without bias, from N draws.

    .. math:: E = \sum_i \frac{\binom{i - 1}{n - 1}}{\binom{N}{n}} v_{(i)}, \qquad KL = \log n - \frac{n - 1}{n}

    with the values in the order of their scores: the mean, over all sets of n draws, of the value of the best by
    score. Draws of equal score share their values. KL as in Hilton and Gao, Measuring Goodhart's law, 2022,
    https://openai.com/index/measuring-goodharts-law.

    Args:
        score: of each draw (N,).
        value: of each draw (N,).

    Returns:
        The line for n from 1 to N - 1.

    Example:
        >>> best_of([1.0, 2.0, 3.0], [1.0, 2.0, 3.0]).value.round(6).tolist()
        [2.0, 2.666667]
    """
    scores, values = np.asarray(score, dtype=np.float64), np.asarray(value, dtype=np.float64)
    order = np.argsort(scores, kind="stable")
    ranked = _shared(scores[order], values[order])
    total = len(ranked)
    n = np.arange(1, max(total, 1))
    if not len(n):
        return Line(*(np.zeros(0) for _ in range(3)))
    fewer = weights(total - 1)
    without = np.array([fewer @ np.delete(ranked, i) for i in range(total)])
    spread = (without - without.mean(0)) ** 2
    return Line(np.log(n) - (n - 1) / n, weights(total)[:-1] @ ranked, np.sqrt(spread.sum(0) * (total - 1) / total))


def weights(total: int, most: int | None = None) -> npt.NDArray[np.float64]:
    """Return the chance that the best of n out of `total` distinct draws is the i-th lowest, (n, i) from 1.

    Args:
        total: number of draws.
        most: largest n, all of them if None.

    Example:
        >>> weights(2).tolist()
        [[0.5, 0.5], [0.0, 1.0]]
    """
    last = total if most is None else most
    return np.array([[math.comb(i, n - 1) / math.comb(total, n) for i in range(total)] for n in range(1, last + 1)])


def _point(look: Look, judged: bool) -> Point:
    values = look.held_out if judged else look.scores
    known = np.array([value for value in values if math.isfinite(value)])
    error = float(known.std(ddof=1) / len(known) ** 0.5) if len(known) > 1 else math.nan
    return Point(look.look, look.kl, look.kl_error, look.judged if judged else look.score, error)


def _shared(score: Column, value: Column) -> Column:
    """Return values, each the mean over all of that score."""
    _, group = np.unique(score, return_inverse=True)
    shared: Column = (np.bincount(group, value) / np.maximum(1, np.bincount(group)))[group]
    return shared
