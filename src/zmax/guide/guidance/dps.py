"""Diffusion posterior sampling: guidance by the gradient of the preview's score, through the network."""

from __future__ import annotations

from typing import ClassVar

from zmax.guide.guidance.tfg import TFG


class DPS(TFG):
    r"""Diffusion posterior sampling: the noise of each step is shifted along the gradient through the network.

    .. math:: \xi = \zeta + \frac{c}{T} \nabla_{x_t} S\bigl(E[x_0 | x_t]\bigr), \qquad \zeta \sim N(0, I)

    where c is the step's own noise scale, so that nothing is to be tuned at a temperature. For a Gaussian law and a
    linear S it draws from the tilted law, up to the error of the steps; elsewhere it is an approximation. Without a
    temperature the shift has a length found in the first passes; see :class:`~zmax.guide.TFG`.

    Args:
        temperature: T of the law, in units of the score. None maximises.
        strength: length of the shift in units of the noise's, where there is no temperature; None finds it.
        clip: longest shift at a temperature, in units of the length of the noise.
        rows: points on their way at once.

    Raises:
        InputError: an argument is out of its range, or a strength stands beside a temperature.

    Example:
        >>> import zmax
        >>> law = zmax.testing.gaussian_mixture([[0.0]], [[[1.0]]], [1.0])
        >>> S = zmax.testing.quadratic_score(b=[0.5])
        >>> method = zmax.guide.DPS(temperature=1.0, rows=128)
        >>> draws = zmax.sample(law.generator(steps=20), S, 1.0, method, budget=2560).population
        >>> abs(float(draws.score.mean()) - 0.25) < 0.15  # the tilted law is N(0.5, 1)
        True
    """

    use: ClassVar[str] = "a first gradient method for a diffusion model, one backward a step"
    reference: ClassVar[str] = (
        "Chung et al., Diffusion posterior sampling for general noisy inverse problems, ICLR 2023, algorithm 1, "
        "https://arxiv.org/abs/2209.14687"
    )

    def __init__(
        self, *, temperature: float | None = None, strength: float | None = None, clip: float = 1.0, rows: int = 16
    ) -> None:
        super().__init__(temperature=temperature, strength=strength, clip=clip, rows=rows)
