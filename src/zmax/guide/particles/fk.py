"""Feynman-Kac steering: resample particles by what their previews score."""

from __future__ import annotations

from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from zmax.core.checks import positive, share, whole
from zmax.core.errors import InputError
from zmax.guide.particles.smc import Cloud, Particles, checked_resampling, checked_tempering, heat

POTENTIALS = ("diff", "max", "add")


class FKSteering(Particles):
    r"""Feynman-Kac steering: particles walk the plain path and are resampled by potentials of their previews.

    With the tempered scores of previews :math:`s_i = \lambda_i S(E[x_0 | x_i])`, the log of the product of potentials
    up to step i is

    .. math:: V_i = \frac{s_i}{T}\ (\text{diff}), \quad \sum_{k \le i} \max_{j \le k} \frac{s_j}{T}\ (\text{max}),
              \quad \sum_{k \le i} \sum_{j \le k} \frac{s_j}{T}\ (\text{add}),

    and :math:`V_N = S(x_0) / T` at the end, so that all three are exact for the law tilted by :math:`e^{S/T}`; they
    differ in how early they choose. "max" and "add" choose early and often, so at a given temperature their weights
    degenerate at the end: they are for maximising. S may be a black box.

    Args:
        temperature: T of the law, in units of the score. None lets it fall as fast as the effective sample size
            allows, to maximise.
        particles: number of particles.
        potential: "diff", "max" or "add".
        tempering: power p of :math:`\lambda_i = \bigl(\alpha^2 / (\alpha^2 + \sigma^2)\bigr)^p`, which multiplies
            the scores of previews; 0 is the paper's.
        every: steps between two scorings; the end is always scored.
        ahead: denoising steps that sharpen a preview before it is scored, one more network evaluation each.
        threshold: resample below this share of effective particles.
        resampling: "systematic" or "residual".

    Raises:
        InputError: an argument is out of its range.

    Example:
        >>> import torch, zmax
        >>> law = zmax.testing.gaussian_mixture([[-1.0], [1.0]], [[[0.1]], [[0.1]]], [0.5, 0.5])
        >>> S = zmax.testing.quadratic_score([[0.0]], [1.0])
        >>> method = zmax.guide.FKSteering(temperature=1.0, particles=256)
        >>> r = zmax.sample(law.generator(steps=20), S, 1.0, method, budget=5200)
        >>> abs(float(r.population.log_z) - law.tilt(S).log_z) < 0.2
        True
    """

    use: ClassVar[str] = "draws or best samples of a diffusion model under a black-box score, path by path"
    reference: ClassVar[str] = (
        "Singhal et al., A general framework for inference-time scaling and steering of diffusion models, 2025, "
        "section 3, https://arxiv.org/abs/2501.06848"
    )

    def __init__(
        self,
        *,
        temperature: float | None = None,
        particles: int = 16,
        potential: str = "diff",
        tempering: float = 2.0,
        every: int = 1,
        ahead: int = 0,
        threshold: float = 0.5,
        resampling: str = "systematic",
    ) -> None:
        positive("FKSteering", temperature=temperature)
        whole("FKSteering", every=every)
        whole("FKSteering", least=0, ahead=ahead)
        whole("FKSteering", least=2, particles=particles)
        share("FKSteering", threshold=threshold)
        checked_resampling("FKSteering", resampling)
        checked_tempering("FKSteering", tempering)
        if potential not in POTENTIALS:
            raise InputError("FKSteering(potential=...)", expected=", ".join(POTENTIALS), got=repr(potential))
        self.temperature = temperature
        self.particles = particles
        self.potential = potential
        self.tempering = tempering
        self.every = every
        self.ahead = ahead
        self.threshold = threshold
        self.resampling = resampling

    def scores(self, state: Cloud) -> bool:
        """Score every so many steps."""
        return (state.walk.step + 1) % self.every == 0

    def potentials(
        self, state: Cloud, score: Float[Tensor, " n"], inverse: float
    ) -> tuple[Float[Tensor, " n"], Float[Tensor, " n"]]:
        """Return the log product of potentials so far, and the largest or the sum of the scores so far."""
        score = heat(state.walk, state.space, self.tempering) * score
        memory = torch.fmax(state.memory, score) if self.potential == "max" else state.memory.nan_to_num() + score
        if self.potential == "diff" or state.walk.at_end(state.space):
            return score * inverse, memory
        return state.potential + memory * inverse, memory

    def shift(self, state: Cloud, grad: Float[Tensor, "n ..."] | None) -> None:
        """Leave the noise as it is."""
