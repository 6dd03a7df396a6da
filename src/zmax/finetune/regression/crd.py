"""Centred reward distillation: what the model itself says a sample is worth must differ as the scores do."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from zmax.core.checks import not_negative, positive, whole
from zmax.core.samples import spread
from zmax.core.tuner import Models, Recipe, Rollout
from zmax.finetune.regression.forward import ForwardTuner, target
from zmax.kit.forward import gap, has_ends, velocity
from zmax.kit.log_ratio import log_ratio
from zmax.kit.scale import Scale


class CRD(ForwardTuner):
    r"""Follow the tilted law: move velocities by what a sample's score has over the reward that the model implies.

    .. math:: L = \bigl\|v - v^{old} - (\gamma + \eta\, r)\,(\epsilon - x_0 - v^{old})\bigr\|^2, \qquad
        r = \frac{S}{T} - \lambda \log \frac{q_{old}(x_0)}{p(x_0)} - \text{mean}

    The log-ratio to the parent is the implied reward, found by the errors of both denoisers
    (:func:`~zmax.kit.log_ratio.log_ratio`); the constant that is not known cancels by centring. To first order a step
    makes of the old policy :math:`q^{1 - \lambda\eta}\, (p^\lambda e^{S / T})^{\eta}`, so with :math:`\lambda = 1` it
    rests at the tilted law :math:`p\, e^{S / T}` alone. The share :math:`\gamma` trains on the policy's own samples,
    without which its denoiser drifts away from their law.

    The paper squares the difference of centred rewards within each noised row; the noise of a row's implied reward is
    then part of what is descended. Here that reward is averaged over other noises first, and what is descended is the
    squared distance to the step that the residual calls for, which is smallest for the same velocity where the
    posterior of :math:`x_0` is round.

    Args:
        batch: samples a round.
        times: noised rows of each.
        temperature: T, in units of the score; half the spread of the parent's scores if None, with a ceiling a
            sixteenth.
        keep: :math:`\lambda`, what a nat of log-ratio costs.
        pace: :math:`\eta`.
        own: :math:`\gamma`.
        pairs: of noised copies of a sample that its implied reward is averaged over.
        clip: largest size of r.

    Raises:
        InputError: an argument is out of range.

    Example:
        >>> CRD(batch=8, temperature=0.5).keep
        1.0
    """

    recipe = Recipe(rate=1e-3, updates=16, average=0.99)
    use = "a diffusion or flow model, S a black box, samples to follow the tilted law"
    reference = (
        "Zhu et al., Diffusion reinforcement learning via centered reward distillation, 2026, section 3, "
        "https://arxiv.org/abs/2603.14128"
    )

    def __init__(
        self,
        *,
        batch: int = 64,
        times: int = 8,
        temperature: float | None = None,
        keep: float = 1.0,
        pace: float = 0.2,
        own: float = 0.1,
        pairs: int = 8,
        clip: float = 5.0,
    ) -> None:
        positive("CRD", temperature=temperature, pace=pace, clip=clip)
        whole("CRD", pairs=pairs)
        not_negative("CRD", keep=keep, own=own)
        super().__init__(batch=batch, times=times, anchored=False)
        self.temperature, self.keep, self.pace, self.own = temperature, keep, pace, own
        self.pairs, self.clip = pairs, clip

    def advantage(
        self, models: Models, x_0: Tensor, score: Tensor, scale: Scale, rng: torch.Generator
    ) -> Float[Tensor, " n"]:
        """Return what scores have over the implied reward, centred and clipped."""
        child, parent = models.child, models.parent
        assert has_ends(child), "made so before training"
        assert has_ends(parent), "made so before training"
        rest = score.double() / scale.temperature(self.temperature)
        if self.keep:
            rest = rest - self.keep * log_ratio(child, parent, x_0, self.pairs, rng)
        return (rest - rest.mean()).clamp(-self.clip, self.clip)

    def loss(self, models: Models, rollout: Rollout) -> Float[Tensor, " rows"]:
        """Return the squared distance to the step that the residual calls for."""
        v = velocity(models.child, rollout["x_t"], rollout["t"])
        old = rollout["old"].to(v)
        share = self.own + self.pace * rollout["advantage"].to(v)
        return gap(v, old + spread(share, v) * (target(rollout).to(v) - old))
