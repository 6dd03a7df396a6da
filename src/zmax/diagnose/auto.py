"""The rule behind method="auto"."""

from __future__ import annotations

import torch

from zmax.core.generator import Generator
from zmax.core.score import Score

FREE = 100
"""Most continuous latents beside categories that a Gaussian process of both is good for."""

FULL_COVARIANCE = 1000
"""Largest dimension at which a full covariance matrix is affordable."""


def choose(generator: Generator, score: Score) -> tuple[str, str]:
    """Return (method, reason) from what the generator and the score can give.

    Gradients where both give them; else, where latents have categories and few coordinates beside them, Bayesian
    optimisation of these; else evolution, with a full covariance while it is affordable.
    """
    space, dim = generator.space, generator.space.dim
    if generator.differentiable and score.differentiable:
        return "gradient", "both the generator and the score are differentiable"
    blind = score.name if generator.differentiable else generator.name
    if space.levels and space.parted(torch.zeros(1, dim))[1].shape[1] <= FREE:
        return "casmopolitan", f"{blind} is a black box, and {len(space.levels)} categories are changed one by one"
    if dim <= FULL_COVARIANCE:
        return "cma", f"{blind} is a black box, and {dim} dimensions allow a full covariance"
    return "snes", f"{blind} is a black box, and {dim} dimensions are too many for a full covariance"


def choose_sampler(generator: Generator, score: Score) -> tuple[str, str]:
    """Return (sampler, reason): gradients where both give them, else slice sampling, which needs no tuning."""
    if generator.differentiable and score.differentiable:
        return "langevin", "both the generator and the score are differentiable"
    blind = score.name if generator.differentiable else generator.name
    return "elliptical", f"{blind} is a black box"
