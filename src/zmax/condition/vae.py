"""Condition a variational autoencoder: train its encoder and decoder, both told the score, by their own loss."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from zmax.core.checks import positive
from zmax.core.strategy import Need
from zmax.core.tuner import Lesson, Models, Recipe, Rollout
from zmax.kit.asked import conditioned
from zmax.kit.elbo import GAUSSIAN, known_likelihood, negative_elbo
from zmax.kit.learner import Learner, tensor


class VAE(Learner):
    r"""Conditional variational autoencoder from its parent's weights, with the score dropped out at times.

    .. math:: L = -E_{q(u | x, s)} \log p(x | u, s) + \beta\, KL\bigl(q(u | x, s) \| N(0, I)\bigr), \qquad (x, s) \in D

    The layers that are told s begin as if they were not, so that the first step is the parent's. Scores that the
    decoder can read off u need not be told it: the larger :math:`\beta`, the more it listens.

    Args:
        steps: optimiser steps.
        batch: rows of a step.
        drop: share of rows of which nothing is asked.
        likelihood: see :func:`~zmax.kit.elbo.negative_elbo`.
        beta: what a nat of KL costs; with a Gaussian the variance of what is decoded.
        asks: how often samples above the best are asked for, scored and added, at equal shares of the steps.
        asked: samples each time.
        sharpness: k of the weights 1 / (k N + rank) by which samples are drawn from the lesson; None draws all alike.

    Raises:
        InputError: an argument is out of range.

    Example:
        >>> VAE(beta=0.5).beta
        0.5
    """

    needs = frozenset({Need.ENCODER})
    recipe = Recipe(rate=1e-3, updates=50, average=0.99, cool=True)
    use = "a variational autoencoder, as a peer; 'noise-map' comes nearer to what is asked"
    reference = (
        "Sohn et al., Learning structured output representation using deep conditional generative models, NeurIPS "
        "2015, section 4.1, https://papers.nips.cc/paper/2015/hash/8d55a249e6baa5c06772297520da2051-Abstract.html"
    )

    def __init__(
        self,
        *,
        steps: int = 1000,
        batch: int = 32,
        drop: float = 0.1,
        likelihood: str = GAUSSIAN,
        beta: float = 0.2,
        asks: int = 0,
        asked: int = 64,
        sharpness: float | None = None,
    ) -> None:
        super().__init__(steps=steps, batch=batch, drop=drop, asks=asks, asked=asked, sharpness=sharpness)
        positive("VAE", beta=beta)
        known_likelihood("VAE", likelihood)
        self.likelihood, self.beta = likelihood, beta

    def rows(self, models: Models, part: Lesson, done: float, rng: torch.Generator) -> dict[str, Tensor]:
        """Return samples, and the noises of their codes."""
        return {"x": tensor(part), "noise": models.parent.space.sample(len(part), rng)}

    def loss(self, models: Models, rollout: Rollout) -> Float[Tensor, " rows"]:
        """Return minus the evidence lower bound."""
        child = conditioned(models.child).asked(rollout["score"])
        return negative_elbo(child, rollout["x"], rollout["noise"], self.likelihood, self.beta)
