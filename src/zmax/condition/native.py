"""Ask a pipeline that takes a score itself, and find out what comes of it: nothing is trained."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from zmax.core.generator import Generator
from zmax.core.proposal import Evaluation, Proposal
from zmax.core.rng import Rng
from zmax.core.strategy import Need
from zmax.core.tuner import Models, Rollout
from zmax.kit.learner import Schooled, Schooling


class Native(Schooled[Schooling]):
    r"""Ask a pipeline of diffusers by its own arguments, such as `aesthetic_score` of SDXL's refiner.

    .. math:: x = G(z, \text{aesthetic\_score} = s), \qquad s = S(x)\ ?

    The pipeline was trained to be told a score; what is asked is handed on as it is, in whatever units, and the
    calibration compares it with S. `away_from` is its `negative_aesthetic_score`, and guidance is added to its
    `guidance_scale`. Nothing is trained; the samples that are scored first tell which requests are worth making.

    Example:
        >>> Native().progress(Schooling(Rng.of(torch.Generator()), steps=1))
        1.0
    """

    moves = "native"
    needs = frozenset({Need.ASKABLE})
    use = "a pipeline that takes a score of its own, and a score in the same units"
    reference = (
        "Podell et al., SDXL: improving latent diffusion models for high-resolution image synthesis, 2023, sec. 2.5, "
        "https://arxiv.org/abs/2307.01952; its refiner's micro-conditioning on aesthetic scores"
    )
    steps = 1

    def init(self, generator: Generator, rng: torch.Generator) -> Schooling:
        """Return the state of what is done."""
        return Schooling(Rng.of(rng), self.steps)

    def collect(self, state: Schooling, models: Models) -> tuple[Schooling, Proposal | None]:
        """Return nothing to score."""
        return state, None

    def rollout(self, state: Schooling, models: Models, evaluation: Evaluation) -> tuple[Schooling, Rollout | None]:
        """Return nothing to train on."""
        return state, None

    def loss(self, models: Models, rollout: Rollout) -> Float[Tensor, " rows"]:
        """Return nothing to descend."""
        return torch.zeros(len(rollout), device="cpu")
