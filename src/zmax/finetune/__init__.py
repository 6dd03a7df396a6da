"""Tuners: they move G's weights until its own samples score high."""

from zmax.core.tuner import tuners
from zmax.core.verbs import callable_room
from zmax.finetune.gradient.direct import Direct
from zmax.finetune.regression.ranked import Ranked

__all__ = ["Direct", "Ranked"]

tuners.add("direct", "zmax.finetune.gradient.direct:Direct")
tuners.add("ranked", "zmax.finetune.regression.ranked:Ranked")

callable_room(__name__)
