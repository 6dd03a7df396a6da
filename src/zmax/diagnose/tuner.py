"""The rule behind `zmax.finetune(..., method="auto")`."""

from __future__ import annotations

from typing import Any

from zmax.core.generator import DiffusionGenerator, Generator
from zmax.core.score import Score
from zmax.core.settings import TuneSettings


def choose_tuner(generator: Generator, score: Score, asked: TuneSettings) -> tuple[str, dict[str, Any], str]:
    """Return (tuner, its parameters, reason) from what the generator and the score can give."""
    if generator.differentiable and score.differentiable:
        return "direct", {}, "both the generator and the score are differentiable"
    if isinstance(generator, DiffusionGenerator):
        return "ranked", {}, f"{score.name} is a black box, and the generator has a loss of its own"
    return "ranked", {}, f"{score.name} is a black box"
