"""Methods that steer the path of a diffusion or flow model from noise to data; G stays fixed."""

from zmax.core.methods import registry
from zmax.guide.guidance.daps import DAPS
from zmax.guide.guidance.presets import DPS, LGDMC, MPGD, UGD, FreeDoM
from zmax.guide.guidance.tfg import TFG
from zmax.guide.noise.dno import DNO
from zmax.guide.noise.noises import Noises
from zmax.guide.particles.fk import FKSteering
from zmax.guide.particles.presets import DAS
from zmax.guide.particles.svdd import SVDD
from zmax.guide.particles.tds import TDS
from zmax.guide.paths.paths import Paths
from zmax.guide.paths.presets import Polish
from zmax.guide.paths.relay import Relay
from zmax.guide.paths.rollover import Rollover

__all__ = [
    "DAPS",
    "DAS",
    "DNO",
    "DPS",
    "LGDMC",
    "MPGD",
    "SVDD",
    "TDS",
    "TFG",
    "UGD",
    "FKSteering",
    "FreeDoM",
    "Noises",
    "Paths",
    "Polish",
    "Relay",
    "Rollover",
]

registry.add("fk", "zmax.guide.particles.fk:FKSteering")
registry.add("tds", "zmax.guide.particles.tds:TDS")
registry.add("das", "zmax.guide.particles.presets:DAS")
registry.add("svdd", "zmax.guide.particles.svdd:SVDD")
registry.add("paths", "zmax.guide.paths.paths:Paths")
registry.add("relay", "zmax.guide.paths.relay:Relay")
registry.add("polish", "zmax.guide.paths.presets:Polish")
registry.add("rollover", "zmax.guide.paths.rollover:Rollover")
registry.add("noises", "zmax.guide.noise.noises:Noises")
registry.add("dno", "zmax.guide.noise.dno:DNO")
registry.add("dps", "zmax.guide.guidance.presets:DPS")
registry.add("lgdmc", "zmax.guide.guidance.presets:LGDMC")
registry.add("freedom", "zmax.guide.guidance.presets:FreeDoM")
registry.add("mpgd", "zmax.guide.guidance.presets:MPGD")
registry.add("ugd", "zmax.guide.guidance.presets:UGD")
registry.add("daps", "zmax.guide.guidance.daps:DAPS")
registry.add("tfg", "zmax.guide.guidance.tfg:TFG")
