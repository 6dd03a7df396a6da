"""Methods that steer the path of a diffusion or flow model from noise to data; G stays fixed."""

from zmax.core.methods import methods
from zmax.guide.das import DAS
from zmax.guide.dno import DNO
from zmax.guide.dps import DPS
from zmax.guide.fk import FKSteering
from zmax.guide.freedom import FreeDoM
from zmax.guide.lgdmc import LGDMC
from zmax.guide.mpgd import MPGD
from zmax.guide.noises import Noises
from zmax.guide.paths import Paths
from zmax.guide.polish import Polish
from zmax.guide.relay import Relay
from zmax.guide.rollover import Rollover
from zmax.guide.svdd import SVDD
from zmax.guide.tds import TDS
from zmax.guide.tfg import TFG
from zmax.guide.trajectories import Trajectories
from zmax.guide.ugd import UGD

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
    "methods",
]

methods.add("fk", "zmax.guide.fk:FKSteering")
methods.add("tds", "zmax.guide.tds:TDS")
methods.add("das", "zmax.guide.das:DAS")
methods.add("svdd", "zmax.guide.svdd:SVDD")
methods.add("paths", "zmax.guide.paths:Paths")
methods.add("relay", "zmax.guide.relay:Relay")
methods.add("polish", "zmax.guide.polish:Polish")
methods.add("rollover", "zmax.guide.rollover:Rollover")
methods.add("noises", "zmax.guide.noises:Noises")
methods.add("trajectories", "zmax.guide.trajectories:Trajectories")
methods.add("dno", "zmax.guide.dno:DNO")
methods.add("dps", "zmax.guide.dps:DPS")
methods.add("lgdmc", "zmax.guide.lgdmc:LGDMC")
methods.add("freedom", "zmax.guide.freedom:FreeDoM")
methods.add("mpgd", "zmax.guide.mpgd:MPGD")
methods.add("ugd", "zmax.guide.ugd:UGD")
methods.add("tfg", "zmax.guide.tfg:TFG")
