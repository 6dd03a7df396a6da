"""Methods that steer the path of a diffusion or flow model from noise to data; G stays fixed."""

from zmax.core.methods import registry
from zmax.guide.guidance.dps import DPS
from zmax.guide.guidance.freedom import FreeDoM
from zmax.guide.guidance.lgdmc import LGDMC
from zmax.guide.guidance.mpgd import MPGD
from zmax.guide.guidance.tfg import TFG
from zmax.guide.guidance.ugd import UGD
from zmax.guide.noise.dno import DNO
from zmax.guide.noise.noises import Noises
from zmax.guide.particles.das import DAS
from zmax.guide.particles.fk import FKSteering
from zmax.guide.particles.svdd import SVDD
from zmax.guide.particles.tds import TDS
from zmax.guide.paths.paths import Paths
from zmax.guide.paths.polish import Polish
from zmax.guide.paths.relay import Relay
from zmax.guide.paths.rollover import Rollover
from zmax.guide.paths.trajectories import Trajectories

__all__ = [
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
    "Trajectories",
]

registry.add("fk", "zmax.guide.particles.fk:FKSteering")
registry.add("tds", "zmax.guide.particles.tds:TDS")
registry.add("das", "zmax.guide.particles.das:DAS")
registry.add("svdd", "zmax.guide.particles.svdd:SVDD")
registry.add("paths", "zmax.guide.paths.paths:Paths")
registry.add("relay", "zmax.guide.paths.relay:Relay")
registry.add("polish", "zmax.guide.paths.polish:Polish")
registry.add("rollover", "zmax.guide.paths.rollover:Rollover")
registry.add("noises", "zmax.guide.noise.noises:Noises")
registry.add("trajectories", "zmax.guide.paths.trajectories:Trajectories")
registry.add("dno", "zmax.guide.noise.dno:DNO")
registry.add("dps", "zmax.guide.guidance.dps:DPS")
registry.add("lgdmc", "zmax.guide.guidance.lgdmc:LGDMC")
registry.add("freedom", "zmax.guide.guidance.freedom:FreeDoM")
registry.add("mpgd", "zmax.guide.guidance.mpgd:MPGD")
registry.add("ugd", "zmax.guide.guidance.ugd:UGD")
registry.add("tfg", "zmax.guide.guidance.tfg:TFG")
