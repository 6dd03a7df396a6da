"""Advantage-weighted matching: the model's own loss, weighted by advantages of either sign."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from zmax.core.checks import not_negative, positive
from zmax.core.tuner import Check, Models, Recipe, Rollout
from zmax.finetune.regression.forward import ForwardTuner, target
from zmax.kit.forward import gap, velocity
from zmax.kit.scale import Scale, groupwise


class AWM(ForwardTuner):
    r"""Take the model's own loss for minus a log-probability, and clip its ratio to the old policy's as PPO does.

    .. math:: L = -\min\bigl(A \rho,\, A\, \mathrm{clip}(\rho, 1 - c, 1 + c)\bigr)
        + \nu \|v - v^{old}\|^2 + \lambda \|v - v^{parent}\|^2, \quad
        \rho = e^{\|v^{old} - v^*\|^2 - \|v - v^*\|^2}, \quad v^* = \epsilon - x_0

    At the old policy the gradient is that of :math:`A \|v - v^*\|^2`: good samples are matched and bad ones shunned.
    With :math:`A = (S - \bar S) / \hat\sigma` it goes on to ever higher scores: stop by goal or by the rule that
    chooses weights.

    Args:
        batch: samples a round.
        times: noised rows of each.
        clip: c, of the ratio.
        most: largest size of an advantage, in standard deviations of the round's scores.
        near: :math:`\nu`, of the distance to the old policy.
        anchor: :math:`\lambda`, of the distance to the parent; 0 for none.

    Raises:
        InputError: an argument is out of range.

    Example:
        >>> AWM(batch=8).recipe.lag
        0.3
    """

    recipe = Recipe(rate=1e-3, updates=4, lag=0.3)
    use = "a diffusion or flow model, S a black box, to be raised as far as held-out scores allow"
    reference = (
        "Xue et al., Advantage weighted matching: Aligning RL with pretraining in diffusion models, ICML 2026, "
        "section 4, https://arxiv.org/abs/2509.25050"
    )

    def __init__(
        self,
        *,
        batch: int = 64,
        times: int = 4,
        clip: float = 1.0,
        most: float = 5.0,
        near: float = 1.0,
        anchor: float = 1e-3,
    ) -> None:
        positive("AWM", clip=clip, most=most)
        not_negative("AWM", near=near, anchor=anchor)
        super().__init__(batch=batch, times=times, anchored=anchor > 0)
        self.clip, self.most, self.near, self.anchor = clip, most, near, anchor

    def advantage(
        self, models: Models, x_0: Tensor, score: Tensor, scale: Scale, rng: torch.Generator
    ) -> Float[Tensor, " n"]:
        """Return scores less their mean, in standard deviations, clipped."""
        return groupwise(score, torch.ones_like(score, dtype=torch.bool)).clamp(-self.most, self.most)

    def loss(self, models: Models, rollout: Rollout) -> Float[Tensor, " rows"]:
        """Return minus the clipped, weighted ratio, with what holds the child near."""
        v = velocity(models.child, rollout["x_t"], rollout["t"])
        ratio, advantage = self._ratio(v, rollout), rollout["advantage"].to(v)
        clipped = ratio.clamp(1 - self.clip, 1 + self.clip)
        loss = -torch.minimum(advantage * ratio, advantage * clipped)
        loss = loss + self.near * gap(v, rollout["old"]) if self.near else loss
        return loss + self.anchor * gap(v, rollout["parent"]) if self.anchor else loss

    def checks(self, models: Models, rollout: Rollout) -> list[Check]:
        """Say whether ratios begin at 1, besides what holds for all tuners of the forward process."""
        with torch.no_grad():
            ratio = self._ratio(velocity(models.child, rollout["x_t"], rollout["t"]), rollout)
        apart = float((ratio - 1).abs().max())
        return [Check("ratio 1", apart < 1e-3, f"at most {apart:.2g} off"), *super().checks(models, rollout)]

    @staticmethod
    def _ratio(v: Tensor, rollout: Rollout) -> Float[Tensor, " rows"]:
        wanted = target(rollout).to(v)
        return (gap(rollout["old"].to(v), wanted) - gap(v, wanted)).exp()
