"""When a search law that does not shrink is still at its end: flat fitness and stagnation."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

ALIKE = 1e-7  # relative; what single precision calls equal
LONGEST = 20_000
FIRST, LAST = 0.3, 0.3  # shares of the window whose medians are compared


@dataclass(frozen=True)
class Rounds:
    """What the rounds since the last restart scored.

    Attributes:
        best: best score of each round, oldest first.
        median: median score of each.
    """

    best: Float[Tensor, " rounds"]
    median: Float[Tensor, " rounds"]

    @classmethod
    def none(cls) -> Rounds:
        """Return the record before the first round."""
        empty = torch.zeros(0, dtype=torch.float64)
        return cls(empty, empty)

    def told(self, score: Float[Tensor, " n"]) -> Rounds:
        """Take in the scores of a round, those that did not fail."""
        score = score.double()
        best, median = score.max()[None], score.median()[None]
        return Rounds(
            torch.cat([self.best[-LONGEST:], best]),
            torch.cat([self.median[-LONGEST:], median]),
        )

    def stalled(self, dim: int, population: int) -> bool:
        r"""Say whether a law in that many dimensions is stuck.

        It is if the best scores of the last :math:`10 + 30 d / \lambda` rounds are alike (EqualFunValues, TolFun), or
        if over the last fifth of the rounds, :math:`120 + 30 d / \lambda` at least, neither the best scores nor the
        medians have risen, comparing the medians of the first and the last three tenths (Stagnation).

        Reference: Hansen, *The CMA evolution strategy: a tutorial*, 2016, appendix B.3,
        https://arxiv.org/abs/1604.00772.

        Example:
            >>> rounds = Rounds.none()
            >>> for _ in range(41):
            ...     rounds = rounds.told(torch.tensor([1.0, 2.0]))
            >>> rounds.stalled(10, 10), rounds.told(torch.tensor([3.0])).stalled(10, 10)
            (True, False)
        """
        rounds, more = len(self.best), math.ceil(30 * dim / population)
        recent = self.best[-10 - more :]
        if rounds >= 10 + more and float(recent.max() - recent.min()) <= ALIKE * float(recent.abs().max()):
            return True
        window = max(120 + more, rounds // 5)
        return rounds >= window and not (_risen(self.best[-window:]) or _risen(self.median[-window:]))


def _risen(values: Float[Tensor, " window"]) -> bool:
    first, last = values[: int(FIRST * len(values))], values[-int(LAST * len(values)) :]
    return bool(last.median() > first.median())
