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
    claim = "prior"
    rank_based = True

    def make(self):
        return Random(batch=4)


class TestGradient(StrategyConformance):
    claim = "maximum"

    def make(self):
        return Gradient(batch=3)


class TestHalving(StrategyConformance):
    claim = "maximum"

    def make(self):
        return Halving(starts=6, keep=2)


class TestHalvingLBFGS(StrategyConformance):
    claim = "maximum"

    def make(self):
        return Halving(starts=6, keep=2, climb="lbfgs")


class TestLBFGS(StrategyConformance):
    claim = "maximum"

    def make(self):
        return LBFGS(batch=3)


class TestSphere(StrategyConformance):
    claim = "maximum"

    def make(self):
        return Sphere(batch=3)


class TestCMA(StrategyConformance):
    claim = "maximum"
    rank_based = True

    def make(self):
        return CMA(population=8)


class TestSNES(StrategyConformance):
    claim = "maximum"
    rounds = 40
    rank_based = True

    def make(self):
        return SNES()


class TestLangevin(StrategyConformance):
    def make(self):
        return Langevin(chains=4)


class TestLangevinUnadjusted(StrategyConformance):
    claim = "law"
    rounds = 28

    def make(self):
        return Langevin(temperature=1.0, chains=24, adjust=False)


class TestHMC(StrategyConformance):
    rounds = 34

    def make(self):
        return HMC(chains=4)


class TestHMCAtATemperature(StrategyConformance):
    claim = "law"
    rounds = 40

    def make(self):
        return HMC(temperature=1.0, chains=32)


class TestDDLS(StrategyConformance):
    claim = "law"
    rounds = 28

    def make(self):
        return DDLS(chains=32)


class TestDGflow(StrategyConformance):
    rounds = 40

    def make(self):
        return DGflow(batch=4, steps=8, step=0.2, divergence="KL")


class TestCMAMAE(StrategyConformance):
    rounds = 72

    def make(self):
        return CMAMAE(descriptor=lambda x: x[:, :2], cells=6, population=8)


class TestCMAMEGA(StrategyConformance):
    rounds = 60  # three a step

    def make(self):
        return CMAMEGA(descriptor=lambda x: x[:, :2], cells=6, population=8)


class TestElliptical(StrategyConformance):
    rounds = 64

    def make(self):
        return Elliptical(chains=4)


class TestEllipticalAtATemperature(StrategyConformance):
    claim = "law"
    rounds = 28

    def make(self):
        return Elliptical(temperature=1.0, chains=32)


class TestPCN(StrategyConformance):
    rounds = 34

    def make(self):
        return PCN(chains=4)


class TestPCNAtATemperature(StrategyConformance):
    claim = "law"
    rounds = 28

    def make(self):
        return PCN(temperature=1.0, chains=32)


class TestISIR(StrategyConformance):
    rounds = 40

    def make(self):
        return ISIR(chains=3, candidates=4, local=3)


class TestISIRAtATemperature(StrategyConformance):
    claim = "law"
    rounds = 28

    def make(self):
        return ISIR(temperature=1.0, chains=32, candidates=4, local=3)


class TestTempering(StrategyConformance):
    rounds = 40

    def make(self):
        return Tempering(ladders=2, rungs=3)


class TestTemperingAtATemperature(StrategyConformance):
    claim = "law"
    rounds = 28

    def make(self):
        return Tempering(temperature=1.0, ladders=24, rungs=3)


class TestZeroth(StrategyConformance):
    claim = "maximum"
    rounds = 160

    def make(self):
        return Zeroth(batch=1, pairs=12, patience=3)


class TestZerothGaussian(StrategyConformance):
    rounds = 80

    def make(self):
        return Zeroth(batch=1, pairs=8, directions="gaussian")


class TestDNOHybrid(StrategyConformance):
    rounds = 80

    def make(self):
        return DNOHybrid(batch=1, pairs=8)


class TestSurrogate(StrategyConformance):
    claim = "maximum"
    rounds = 32

    def make(self):
        return Surrogate(batch=4, first=6, steps=4)


class TestTurbo(StrategyConformance):
    claim = "maximum"
    rounds = 10

    def make(self):
        return Turbo(batch=3)


class TestRandomAntithetic(StrategyConformance):
    claim = "prior"
    rank_based = True

    def make(self):
        return Random(batch=4, design="antithetic")


class TestRandomSobol(StrategyConformance):
    claim = "prior"
    rank_based = True

    def make(self):
        return Random(batch=4, design="sobol")


class TestSphereCMA(StrategyConformance):
    claim = "maximum"
    rank_based = True

    def make(self):
        return SphereCMA(population=8)


class TestES(StrategyConformance):
    rounds = 40
    rank_based = True

    def make(self):
        return ES(pairs=3)


class TestSPSA(StrategyConformance):
    claim = "maximum"
    rounds = 40

    def make(self):
        return SPSA()


class TestTrust(StrategyConformance):
    claim = "maximum"
    rounds = 14

    def make(self):
        return Trust(population=4)
