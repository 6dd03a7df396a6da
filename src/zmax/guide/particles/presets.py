"""Published kinds of twisted particles."""

from __future__ import annotations

from zmax.core.presets import preset
from zmax.guide.particles.tds import TDS


@preset(tempering=2.0)
class DAS(TDS):
    r"""Diffusion alignment as sampling: :class:`~zmax.guide.TDS` with tempering.

    Early previews say little, so their scores count little: :math:`\lambda_i` grows from 0 to 1 along the path. The
    paper lets it grow exponentially in the number of steps; here it follows the signal's share of x_i, which fits every
    schedule and number of steps: on three mixtures it cuts the spread of the estimate of Z from 0.3-0.8 of its value
    without tempering to 0.1 (`benchmarks/steering.py`).

    Example:
        >>> import torch, zmax
        >>> law = zmax.testing.gaussian_mixture([[-1.0], [1.0]], [[[0.1]], [[0.1]]], [0.5, 0.5])
        >>> S = zmax.testing.quadratic_score([[0.0]], [1.0])
        >>> r = zmax.sample(law.generator(steps=20), S, 1.0, zmax.guide.DAS(temperature=1.0, particles=256), 5200)
        >>> abs(float(r.population.log_z) - law.tilt(S).log_z) < 0.2
        True
    """

    use = "draws of the tilted law of a diffusion model where early previews mislead"
    reference = (
        "Kim et al., Test-time alignment of diffusion models without reward over-optimization, ICLR 2025, "
        "section 4, https://arxiv.org/abs/2501.05803"
    )
