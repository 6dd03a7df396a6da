"""Methods that keep the generator fixed and search its latents; any generator, any score."""

from zmax.core.methods import registry
from zmax.search.ascent.es import ES
from zmax.search.ascent.gradient import Gradient
from zmax.search.ascent.halving import Halving
from zmax.search.ascent.lbfgs import LBFGS
from zmax.search.ascent.presets import DNOHybrid
from zmax.search.ascent.sphere import Sphere
from zmax.search.ascent.spsa import SPSA
from zmax.search.ascent.zeroth import Zeroth
from zmax.search.diversity.cma_mae import CMAMAE
from zmax.search.diversity.cma_mega import CMAMEGA
from zmax.search.diversity.scattered import apart_by
from zmax.search.evolution.cma import CMA
from zmax.search.evolution.snes import SNES
from zmax.search.evolution.spherecma import SphereCMA
from zmax.search.posterior.dgflow import DGflow
from zmax.search.posterior.elliptical import Elliptical
from zmax.search.posterior.hmc import HMC
from zmax.search.posterior.isir import ISIR
from zmax.search.posterior.langevin import Langevin
from zmax.search.posterior.pcn import PCN
from zmax.search.posterior.presets import DDLS
from zmax.search.posterior.tempering import Tempering
from zmax.search.sampling.random import Random
from zmax.search.surrogate.casmopolitan import Casmopolitan
from zmax.search.surrogate.surrogate import Surrogate
from zmax.search.surrogate.trust import Trust
from zmax.search.surrogate.turbo import Turbo

__all__ = [
    "CMA",
    "CMAMAE",
    "CMAMEGA",
    "DDLS",
    "ES",
    "HMC",
    "ISIR",
    "LBFGS",
    "PCN",
    "SNES",
    "SPSA",
    "Casmopolitan",
    "DGflow",
    "DNOHybrid",
    "Elliptical",
    "Gradient",
    "Halving",
    "Langevin",
    "Random",
    "Sphere",
    "SphereCMA",
    "Surrogate",
    "Tempering",
    "Trust",
    "Turbo",
    "Zeroth",
    "apart_by",
]

registry.add("random", "zmax.search.sampling.random:Random")
registry.add("gradient", "zmax.search.ascent.gradient:Gradient")
registry.add("halving", "zmax.search.ascent.halving:Halving")
registry.add("lbfgs", "zmax.search.ascent.lbfgs:LBFGS")
registry.add("sphere", "zmax.search.ascent.sphere:Sphere")
registry.add("cma", "zmax.search.evolution.cma:CMA")
registry.add("cma-mae", "zmax.search.diversity.cma_mae:CMAMAE")
registry.add("cma-mega", "zmax.search.diversity.cma_mega:CMAMEGA")
registry.add("snes", "zmax.search.evolution.snes:SNES")
registry.add("elliptical", "zmax.search.posterior.elliptical:Elliptical")
registry.add("isir", "zmax.search.posterior.isir:ISIR")
registry.add("pcn", "zmax.search.posterior.pcn:PCN")
registry.add("tempering", "zmax.search.posterior.tempering:Tempering")
registry.add("langevin", "zmax.search.posterior.langevin:Langevin")
registry.add("hmc", "zmax.search.posterior.hmc:HMC")
registry.add("ddls", "zmax.search.posterior.presets:DDLS")
registry.add("dgflow", "zmax.search.posterior.dgflow:DGflow")
registry.add("zeroth", "zmax.search.ascent.zeroth:Zeroth")
registry.add("dno-hybrid", "zmax.search.ascent.presets:DNOHybrid")
registry.add("casmopolitan", "zmax.search.surrogate.casmopolitan:Casmopolitan")
registry.add("surrogate", "zmax.search.surrogate.surrogate:Surrogate")
registry.add("turbo", "zmax.search.surrogate.turbo:Turbo")
registry.add("es", "zmax.search.ascent.es:ES")
registry.add("sphere-cma", "zmax.search.evolution.spherecma:SphereCMA")
registry.add("spsa", "zmax.search.ascent.spsa:SPSA")
registry.add("trust", "zmax.search.surrogate.trust:Trust")
