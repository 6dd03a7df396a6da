"""Diffusion alignment as sampling: twisted particles whose score is let in little by little."""

from __future__ import annotations

from typing import ClassVar

from zmax.guide.particles.tds import TDS


class DAS(TDS):
    r"""Diffusion alignment as sampling: :class:`~zmax.guide.TDS` with tempering.

    Early previews say little, so their scores count little: :math:`\lambda_i` grows from 0 to 1 along the path. The
    paper lets it grow exponentially in the number of steps; here it follows the signal's share of x_i, which fits every
    schedule and number of steps: on three mixtures it cuts the spread of the estimate of Z from 0.3-0.8 of its value
    without tempering to 0.1 (`benchmarks/steering.py`).

    Args:
        temperature: T of the law, in units of the score. None lets it fall as fast as the effective sample size
            allows, to maximise.
        particles: number of particles.
        tempering: power p of :math:`\lambda_i = \bigl(\alpha^2 / (\alpha^2 + \sigma^2)\bigr)^p`.
        clip: longest shift, in units of the length of the noise.
        threshold: resample below this share of effective particles.
        resampling: "systematic" or "residual".

    Raises:
        InputError: an argument is out of its range.

    Example:
        >>> import torch, zmax
        >>> law = zmax.testing.gaussian_mixture([[-1.0], [1.0]], [[[0.1]], [[0.1]]], [0.5, 0.5])
        >>> S = zmax.testing.quadratic_score([[0.0]], [1.0])
        >>> r = zmax.sample(law.generator(steps=20), S, 1.0, zmax.guide.DAS(temperature=1.0, particles=256), 5200)
        >>> abs(float(r.population.log_z) - law.tilt(S).log_z) < 0.2
        True
    """

    use: ClassVar[str] = "draws of the tilted law of a diffusion model where early previews mislead"
    reference: ClassVar[str] = (
        "Kim et al., Test-time alignment of diffusion models without reward over-optimization, ICLR 2025, "
        "section 4, https://arxiv.org/abs/2501.05803"
    )

    def __init__(
        self,
        *,
        temperature: float | None = None,
        particles: int = 16,
        tempering: float = 2.0,
        clip: float = 1.0,
        threshold: float = 0.5,
        resampling: str = "systematic",
    ) -> None:
        super().__init__(
            temperature=temperature,
            particles=particles,
            tempering=tempering,
            clip=clip,
            threshold=threshold,
            resampling=resampling,
        )
