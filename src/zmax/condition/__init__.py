"""Methods that train G(x | s): an ordinary generator that is asked for the score its samples should have."""

from zmax.condition.flow import Flow
from zmax.core.tuner import conditioners
from zmax.core.verbs import callable_room

__all__ = ["Flow"]

conditioners.add("flow", "zmax.condition.flow:Flow")

callable_room(__name__)
