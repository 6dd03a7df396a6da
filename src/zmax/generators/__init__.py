"""Adapters from models to the Generator contract."""

from zmax.generators.load import generators, load_generator
from zmax.generators.module import generator
from zmax.generators.style import style_generator
from zmax.generators.subspace import subspace

__all__ = ["generator", "generators", "load_generator", "style_generator", "subspace"]
