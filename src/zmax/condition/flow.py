"""Condition a diffusion or flow model: train its denoiser, told the score, by its own loss."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from zmax.core.strategy import Need
from zmax.core.tuner import Lesson, Models, Recipe, Rollout
from zmax.kit.asked import conditioned
from zmax.kit.forward import gap, noised, velocity
from zmax.kit.learner import PathLearner, tensor


class Flow(PathLearner):
    r"""Conditional flow or diffusion from its parent's weights, with the score dropped out at times.

    .. math:: L = E_{t, \epsilon} \|v_\theta(x_t, t, s) - (\epsilon - x_0)\|^2, \qquad (x_0, s) \in D

    over scored samples D, of which a share `drop` asks for nothing, so that the weight of guidance can be chosen when
    sampling. The layers that are told s begin as if they were not, so that the first step is the parent's.

    Args:
        steps: optimiser steps.
        batch: rows of a step.
        drop: share of rows of which nothing is asked.
        asks: how often samples above the best are asked for, scored and added, at equal shares of the steps.
        asked: samples each time.
        sharpness: k of the weights 1 / (k N + rank) by which samples are drawn from the lesson; None draws all alike.

    Raises:
        InputError: an argument is out of range.

    Example:
        >>> import zmax
        >>> law = zmax.testing.gaussian_mixture([[0.0, 0.0]], torch.eye(2)[None], [1.0])
        >>> S = zmax.score(lambda x: x[:, 0], name="first")
        >>> c = zmax.condition(zmax.testing.trained(law), S, Flow(steps=500), budget=1000, seed=0)
        >>> bool((c.sample(100, score=1.0)[:, 0].mean() - 1.0).abs() < 0.3)
        True
    """

    needs = frozenset({Need.DENOISER})
    recipe = Recipe(rate=2e-3, updates=50, average=0.99, cool=True)
    use = "a diffusion or flow model"
    reference = (
        "Ho & Salimans, Classifier-free diffusion guidance, 2022, algorithm 1, https://arxiv.org/abs/2207.12598; "
        "begun at zero as in Zhang et al., ControlNet, ICCV 2023, section 3.1, https://arxiv.org/abs/2302.05543"
    )

    def __init__(
        self,
        *,
        steps: int = 1000,
        batch: int = 64,
        drop: float = 0.1,
        asks: int = 0,
        asked: int = 64,
        sharpness: float | None = None,
    ) -> None:
        super().__init__(steps=steps, batch=batch, drop=drop, asks=asks, asked=asked, sharpness=sharpness)

    def rows(self, models: Models, part: Lesson, done: float, rng: torch.Generator) -> dict[str, Tensor]:
        """Return noised samples."""
        return noised(models.parent, tensor(part), rng)

    def loss(self, models: Models, rollout: Rollout) -> Float[Tensor, " rows"]:
        """Return the squared error of the velocity."""
        child = conditioned(models.child).asked(rollout["score"])
        v = velocity(child, rollout["x_t"], rollout["t"])
        return gap(v, rollout["noise"] - rollout["x_0"])
