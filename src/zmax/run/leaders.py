"""The best distinct samples of a run as it goes on."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from zmax.core.samples import Sample
from zmax.core.samples import alike as equal
from zmax.store import Entry

DISTINCT = 0.5
"""Two points closer than this share of the usual distance sqrt(2 d) between prior draws count as one."""

PART = 256
"""Rows that are compared with each other at once."""


@dataclass(frozen=True)
class Change:
    """What a batch did to the leaders: entries that came in, ids that went out."""

    added: list[Entry]
    dropped: list[int]


class Leaders:
    """The k best samples no two of which are nearly the same point, or equal; of twins the better one stays.

    Of equal scores the more plausible is the better, then the earlier.

    Without this, the top of a run that follows a few trajectories is one picture many times.
    """

    def __init__(self, k: int, entries: Iterable[Entry] = ()) -> None:
        self._k = k
        self._entries = sorted(entries, key=_rank)[:k]
        self._alike = {entry.id: _number(entry.sample) for entry in self._entries}
        self._points = torch.stack([entry.u for entry in self._entries]) if self._entries else None

    @property
    def entries(self) -> tuple[Entry, ...]:
        """The leaders, best first."""
        return tuple(self._entries)

    def offer(
        self,
        u: Tensor,
        score: Tensor,
        first_id: int,
        build: Callable[[int], Entry],
        alike: Int[Tensor, " n"] | None = None,
        plausibility: Float[Tensor, " n"] | None = None,
    ) -> Change:
        """Consider a batch; `build(row)` makes the entry of a row that comes in.

        Args:
            u: whitened coordinates (n, d).
            score: values (n,), -inf for failures.
            first_id: id of row 0.
            build: makes the entry of one row.
            alike: a number a sample that equal ones share, 0 where it has none.
            plausibility: of the points, by which equal scores are told apart.
        """
        likely = [0.0] * len(score) if plausibility is None else plausibility.tolist()
        full = len(self._entries) == self._k
        floor = (self._entries[-1].merit, self._entries[-1].plausibility) if full else (-math.inf, math.inf)
        values = score.tolist()
        finite = [i for i, v in enumerate(values) if -math.inf < v < math.inf]
        rows = [i for i in finite if (values[i], likely[i]) > floor]
        if not rows:
            return Change([], [])
        found = self._considered(u, score, first_id, rows, alike, likely)
        if len(found[0]) < self._k and len(rows) < len(finite):  # one that came in was the twin of several
            found = self._considered(u, score, first_id, finite, alike, likely)
        chosen, ids, numbers, points = found
        old = self._entries
        self._entries = [old[i] if i < len(old) else build(ids[i] - first_id) for i in chosen]
        self._alike, self._points = {ids[i]: numbers[i] for i in chosen}, points[chosen]
        added = [entry for i, entry in zip(chosen, self._entries, strict=True) if i >= len(old)]
        return Change(added, [entry.id for entry in old if entry.id not in self._alike])

    def _considered(
        self, u: Tensor, score: Tensor, first_id: int, rows: list[int], alike: Tensor | None, likely: list[float]
    ) -> tuple[list[int], list[int], list[int], Tensor]:
        """Return which of the leaders and those rows are to lead; and ids, sample numbers and points of all."""
        old = self._entries
        ids = [entry.id for entry in old] + [first_id + i for i in rows]
        value = [entry.merit for entry in old] + score[rows].tolist()
        new = [0] * len(rows) if alike is None else alike[rows].tolist()
        numbers = [self._alike[entry.id] for entry in old] + new
        points = u[rows] if self._points is None else torch.cat([self._points, u[rows]])
        typical = [entry.plausibility for entry in old] + [likely[i] for i in rows]
        order = sorted(range(len(ids)), key=lambda i: (-value[i], -typical[i], ids[i]))
        chosen = merged(points, order, len(old), self._k, torch.tensor(numbers, device="cpu"))
        return chosen, ids, numbers, points


def distinct(
    u: Float[Tensor, "n dim"],
    score: Float[Tensor, " n"],
    k: int,
    alike: Int[Tensor, " n"] | None = None,
    plausibility: Float[Tensor, " n"] | None = None,
) -> list[int]:
    """Return the rows of the k best points no two of which are too close, or have equal samples, best first.

    Of equal scores the more plausible comes first, where that is known, then the earlier.
    """
    alive, chosen = torch.isfinite(score).nonzero().flatten(), list[int]()
    if plausibility is not None:
        alive = alive[plausibility[alive].argsort(descending=True, stable=True)]
    order = alive[score[alive].double().argsort(descending=True, stable=True)]
    for part in order.split(PART):
        for row in chosen:
            part = part[~_near(u, alike, row, part)]
        while len(part) and len(chosen) < k:
            chosen.append(int(part[0]))
            part = part[1:][~_near(u, alike, chosen[-1], part[1:])]
        if len(chosen) == k:
            break
    return chosen


def merged(
    u: Float[Tensor, "n dim"], order: Sequence[int], old: int, k: int, alike: Int[Tensor, " n"] | None = None
) -> list[int]:
    """Return what :func:`distinct` does, in less time where the first `old` rows are known to be apart.

    Args:
        u: points.
        order: of all rows, best first.
        old: number of rows that are apart from each other.
        k: how many to choose.
        alike: a number a sample that equal ones share.
    """
    rank = torch.empty(len(order), dtype=torch.int64, device="cpu")
    rank[list(order)] = torch.arange(len(order), device="cpu")
    alive = torch.ones(len(order), dtype=torch.bool, device="cpu")
    for row in order:
        if row < old or not alive[row]:
            continue
        better = alive & (rank < rank[row])
        if int(better.sum()) >= k:
            break
        near = _near(u, alike, row)
        if bool((near & better).any()):
            alive[row] = False
        else:
            alive &= ~near
            alive[row] = True
    stay = alive.tolist()
    return [row for row in order if stay[row]][:k]


def _near(
    u: Float[Tensor, "n dim"],
    alike: Int[Tensor, " n"] | None,
    row: int,
    others: Int[Tensor, " m"] | slice = slice(None),
) -> Bool[Tensor, " m"]:
    """Say which points are too close to one of them, or have the same sample."""
    near = (u[others] - u[row]).square().sum(1) < (DISTINCT * float(2 * u.shape[1]) ** 0.5) ** 2
    return near if alike is None or not alike[row] else near | (alike[others] == alike[row])


def _number(sample: Sample) -> int:
    numbers = equal([sample])
    return 0 if numbers is None else int(numbers)


def _rank(entry: Entry) -> tuple[float, float, int]:
    return -entry.merit, -entry.plausibility, entry.id
