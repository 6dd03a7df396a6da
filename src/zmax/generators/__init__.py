"""Adapters from models to the Generator contract."""

from zmax.generators.diffusers.adapter import from_diffusers
from zmax.generators.diffusion.denoisers import EDMDenoiser, NetworkDenoiser, discrete_index
from zmax.generators.diffusion.generator import with_memory
from zmax.generators.diffusion.memory import Memory, memory_policy
from zmax.generators.diffusion.multistep import DPMSolver
from zmax.generators.diffusion.reversible import Reversible
from zmax.generators.diffusion.samplers import DDIM, Ancestral, Euler, Heun
from zmax.generators.diffusion.schedules import SCHEDULES
from zmax.generators.files import from_jax
from zmax.generators.load import generators, load_generator
from zmax.generators.module import generator
from zmax.generators.style import style_generator
from zmax.generators.subspace import subspace
from zmax.generators.words import words

__all__ = [
    "DDIM",
    "SCHEDULES",
    "Ancestral",
    "DPMSolver",
    "EDMDenoiser",
    "Euler",
    "Heun",
    "Memory",
    "NetworkDenoiser",
    "Reversible",
    "discrete_index",
    "from_diffusers",
    "from_jax",
    "generator",
    "generators",
    "load_generator",
    "memory_policy",
    "style_generator",
    "subspace",
    "with_memory",
    "words",
]
