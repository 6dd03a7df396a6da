"""Several goals at once: which samples no other one beats, how much they dominate, and one number for each of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Bool, Float
from torch import Tensor

Values = npt.NDArray[np.float64]

SUM = 0.05
"""Share of the mean of all goals beside the worst of them, so that what is best is dominated by nothing."""

PART = 256
"""Rows that are compared with the front at once."""


@dataclass(eq=False)
class Goals:
    r"""What samples have to be high in, each in its own unit: spreads :math:`s_i` above the worst random sample.

    With :math:`y_i' = (y_i - r_i) / s_i`, r the reference point, a sample is told as one number by weights w, a
    direction that it should lie in as seen from r:

    .. math:: S_w(y) = \min_i \frac{y_i'}{w_i} + 0.05\, \frac1m \sum_i y_i'

    Which samples maximise this, over all w, are those of the front above r; and over random directions the m-th power
    of the first term is, in the mean and up to a constant, the hypervolume. Without weights they are all 1.

    Reference: Zhang and Golovin, *Random hypervolume scalarizations for provable multi-objective black box
    optimization*, ICML 2020, lemma 5, https://arxiv.org/abs/2006.04655; the sum is that of ParEGO, Knowles, IEEE
    Transactions on Evolutionary Computation 10, 2006, equation 2.

    Attributes:
        names: of the goals, m of them.
        low: r, the lowest value of each among the samples of the reference batch; 0 before that is known.
        unit: s, the standard deviations there.

    Example:
        >>> goals = Goals(("a", "b"))
        >>> values = {"a": torch.tensor([3.0, 1.0]), "b": torch.tensor([1.0, 2.0])}
        >>> goals.total(values), goals.total(values, torch.tensor([[1.0, 0.1]]).expand(2, 2))
        (tensor([1.1000, 1.0750]), tensor([3.1000, 1.0750]))
    """

    names: tuple[str, ...]
    low: Float[Tensor, " m"] | None = None
    unit: Float[Tensor, " m"] | None = None

    def settle(self, values: Mapping[str, Tensor], ok: Bool[Tensor, " n"]) -> None:
        """Take reference point and units from the samples of the reference batch that have a score."""
        known = self.columns(values)[ok].double()
        self.low = known.min(0).values
        self.unit = torch.tensor([spread(column) for column in known.T], dtype=torch.float64, device="cpu")

    def columns(self, values: Mapping[str, Tensor]) -> Float[Tensor, "n m"]:
        """Return the values of the goals side by side."""
        first = values[self.names[0]]
        return torch.stack([values[name].to(first) for name in self.names], 1)

    def lifted(self, values: Mapping[str, Tensor]) -> Float[Tensor, "n m"]:
        """Return how far above the reference point samples are, in spreads of each goal."""
        y = self.columns(values)
        return y if self.low is None or self.unit is None else (y - self.low.to(y)) / self.unit.to(y)

    def total(self, values: Mapping[str, Tensor], weights: Float[Tensor, "n m"] | None = None) -> Float[Tensor, " n"]:
        """Return the one number for each sample."""
        y = self.lifted(values)
        return (y if weights is None else y / weights.to(y)).min(1).values + SUM * y.mean(1)


def spread(values: Float[Tensor, " n"]) -> float:
    """Return the standard deviation of values; where they have none, their size."""
    values = values.double()[torch.isfinite(values)]
    deviation = float(values.std()) if len(values) > 1 else 0.0
    size = float(values.abs().mean()) if len(values) else 0.0
    return next((v for v in (deviation, size) if 0 < v < float("inf")), 1.0)


def nondominated(values: Float[Tensor, "n m"]) -> Bool[Tensor, " n"]:
    """Say which rows no other one beats: none is as high in every column and higher in one; of equals the first stays.

    Example:
        >>> nondominated(torch.tensor([[1.0, 2.0], [2.0, 1.0], [1.0, 1.0], [2.0, 1.0]])).tolist()
        [True, True, False, False]
    """
    order = values.sum(1).argsort(descending=True, stable=True)  # none is beaten by one that comes later
    front = order[:0]
    for part in order.split(PART):
        part = part[~_beaten(values[part], values[front])]
        front = torch.cat([front, part[~_beaten(values[part], values[part])]])
    front = front[~_beaten(values[front], values[front])]  # sums are rounded
    kept = torch.zeros(len(values), dtype=torch.bool, device=values.device)
    kept[_firsts(values, front.sort().values)] = True
    return kept


def _beaten(rows: Float[Tensor, "n m"], by: Float[Tensor, "k m"]) -> Bool[Tensor, " n"]:
    a, b = rows[:, None], by[None]
    return ((b >= a).all(2) & (b > a).any(2)).any(1)


def _firsts(values: Float[Tensor, "n m"], rows: Tensor) -> Tensor:
    """Return the rows without those whose values are an earlier one's."""
    same = (values[rows][:, None] == values[rows][None]).all(2)
    return rows[~torch.tril(same, -1).any(1)]


def hypervolume(values: npt.ArrayLike, reference: npt.ArrayLike) -> float:
    """Return the volume of what points (n, m) dominate above a reference point (m,), exactly.

    Two columns take a walk along the front, more are cut open along the last one, down to two.

    Reference: While, Bradstreet and Barone, *A fast way of calculating exact hypervolumes*, IEEE Transactions on
    Evolutionary Computation 16, 2012, section III, https://doi.org/10.1109/TEVC.2010.2077298.

    Example:
        >>> hypervolume([[2.0, 1.0], [1.0, 3.0]], [0.0, 0.0]), hypervolume([[1.0, 2.0, 3.0]], [0.0, 1.0, 1.0])
        (4.0, 2.0)
    """
    y = np.asarray(values, dtype=np.float64).reshape(-1, np.size(reference)) - np.asarray(reference, dtype=np.float64)
    return _volume(y[(y > 0).all(1)])


def hypervolumes(values: npt.ArrayLike, reference: npt.ArrayLike) -> Values:
    """Return the hypervolume of the first row, of the first two, ...; a row of which a value is NaN adds nothing.

    Example:
        >>> hypervolumes([[2.0, 1.0], [0.5, 0.5], [1.0, 3.0]], [0.0, 0.0]).tolist()
        [2.0, 2.0, 4.0]
    """
    rows = np.asarray(values, dtype=np.float64).reshape(-1, np.size(reference)) - np.asarray(reference)
    front, gains = rows[:0], np.zeros(len(rows))
    for i in np.flatnonzero((rows > 0).all(1)):
        if not (front >= rows[i]).all(1).any():
            gains[i] = _own(rows[i], front)
            front = np.concatenate([front[~(front <= rows[i]).all(1)], rows[i : i + 1]])
    return gains.cumsum()


def _own(point: Values, others: Values) -> float:
    """Return the volume that a point dominates and others do not."""
    return float(point.prod()) - _volume(np.minimum(others, point))


def _volume(y: Values) -> float:
    """Return the volume between positive points and 0."""
    if not len(y) or y.shape[1] == 1:
        return float(y.max(initial=0.0))
    y = y[np.lexsort(y.T[::-1])[::-1]]  # by the first column, highest first
    if y.shape[1] == 2:
        heights = np.concatenate([[0.0], np.maximum.accumulate(y[:, 1])])
        return float((y[:, 0] * np.diff(heights)).sum())
    y = y[nondominated(torch.from_numpy(np.ascontiguousarray(y))).numpy()]
    y = y[y[:, -1].argsort()[::-1]]
    depths = [*y[:, -1].tolist(), 0.0]
    return float(sum((a - b) * _volume(y[: i + 1, :-1]) for i, (a, b) in enumerate(pairwise(depths)) if a > b))
