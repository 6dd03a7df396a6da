"""A flow model of a Gaussian whose mean alone can be trained, so that tilts by linear scores are within reach."""

from __future__ import annotations

import torch
from torch import Tensor, nn

import zmax
from zmax.generators.diffusion.generator import DenoiserGenerator
from zmax.generators.diffusion.schedules import RectifiedFlow

SPREAD = 0.6


class GaussianDenoiser(nn.Module):
    """E[x_0 | x_t] of N(mean, SPREAD^2 I)."""

    def __init__(self, mean: Tensor) -> None:
        super().__init__()
        self.mean, self.schedule = nn.Parameter(mean), RectifiedFlow()

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        alpha, sigma = (level(t)[:, None].to(x) for level in (self.schedule.alpha, self.schedule.sigma))
        share = alpha * SPREAD**2 / (alpha.square() * SPREAD**2 + sigma.square())
        return self.mean + share * (x - alpha * self.mean)


def gaussian_flow(steps: int = 10) -> DenoiserGenerator:
    """Return the model of N(0, SPREAD^2 I) in two dimensions."""
    return zmax.diffusion(
        GaussianDenoiser(torch.zeros(2)),
        shape=(2,),
        schedule="rectified-flow",
        steps=steps,
        parametrisation="x0",
        modality="vector",
    )
