"""Methods that steer the path of a diffusion or flow model from noise to data; G stays fixed."""

from zmax.core.methods import methods
from zmax.guide.das import DAS
from zmax.guide.fk import FKSteering
from zmax.guide.tds import TDS

__all__ = ["DAS", "TDS", "FKSteering", "methods"]

methods.add("fk", "zmax.guide.fk:FKSteering")
methods.add("tds", "zmax.guide.tds:TDS")
methods.add("das", "zmax.guide.das:DAS")
