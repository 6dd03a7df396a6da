"""Small generators and scores that the tests of the loop share."""

from __future__ import annotations

import torch
from torch import Tensor, nn

import zmax
from zmax.core.generator import Generator
from zmax.core.score import Score


def identity(dim: int = 8, *, modality: str = "vector") -> Generator:
    """x = u."""
    return zmax.generator(nn.Identity(), shape=(dim,), modality=modality, name="identity")


def first(x: Tensor) -> Tensor:
    """The first coordinate."""
    return x[:, 0]


def sphere(x: Tensor) -> Tensor:
    """Minus the squared distance to (1, ..., 1)."""
    return -(x - 1).square().sum(1)


class Flaky:
    """Fails on the samples whose first coordinate exceeds a threshold, in a way of choice."""

    def __init__(self, how: str, above: float = 1.0) -> None:
        self.how = how
        self.above = above
        self.calls = 0

    def __call__(self, x: Tensor) -> Tensor:
        self.calls += len(x)
        bad = x[:, 0] > self.above
        if self.how == "raise" and bool(bad.any()):
            raise RuntimeError("too high")
        value = {"nan": float("nan"), "inf": float("inf"), "-inf": float("-inf"), "raise": 0.0}[self.how]
        return torch.where(bad, value, x[:, 0])


def single(fn, **options) -> Score:
    """A score of one sample."""
    return zmax.score(fn, per_sample=True, name="oracle", **options)


class Oracle:
    """The first coordinate of one sample; notes what it is asked, and raises at some calls."""

    def __init__(self, then=None) -> None:
        self.asked: list[float] = []
        self._then = then or {}

    def __call__(self, x: torch.Tensor) -> float:
        call = len(self.asked)
        self.asked.append(float(x[0]))
        if call in self._then:
            raise self._then[call]
        return float(x[0])


def same(a, b) -> bool:
    """Whether two runs saw the same, at the same cost."""
    return a.history.score.tolist() == b.history.score.tolist() and a.ledger.score_calls == b.ledger.score_calls
