"""DDPO: the policy gradient of a denoiser as a policy, with PPO's clipped ratio."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from zmax.core.checks import positive
from zmax.core.tuner import Models, Recipe, Rollout
from zmax.finetune.policy.paths import PathTuner, asked
from zmax.kit.scale import Scale, groupwise


class DDPO(PathTuner):
    r"""Raise the probability of the steps of good paths and lower that of bad ones, within a clipped ratio.

    .. math:: L = -\min\bigl(A \rho,\, A\, \mathrm{clip}(\rho, 1 - c, 1 + c)\bigr), \qquad
        A = \mathrm{clip}\Bigl(\frac{S - \bar S}{\hat\sigma}, -m, m\Bigr)

    with the ratio of a step's density under the child to that under the old policy. Nothing keeps the child near the
    parent, so it goes on until its samples are alike: stop by goal or by the rule that chooses weights.

    Args:
        batch: paths a round.
        times: steps of each path that are trained on, drawn at random.
        clip: c. The ratio is of the whole step; the authors' 1e-4 is for log-probabilities averaged over coordinates.
        most: m.

    Raises:
        InputError: an argument is out of range.

    Example:
        >>> DDPO(batch=8).clip
        0.2
    """

    recipe = Recipe(rate=3e-4, updates=2)
    use = "a diffusion or flow model, S a black box; the published baseline"
    reference = (
        "Black et al., Training diffusion models with reinforcement learning, ICLR 2024, section 4.3 and appendix "
        "(importance sampling), https://arxiv.org/abs/2305.13301"
    )

    def __init__(self, *, batch: int = 64, times: int = 8, clip: float = 0.2, most: float = 5.0) -> None:
        positive("DDPO", clip=clip, most=most)
        super().__init__(batch=batch, times=times, kept=0.0)
        self.clip, self.most = clip, most

    def worth(self, score: Tensor, ok: Tensor, scale: Scale) -> Float[Tensor, " n"]:
        """Return scores less their mean, in standard deviations, clipped."""
        return groupwise(score, ok).clamp(-self.most, self.most)

    def loss(self, models: Models, rollout: Rollout) -> Float[Tensor, " rows"]:
        """Return minus the clipped, weighted ratio."""
        _, log_ratio, _ = asked(models.child, rollout)
        ratio, advantage = log_ratio.exp(), rollout["advantage"].to(log_ratio)
        return -(advantage * ratio).minimum(advantage * ratio.clamp(1 - self.clip, 1 + self.clip))
