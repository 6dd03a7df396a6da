"""The twisted diffusion sampler: particles steered by the gradients of their previews' scores, put right by weights."""

from __future__ import annotations

import math
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from zmax.core.checks import positive, share, whole
from zmax.core.strategy import Need
from zmax.generators.diffusion.path import path_of
from zmax.guide.particles.smc import Cloud, Particles, checked_resampling, checked_tempering, heat
from zmax.kit.rows import cut
from zmax.kit.walk import Grad


class TDS(Particles):
    r"""Twisted diffusion sampler: noise drawn around the gradient of the preview's score, weights that correct it.

    With the preview :math:`\hat x_0(x_i)`, a step :math:`x_{i+1} = \mu(x_i) + c_i \xi` and a rising
    :math:`\lambda_i \in [0, 1]`, :math:`\lambda_N = 1`,

    .. math:: V_i = \lambda_i S(\hat x_0(x_i)) / T, \quad
              \xi \sim N\!\bigl(c_i \nabla_{x_i} V_i,\, I\bigr), \quad
              \ln w \leftarrow \ln w + V_i - V_{i-1} + \ln N(\xi; 0, I) - \ln N(\xi; c_i \nabla V_i, I)

    which is exact for the law tilted by :math:`e^{S/T}` whatever the shift; a shift longer than `clip` times the
    noise's usual length is cut to that. One network evaluation and one backward pass a particle and step.

    Args:
        temperature: T of the law, in units of the score. None lets it fall as fast as the effective sample size
            allows, to maximise.
        particles: number of particles.
        tempering: power p of :math:`\lambda_i = \bigl(\alpha^2 / (\alpha^2 + \sigma^2)\bigr)^p`, the signal's share of
            x_i; 0 means 1 throughout.
        clip: longest shift, in units of the length of the noise.
        threshold: resample below this share of effective particles.
        resampling: "systematic" or "residual".

    Raises:
        InputError: an argument is out of its range.

    Example:
        >>> import torch, zmax
        >>> law = zmax.testing.gaussian_mixture([[-1.0], [1.0]], [[[0.1]], [[0.1]]], [0.5, 0.5])
        >>> S = zmax.testing.quadratic_score([[0.0]], [1.0])
        >>> r = zmax.sample(law.generator(steps=20), S, 1.0, zmax.guide.TDS(temperature=1.0, particles=256), 5200)
        >>> abs(float(r.population.log_z) - law.tilt(S).log_z) < 0.2
        True
    """

    needs = frozenset({Need.BETWEEN, Need.GRADIENT, Need.PATH})
    use: ClassVar[str] = "exact draws of the tilted law of a diffusion model, differentiable score"
    reference: ClassVar[str] = (
        "Wu et al., Practical and asymptotically exact conditional sampling in diffusion models, NeurIPS 2023, "
        "algorithm 1, https://arxiv.org/abs/2306.17775"
    )
    grad: ClassVar[Grad] = "point"

    def __init__(
        self,
        *,
        temperature: float | None = None,
        particles: int = 16,
        tempering: float = 0.0,
        clip: float = 1.0,
        threshold: float = 0.5,
        resampling: str = "systematic",
    ) -> None:
        name = type(self).__name__
        positive(name, temperature=temperature, clip=clip)
        whole(name, least=2, particles=particles)
        share(name, threshold=threshold)
        checked_resampling(name, resampling)
        checked_tempering(name, tempering)
        self.temperature = temperature
        self.particles = particles
        self.tempering = tempering
        self.clip = clip
        self.threshold = threshold
        self.resampling = resampling

    def scores(self, state: Cloud) -> bool:
        """Score every preview."""
        return True

    def potentials(
        self, state: Cloud, score: Float[Tensor, " n"], inverse: float
    ) -> tuple[Float[Tensor, " n"], Float[Tensor, " n"]]:
        """Return the tempered score over the temperature."""
        return heat(state.walk, state.space, self.tempering) * inverse * score, score

    def shift(self, state: Cloud, grad: Float[Tensor, "n ..."] | None) -> Float[Tensor, "n ..."]:
        """Return the step's noise scale times the potential's gradient, cut to the longest shift."""
        assert grad is not None, "asked for"
        scale = (
            path_of(state.space).factors(state.walk.step)[2]
            * heat(state.walk, state.space, self.tempering)
            * state.inverse
        )
        shift = grad.double() * scale
        return cut(shift, self.clip * math.sqrt(grad[0].numel()))
