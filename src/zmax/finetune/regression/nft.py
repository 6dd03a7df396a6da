"""DiffusionNFT: contrast an implicit better and an implicit worse policy on the forward process."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from zmax.core.checks import not_negative, positive
from zmax.core.samples import spread
from zmax.core.tuner import Models, Recipe, Rollout
from zmax.finetune.regression.forward import ForwardTuner, target
from zmax.kit.forward import gap, has_ends, velocity
from zmax.kit.scale import Scale, groupwise

LEAST = 1e-5
"""Of the errors that losses are divided by."""


class NFT(ForwardTuner):
    r"""Train a positive policy on good samples and its mirror image, a negative one, on bad samples.

    .. math:: L = \frac{c}{b}\Bigl[r\, \ell(v^+) + (1 - r)\, \ell(v^-)\Bigr] + \lambda \|v - v^{parent}\|^2, \quad
        v^\pm = (1 \mp b)\, v^{old} \pm b\, v, \quad
        r = \tfrac12 + \tfrac12 \mathrm{clip}\Bigl(\frac{S - \bar S}{c\, \hat\sigma}, -1, 1\Bigr)

    with the error of x_0 divided by its own size,
    :math:`\ell(v) = \|\hat x_0(v) - x_0\|^2 / \mathrm{sg}\, |\hat x_0(v) - x_0|`. A full step tilts the old policy by
    :math:`e^{(2 r - 1) / b}` to first order, so rounds go on to ever higher scores: stop by goal or by the rule that
    chooses weights. :math:`\lambda` holds the child near the parent without aiming at a tilted law.

    Args:
        batch: samples a round.
        times: noised rows of each.
        strength: b, the smaller the larger the steps.
        clip: c, in standard deviations of the round's scores.
        anchor: :math:`\lambda`; 0 for none.

    Raises:
        InputError: an argument is out of range.

    Example:
        >>> NFT(batch=8).recipe.lag
        0.5
    """

    recipe = Recipe(rate=1e-3, updates=4, lag=0.5)
    use = "a diffusion or flow model, S a black box, to be raised as far as held-out scores allow"
    reference = (
        "Zheng et al., DiffusionNFT: Online diffusion reinforcement with forward process, 2025, equations 5 to 7 and "
        "section 3.3, https://arxiv.org/abs/2509.16117"
    )

    def __init__(
        self, *, batch: int = 64, times: int = 4, strength: float = 1.0, clip: float = 5.0, anchor: float = 1e-4
    ) -> None:
        positive("NFT", strength=strength, clip=clip)
        not_negative("NFT", anchor=anchor)
        super().__init__(batch=batch, times=times, anchored=anchor > 0)
        self.strength, self.clip, self.anchor = strength, clip, anchor

    def advantage(
        self, models: Models, x_0: Tensor, score: Tensor, scale: Scale, rng: torch.Generator
    ) -> Float[Tensor, " n"]:
        """Return scores less their mean, in standard deviations, clipped."""
        return groupwise(score, torch.ones_like(score, dtype=torch.bool)).clamp(-self.clip, self.clip)

    def loss(self, models: Models, rollout: Rollout) -> Float[Tensor, " rows"]:
        """Return the weighted errors of the positive and the negative policy."""
        child = models.child
        assert has_ends(child), "made so before training"
        v = velocity(child, rollout["x_t"], rollout["t"])
        old, wanted = rollout["old"].to(v), target(rollout).to(v)
        alpha, sigma = (level(rollout["t"]).to(v) for level in (child.schedule.alpha, child.schedule.sigma))
        size = spread(sigma / (alpha + sigma), v)
        better, worse = (_scaled(size * (old + b * (v - old) - wanted)) for b in (self.strength, -self.strength))
        good = 0.5 + rollout["advantage"].to(v) / self.clip / 2
        loss = (good * better + (1 - good) * worse) * self.clip / self.strength
        return loss + self.anchor * gap(v, rollout["parent"]) if self.anchor else loss


def _scaled(error: Float[Tensor, "n ..."]) -> Float[Tensor, " n"]:
    flat = error.flatten(1)
    return flat.square().mean(1) / flat.detach().abs().mean(1).clamp_min(LEAST)
