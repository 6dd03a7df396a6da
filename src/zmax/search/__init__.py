"""Methods that keep the generator fixed and search its latents; any generator, any score."""

from typing import Any

from zmax.core.registry import Registry
from zmax.core.strategy import Strategy
from zmax.search.cma import CMA
from zmax.search.gradient import Gradient
from zmax.search.random import Random
from zmax.search.snes import SNES

__all__ = ["CMA", "SNES", "Gradient", "Random", "methods"]

methods: Registry[type[Strategy[Any]]] = Registry("method", "zmax.methods")
methods.add("random", "zmax.search.random:Random")
methods.add("gradient", "zmax.search.gradient:Gradient")
methods.add("cma", "zmax.search.cma:CMA")
methods.add("snes", "zmax.search.snes:SNES")
