"""Ask a diffusion or flow model as it is: a regressor of the score, learned on noisy samples, guides its path."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from zmax.core.generator import DiffusionGenerator
from zmax.core.strategy import Need
from zmax.core.tuner import Lesson, Models, Recipe, Rollout
from zmax.generators.asked_path import AskedPath, angles
from zmax.kit.asked import conditioned
from zmax.kit.forward import noised
from zmax.kit.learner import PathLearner, tensor


class RegressorGuidance(PathLearner):
    r"""Guide the parent's path by a regressor of scores that learned noisy samples; the parent is not trained.

    .. math:: L = -E_{t, \epsilon} \log p_\phi(w | x_t), \quad p_\phi = N(w; m_\phi(x_t), v_\phi(x_t)), \qquad
        D_s(x_t) = E[x_0 | x_t] + \frac{\sigma_t^2}{\alpha_t} \nabla_{x_t} \log p_\phi(w | x_t)

    with w the scores, normalised by their quantiles, each on its own; see
    :class:`~zmax.generators.asked_path.AskedPath`. Exact where p(w | x_t) is Gaussian and the regressor knows it: for a
    Gaussian law and a linear score. Guidance :math:`\omega` makes the push :math:`1 + \omega` times as long. Every step
    of a sample costs a slope of the small regressor, and none of the network.

    Args:
        steps: optimiser steps of the regressor.
        batch: rows of a step.
        asks: how often samples above the best are asked for, scored and added, at equal shares of the steps.
        asked: samples each time.
        sharpness: k of the weights 1 / (k N + rank) by which samples are drawn from the lesson; None draws all alike.

    Raises:
        InputError: an argument is out of range.

    Example:
        >>> import zmax
        >>> law = zmax.testing.gaussian_mixture([[0.0, 0.0]], torch.eye(2)[None], [1.0])
        >>> S = zmax.score(lambda x: x[:, 0], name="first")
        >>> c = zmax.condition(law.generator(steps=20, eta=0.0), S, RegressorGuidance(steps=400), budget=1000, seed=0)
        >>> bool((c.sample(100, score=1.0)[:, 0].mean() - 1.0).abs() < 0.3)
        True
    """

    moves = "path"
    needs = frozenset({Need.DENOISER})
    recipe = Recipe(rate=2e-3, updates=50, decay=0.05, average=0.98, cool=True)
    use = "a diffusion or flow model that is to stay as it is, pipelines too; 'flow' comes nearer to what is asked"
    reference = (
        "Dhariwal & Nichol, Diffusion models beat GANs on image synthesis, NeurIPS 2021, section 4.2, "
        "https://arxiv.org/abs/2105.05233, with a Gaussian regressor in the classifier's place"
    )

    def __init__(
        self,
        *,
        steps: int = 1500,
        batch: int = 64,
        asks: int = 0,
        asked: int = 64,
        sharpness: float | None = None,
    ) -> None:
        super().__init__(steps=steps, batch=batch, drop=0.0, asks=asks, asked=asked, sharpness=sharpness)

    def rows(self, models: Models, part: Lesson, done: float, rng: torch.Generator) -> dict[str, Tensor]:
        """Return noised samples, with the scores that they should be seen to have."""
        return noised(models.parent, tensor(part), rng) | {"known": part.score.float()}

    def loss(self, models: Models, rollout: Rollout) -> Float[Tensor, " rows"]:
        """Return minus the log-density of the scores."""
        ask = conditioned(models.child).ask
        assert isinstance(ask, AskedPath), "made so before training"
        assert isinstance(models.parent, DiffusionGenerator), "it has a denoiser"
        y, angle, _ = angles(models.parent, rollout["x_t"], rollout["t"])
        return -ask.log_prob(y, angle, rollout["known"])
