"""Methods that train G(x | s): an ordinary generator that is asked for the score its samples should have."""

from zmax.condition.flow import Flow
from zmax.condition.noise_map import NoiseMap
from zmax.core.tuner import conditioners
from zmax.core.verbs import callable_room

__all__ = ["Flow", "NoiseMap"]

conditioners.add("flow", "zmax.condition.flow:Flow")
conditioners.add("noise-map", "zmax.condition.noise_map:NoiseMap")

callable_room(__name__)
