"""One row a method."""

from __future__ import annotations

from zmax.search import CMA, SNES, Gradient, Random
from zmax.testing import StrategyConformance


class TestRandom(StrategyConformance):
    rank_based = True

    def make(self):
        return Random(batch=4)


class TestGradient(StrategyConformance):
    def make(self):
        return Gradient(batch=3)


class TestCMA(StrategyConformance):
    rank_based = True

    def make(self):
        return CMA(population=8)


class TestSNES(StrategyConformance):
    rank_based = True

    def make(self):
        return SNES(population=8)
