"""The rule behind `zmax.finetune(..., method="auto")`."""

from __future__ import annotations

from zmax.core.generator import DiffusionGenerator, Generator
from zmax.core.score import Score

LARGEST = 4096
"""Latent coordinates up to which a map of the noises is affordable."""

FEW = 1000
"""Score calls up to which a surrogate of the score wins more than it costs."""


def choose_tuner(generator: Generator, score: Score, calls: int | None) -> tuple[str, str]:
    """Return (tuner, reason) from what the generator and the score can give, and the score calls there are.

    The choice follows `docs/finetune-benchmark.md`: adjoint matching where a path and gradients are there; else a map
    of the noises, which needs neither, and leaves the generator's own samples as they are; for more latents than a map
    can take, what changes the weights themselves. Where calls are few, the map learns from a surrogate of the score.
    """
    path, graded = isinstance(generator, DiffusionGenerator), generator.differentiable and score.differentiable
    if path and graded:
        return "adjoint", "the generator has a path, and both it and the score are differentiable"
    if generator.space.dim <= LARGEST and generator.differentiable and calls is not None and calls <= FEW:
        return "seiko", f"{calls} score calls are few, and the generator is differentiable: it learns from a surrogate"
    if generator.space.dim <= LARGEST:
        why = "the generator has no path" if not path else f"{score.name} is a black box"
        return "noise-regression", f"{why}, and a map of {generator.space.dim} noises learns from scores alone"
    if graded:
        return "direct", "both the generator and the score are differentiable, and its latents are many"
    if path:
        return "grpo", f"{score.name} is a black box, and the generator has a path"
    return "noise-regression", f"{score.name} is a black box, and the generator has no path"
