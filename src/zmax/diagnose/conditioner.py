"""The rule behind `zmax.condition(..., method="auto")`."""

from __future__ import annotations

from zmax.core.generator import DiffusionGenerator, Generator
from zmax.generators.diffusion.generator import DenoiserGenerator


def choose_conditioner(generator: Generator) -> tuple[str, str]:
    """Return (method, reason) from what the generator is."""
    if isinstance(generator, DenoiserGenerator):
        return "flow", "the generator has a denoiser, which can be told the score"
    path = isinstance(generator, DiffusionGenerator)
    why = "its networks answer several rows a sample" if path else "the generator has no path"
    return "noise-map", f"{why}, and a map of its noises leaves its samples as they are"
