"""The best distinct samples of a run as it goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from zmax.core.samples import Sample
from zmax.core.samples import alike as equal
from zmax.store import Entry

DISTINCT = 0.5
"""Two points closer than this share of the usual distance sqrt(2 d) between prior draws count as one."""


@dataclass(frozen=True)
class Change:
    """What a batch did to the leaders: entries that came in, ids that went out."""

    added: list[Entry]
    dropped: list[int]


class Leaders:
    """The k best samples no two of which are nearly the same point, or equal; of twins the better one stays.

    Without this, the top of a run that follows a few trajectories is one picture many times.
    """

    def __init__(self, k: int, entries: Iterable[Entry] = ()) -> None:
        self._k = k
        self._entries = sorted(entries, key=_rank)[:k]
        self._alike = {entry.id: _number(entry.sample) for entry in self._entries}

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
    ) -> Change:
        """Consider a batch; `build(row)` makes the entry of a row that comes in.

        Args:
            u: whitened coordinates (n, d).
            score: values (n,), -inf for failures.
            first_id: id of row 0.
            build: makes the entry of one row.
            alike: a number a sample that equal ones share, 0 where it has none.
        """
        floor = self._entries[-1].merit if len(self._entries) == self._k else float("-inf")
        rows = (score > floor).nonzero().flatten().tolist()
        if not rows:
            return Change([], [])
        old = {entry.id: entry for entry in self._entries}
        points = {entry.id: entry.u for entry in self._entries} | {first_id + i: u[i] for i in rows}
        value = {entry.id: entry.merit for entry in self._entries} | {first_id + i: float(score[i]) for i in rows}
        numbers = self._alike | {first_id + i: 0 if alike is None else int(alike[i]) for i in rows}
        ids = sorted(value)
        scores = torch.tensor([value[i] for i in ids], dtype=torch.float64, device="cpu")
        same = torch.tensor([numbers[i] for i in ids], device="cpu")
        best = distinct(torch.stack([points[i] for i in ids]), scores, self._k, same)
        chosen = [ids[row] for row in best]
        entries = {i: old[i] if i in old else build(i - first_id) for i in chosen}
        self._entries = list(entries.values())
        self._alike = {i: numbers[i] for i in entries}
        return Change([e for i, e in entries.items() if i not in old], [i for i in old if i not in entries])


def distinct(
    u: Float[Tensor, "n dim"], score: Float[Tensor, " n"], k: int, alike: Int[Tensor, " n"] | None = None
) -> list[int]:
    """Return the rows of the k best points no two of which are too close, or have equal samples, best first."""
    limit, chosen = DISTINCT * float(2 * u.shape[1]) ** 0.5, list[int]()
    value = score.double().masked_fill(~torch.isfinite(score), float("-inf"))
    while len(chosen) < k and float(value.max()) > float("-inf"):
        best = int(value.argmax())
        chosen.append(best)
        near = (u - u[best]).square().sum(1) < limit**2
        near[best] = True  # also where a coordinate is not finite
        if alike is not None and alike[best]:
            near |= alike == alike[best]
        value = value.masked_fill(near, float("-inf"))
    return chosen


def _number(sample: Sample) -> int:
    numbers = equal([sample])
    return 0 if numbers is None else int(numbers)


def _rank(entry: Entry) -> tuple[float, int]:
    return -entry.merit, entry.id
