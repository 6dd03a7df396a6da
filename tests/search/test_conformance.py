"""One row a method."""

from __future__ import annotations

from zmax.search import (
    CMA,
    CMAMAE,
    CMAMEGA,
    DDLS,
    ES,
    HMC,
    ISIR,
    LBFGS,
    PCN,
    SNES,
    SPSA,
    DGflow,
    DNOHybrid,
    Elliptical,
    Gradient,
    Halving,
    Langevin,
    Random,
    Sphere,
    SphereCMA,
    Surrogate,
    Tempering,
    Trust,
    Turbo,
    Zeroth,
)
from zmax.testing import StrategyConformance


class TestRandom(StrategyConformance):
    rank_based = True

    def make(self):
        return Random(batch=4)


class TestGradient(StrategyConformance):
    def make(self):
        return Gradient(batch=3)


class TestHalving(StrategyConformance):
    def make(self):
        return Halving(starts=6, keep=2)


class TestHalvingLBFGS(StrategyConformance):
    def make(self):
        return Halving(starts=6, keep=2, climb="lbfgs")


class TestLBFGS(StrategyConformance):
    def make(self):
        return LBFGS(batch=3)


class TestSphere(StrategyConformance):
    def make(self):
        return Sphere(batch=3)


class TestCMA(StrategyConformance):
    rank_based = True

    def make(self):
        return CMA(population=8)


class TestSNES(StrategyConformance):
    rank_based = True

    def make(self):
        return SNES(population=8)


class TestLangevin(StrategyConformance):
    def make(self):
        return Langevin(chains=4)


class TestLangevinUnadjusted(StrategyConformance):
    def make(self):
        return Langevin(temperature=1.0, chains=4, adjust=False)


class TestHMC(StrategyConformance):
    rounds = 60

    def make(self):
        return HMC(chains=4)


class TestHMCAtATemperature(StrategyConformance):
    rounds = 40

    def make(self):
        return HMC(temperature=1.0, chains=4)


class TestDDLS(StrategyConformance):
    def make(self):
        return DDLS(chains=4)


class TestDGflow(StrategyConformance):
    rounds = 40

    def make(self):
        return DGflow(batch=4, steps=8)


class TestCMAMAE(StrategyConformance):
    def make(self):
        return CMAMAE(descriptor=lambda x: x[:, :2], cells=6, population=8)


class TestCMAMEGA(StrategyConformance):
    rounds = 60  # three a step

    def make(self):
        return CMAMEGA(descriptor=lambda x: x[:, :2], cells=6, population=8)


class TestElliptical(StrategyConformance):
    def make(self):
        return Elliptical(chains=4)


class TestEllipticalAtATemperature(StrategyConformance):
    def make(self):
        return Elliptical(temperature=1.0, chains=4)


class TestPCN(StrategyConformance):
    def make(self):
        return PCN(chains=4)


class TestPCNAtATemperature(StrategyConformance):
    def make(self):
        return PCN(temperature=1.0, chains=4)


class TestISIR(StrategyConformance):
    def make(self):
        return ISIR(chains=3, candidates=4, local=3)


class TestISIRAtATemperature(StrategyConformance):
    def make(self):
        return ISIR(temperature=1.0, chains=3, candidates=4, local=3)


class TestTempering(StrategyConformance):
    def make(self):
        return Tempering(ladders=2, rungs=3)


class TestTemperingAtATemperature(StrategyConformance):
    def make(self):
        return Tempering(temperature=1.0, ladders=2, rungs=3)


class TestZeroth(StrategyConformance):
    rounds = 60

    def make(self):
        return Zeroth(batch=3, pairs=3)


class TestZerothGaussian(StrategyConformance):
    rounds = 60

    def make(self):
        return Zeroth(batch=3, pairs=3, directions="gaussian")


class TestDNOHybrid(StrategyConformance):
    rounds = 60

    def make(self):
        return DNOHybrid(batch=3, pairs=3)


class TestSurrogate(StrategyConformance):
    rounds = 24

    def make(self):
        return Surrogate(batch=4, first=6, steps=4)


class TestTurbo(StrategyConformance):
    def make(self):
        return Turbo(batch=3)


class TestRandomAntithetic(StrategyConformance):
    rank_based = True

    def make(self):
        return Random(batch=4, design="antithetic")


class TestRandomSobol(StrategyConformance):
    rank_based = True

    def make(self):
        return Random(batch=4, design="sobol")


class TestSphereCMA(StrategyConformance):
    rank_based = True

    def make(self):
        return SphereCMA(population=8)


class TestES(StrategyConformance):
    rank_based = True

    def make(self):
        return ES(pairs=3)


class TestSPSA(StrategyConformance):
    rounds = 40

    def make(self):
        return SPSA()


class TestTrust(StrategyConformance):
    def make(self):
        return Trust(population=4)
