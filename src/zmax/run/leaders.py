"""The best distinct samples of a run as it goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from zmax.store import Entry

DISTINCT = 0.5
"""Two points closer than this share of the usual distance sqrt(2 d) between prior draws count as one."""


@dataclass(frozen=True)
class Change:
    """What a batch did to the leaders: entries that came in, ids that went out."""

    added: list[Entry]
    dropped: list[int]


class Leaders:
    """The k best samples no two of which are nearly the same point; of near twins the better one stays.

    Without this, the top of a run that follows a few trajectories is one picture many times.
    """

    def __init__(self, k: int, entries: Iterable[Entry] = ()) -> None:
        self._k = k
        self._entries = sorted(entries, key=_rank)[:k]

    @property
    def entries(self) -> tuple[Entry, ...]:
        """The leaders, best first."""
        return tuple(self._entries)

    def offer(self, u: Tensor, score: Tensor, first_id: int, build: Callable[[int], Entry]) -> Change:
        """Consider a batch; `build(row)` makes the entry of a row that comes in.

        Args:
            u: whitened coordinates (n, d).
            score: values (n,), -inf for failures.
            first_id: id of row 0.
            build: makes the entry of one row.
        """
        floor = self._entries[-1].score if len(self._entries) == self._k else float("-inf")
        rows = (score > floor).nonzero().flatten().tolist()
        if not rows:
            return Change([], [])
        old = {entry.id: entry for entry in self._entries}
        points = {entry.id: entry.u for entry in self._entries} | {first_id + i: u[i] for i in rows}
        value = {entry.id: entry.score for entry in self._entries} | {first_id + i: float(score[i]) for i in rows}
        ids = sorted(value)
        best = distinct(
            torch.stack([points[i] for i in ids]), torch.tensor([value[i] for i in ids], dtype=torch.float64), self._k
        )
        chosen = [ids[row] for row in best]
        entries = {i: old[i] if i in old else build(i - first_id) for i in chosen}
        self._entries = list(entries.values())
        return Change([e for i, e in entries.items() if i not in old], [i for i in old if i not in entries])


def distinct(u: Float[Tensor, "n dim"], score: Float[Tensor, " n"], k: int) -> list[int]:
    """Return the rows of the k best points no two of which are too close, best first."""
    limit, chosen = DISTINCT * float(2 * u.shape[1]) ** 0.5, list[int]()
    value = score.double().masked_fill(~torch.isfinite(score), float("-inf"))
    while len(chosen) < k and float(value.max()) > float("-inf"):
        chosen.append(int(value.argmax()))
        near = (u - u[chosen[-1]]).square().sum(1) < limit**2
        near[chosen[-1]] = True  # also where a coordinate is not finite
        value = value.masked_fill(near, float("-inf"))
    return chosen


def _rank(entry: Entry) -> tuple[float, int]:
    return -entry.score, entry.id
