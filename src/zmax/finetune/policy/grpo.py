"""Flow-GRPO with exact KLs: policy gradient towards the tilted law of whole paths, within a trust region."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from zmax.core.checks import not_negative, positive
from zmax.core.tuner import Check, Models, Recipe, Rollout
from zmax.finetune.policy.paths import PathTuner, asked
from zmax.generators.diffusion.path import Path
from zmax.kit.path_kl import leverage, shift_kl
from zmax.kit.scale import Scale

APART = 1e-2
"""How far previews are moved to see whether the KL has a gradient."""


class GRPO(PathTuner):
    r"""Weigh steps by their path's score, held to the parent by the exact KL of each step.

    .. math:: L_i = -m_i A_i \rho_i + \lambda\, KL_i(\theta \| parent), \qquad
        KL_i(\theta \| o) = \frac{b_i^2}{2 c_i^2} \|\hat x_0 - \hat x_0^o\|^2, \qquad
        A_i = \frac{S}{T} - \lambda \sum_{j \ne i} \log \frac{q_j}{p_j} - \text{mean}

    where :math:`m_i = 0` once :math:`KL_i(\theta \| old)` exceeds a bound and the step would lead further (Flow-DPPO's
    mask, in place of a clipped ratio). Advantages keep the units of the score: what the other steps of the path have
    cost in KL is part of them, so with :math:`\lambda = 1` the gradient is that of KL(child || tilted law) over whole
    paths, and vanishes without noise at that law. Flow-GRPO divides by the standard deviation of the scores and leaves
    the other steps' cost out, for which :math:`\lambda` has no fixed meaning.

    Args:
        batch: paths a round.
        times: steps of each path that are trained on, drawn at random.
        temperature: T, in units of the score; half the spread of the parent's scores if None, with a ceiling a
            sixteenth.
        keep: :math:`\lambda`, what a nat of KL costs; 0 for none.
        bound: largest KL of a step to the old policy, in nats.

    Raises:
        InputError: an argument is out of range.

    Example:
        >>> GRPO(batch=8, temperature=0.5).keep
        1.0
    """

    recipe = Recipe(rate=1e-3, updates=8, average=0.98)
    use = "a diffusion or flow model, S a black box, paths to follow the tilted law"
    reference = (
        "Liu et al., Flow-GRPO, NeurIPS 2025, equations 5 to 9, https://arxiv.org/abs/2505.05470; the mask follows "
        "Flow-DPPO"
    )

    def __init__(
        self,
        *,
        batch: int = 64,
        times: int = 8,
        temperature: float | None = None,
        keep: float = 1.0,
        bound: float = 0.02,
    ) -> None:
        positive("GRPO", temperature=temperature, bound=bound)
        not_negative("GRPO", keep=keep)
        super().__init__(batch=batch, times=times, kept=keep)
        self.temperature, self.keep, self.bound = temperature, keep, bound

    def worth(self, score: Tensor, ok: Tensor, scale: Scale) -> Float[Tensor, " n"]:
        """Return scores over T."""
        return torch.where(ok, score.double(), 0.0) / scale.temperature(self.temperature)

    def loss(self, models: Models, rollout: Rollout) -> Float[Tensor, " rows"]:
        """Return minus the weighted ratio where the trust region allows it, and the KL to the parent."""
        x_0, log_ratio, path = asked(models.child, rollout)
        advantage, ratio = rollout["advantage"].to(x_0), log_ratio.exp()
        with torch.no_grad():
            further = advantage * log_ratio > 0
            inside = step_kl(path, rollout, x_0, "old") <= self.bound
        loss = -advantage * ratio * (inside | ~further)
        return loss + self.keep * step_kl(path, rollout, x_0, "parent") if self.keep else loss

    def checks(self, models: Models, rollout: Rollout) -> list[Check]:
        """Say whether the KL to the parent has a gradient once they differ, besides what holds for all policies."""
        found = super().checks(models, rollout)
        if not self.keep:
            return found
        with torch.no_grad():
            x_0, _, path = asked(models.child, rollout)
        with torch.enable_grad():
            point = (x_0 + APART).detach().requires_grad_()
            (slope,) = torch.autograd.grad(step_kl(path, rollout, point, "parent").sum(), point)
        size = float(slope.norm())
        return [*found, Check("the KL has a gradient", size > 0, f"norm {size:.3g} where previews are {APART} apart")]


def step_kl(path: Path, rollout: Rollout, x_0: Float[Tensor, "n ..."], other: str) -> Float[Tensor, " n"]:
    """Return the exact KL of each row's step from a model that sees x_0 to another one, in nats."""
    return shift_kl(leverage(path)[rollout["step"].cpu()].to(x_0), x_0 - rollout[other].to(x_0))
