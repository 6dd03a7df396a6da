"""Methods that keep the generator fixed and search its latents; any generator, any score."""

from zmax.core.methods import methods
from zmax.search.cma import CMA
from zmax.search.cma_mae import CMAMAE
from zmax.search.cma_mega import CMAMEGA
from zmax.search.ddls import DDLS
from zmax.search.dflow import DFlow
from zmax.search.dgflow import DGflow
from zmax.search.dno_hybrid import DNOHybrid
from zmax.search.elliptical import Elliptical
from zmax.search.es import ES
from zmax.search.gradient import Gradient
from zmax.search.halving import Halving
from zmax.search.hmc import HMC
from zmax.search.isir import ISIR
from zmax.search.langevin import Langevin
from zmax.search.lbfgs import LBFGS
from zmax.search.pcn import PCN
from zmax.search.preconditioned import Preconditioned
from zmax.search.random import Random
from zmax.search.reno import Reno
from zmax.search.sepcma import SepCMA
from zmax.search.snes import SNES
from zmax.search.sphere import Sphere
from zmax.search.spherecma import SphereCMA
from zmax.search.spsa import SPSA
from zmax.search.surrogate import Surrogate
from zmax.search.tempering import Tempering
from zmax.search.trust import Trust
from zmax.search.turbo import Turbo
from zmax.search.zeroth import Zeroth

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
    "DFlow",
    "DGflow",
    "DNOHybrid",
    "Elliptical",
    "Gradient",
    "Halving",
    "Langevin",
    "Preconditioned",
    "Random",
    "Reno",
    "SepCMA",
    "Sphere",
    "SphereCMA",
    "Surrogate",
    "Tempering",
    "Trust",
    "Turbo",
    "Zeroth",
    "methods",
]

methods.add("random", "zmax.search.random:Random")
methods.add("gradient", "zmax.search.gradient:Gradient")
methods.add("halving", "zmax.search.halving:Halving")
methods.add("lbfgs", "zmax.search.lbfgs:LBFGS")
methods.add("dflow", "zmax.search.dflow:DFlow")
methods.add("preconditioned", "zmax.search.preconditioned:Preconditioned")
methods.add("sphere", "zmax.search.sphere:Sphere")
methods.add("reno", "zmax.search.reno:Reno")
methods.add("cma", "zmax.search.cma:CMA")
methods.add("cma-mae", "zmax.search.cma_mae:CMAMAE")
methods.add("cma-mega", "zmax.search.cma_mega:CMAMEGA")
methods.add("snes", "zmax.search.snes:SNES")
methods.add("elliptical", "zmax.search.elliptical:Elliptical")
methods.add("isir", "zmax.search.isir:ISIR")
methods.add("pcn", "zmax.search.pcn:PCN")
methods.add("tempering", "zmax.search.tempering:Tempering")
methods.add("langevin", "zmax.search.langevin:Langevin")
methods.add("hmc", "zmax.search.hmc:HMC")
methods.add("ddls", "zmax.search.ddls:DDLS")
methods.add("dgflow", "zmax.search.dgflow:DGflow")
methods.add("zeroth", "zmax.search.zeroth:Zeroth")
methods.add("dno-hybrid", "zmax.search.dno_hybrid:DNOHybrid")
methods.add("surrogate", "zmax.search.surrogate:Surrogate")
methods.add("turbo", "zmax.search.turbo:Turbo")
methods.add("es", "zmax.search.es:ES")
methods.add("sep-cma", "zmax.search.sepcma:SepCMA")
methods.add("sphere-cma", "zmax.search.spherecma:SphereCMA")
methods.add("spsa", "zmax.search.spsa:SPSA")
methods.add("trust", "zmax.search.trust:Trust")
