"""Loss-guided diffusion: guidance by the score of many blurred previews instead of one."""

from __future__ import annotations

from typing import ClassVar

from zmax.guide.guidance.tfg import TFG


class LGDMC(TFG):
    r"""Loss-guided diffusion with Monte Carlo: :class:`~zmax.guide.DPS` with S averaged over what x_0 may become.

    .. math:: S_t = T \ln \frac1m \sum_{j=1}^m \exp \frac{S(E[x_0 | x_t] + r \epsilon_j)}{T}, \quad
              \epsilon_j \sim N(0, I), \quad r^2 = \frac{\sigma^2}{\alpha^2 + \sigma^2}

    The network runs once a step, S m times. It helps where S is rough, or says nothing of the blurred pictures that
    early previews are.

    Args:
        temperature: T of the law, in units of the score. None maximises.
        strength: length of the shift in units of the noise's, where there is no temperature; None finds it.
        smooth: number m of noises.
        clip: longest shift at a temperature, in units of the length of the noise.
        rows: points on their way at once.

    Raises:
        InputError: an argument is out of its range, or a strength stands beside a temperature.

    Example:
        >>> import torch, zmax
        >>> law = zmax.testing.gaussian_mixture(torch.zeros(1, 8), torch.eye(8)[None], [1.0])
        >>> S = zmax.testing.quadratic_score(b=[1.0] * 8)
        >>> r = zmax.maximize(law.generator(steps=10), S, zmax.guide.LGDMC(), budget=1920)
        >>> r.best.score > 10  # the best of as many plain samples is near 6
        True
    """

    use: ClassVar[str] = "guidance of a diffusion model by a rough score that is cheap beside the network"
    reference: ClassVar[str] = (
        "Song et al., Loss-guided diffusion models for plug-and-play controllable generation, ICML 2023, section 4, "
        "https://proceedings.mlr.press/v202/song23k.html"
    )

    def __init__(
        self,
        *,
        temperature: float | None = None,
        strength: float | None = None,
        smooth: int = 4,
        clip: float = 1.0,
        rows: int = 16,
    ) -> None:
        super().__init__(temperature=temperature, strength=strength, smooth=smooth, clip=clip, rows=rows)
