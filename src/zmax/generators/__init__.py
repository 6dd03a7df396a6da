"""Adapters from models to the Generator contract."""

from zmax.generators.load import generators, load_generator
from zmax.generators.module import generator

__all__ = ["generator", "generators", "load_generator"]
