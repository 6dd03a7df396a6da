"""FreeDoM: guidance through the network, with each step taken more than once."""

from __future__ import annotations

from typing import ClassVar

from zmax.guide.guidance.tfg import TFG


class FreeDoM(TFG):
    r"""Training-free energy guidance with time travel: :class:`~zmax.guide.DPS` whose steps are taken again.

    From the end x_s of a guided step the forward process leads back,

    .. math:: x_t' = \frac{\alpha_t}{\alpha_s} x_s + \sqrt{\sigma_t^2 - \frac{\alpha_t^2}{\alpha_s^2} \sigma_s^2}\,
              \epsilon, \qquad \epsilon \sim N(0, I),

    and the step is guided anew from there, so that what guidance has broken can heal. The noise that would have led to
    x_t' takes the place of the one that led to x_t; to maximise it is brought to its length, so that it stays
    plausible. (The paper travels in the middle of the path alone.)

    Args:
        temperature: T of the law, in units of the score. None maximises.
        strength: length of the shift in units of the noise's, where there is no temperature; None finds it.
        recurrence: times that each step is taken, each for one network evaluation.
        clip: longest shift at a temperature, in units of the length of the noise.
        rows: points on their way at once.

    Raises:
        InputError: an argument is out of its range, or a strength stands beside a temperature.

    Example:
        >>> import torch, zmax
        >>> law = zmax.testing.gaussian_mixture(torch.zeros(1, 8), torch.eye(8)[None], [1.0])
        >>> S = zmax.testing.quadratic_score(b=[1.0] * 8)
        >>> r = zmax.maximize(law.generator(steps=10), S, zmax.guide.FreeDoM(), budget=960)
        >>> r.best.score > 10  # the best of as many plain samples is near 6
        True
    """

    use: ClassVar[str] = "guidance of a diffusion model that one pass is too short for"
    reference: ClassVar[str] = (
        "Yu et al., FreeDoM: training-free energy-guided conditional diffusion model, ICCV 2023, algorithm 2, "
        "https://arxiv.org/abs/2303.09833"
    )

    def __init__(
        self,
        *,
        temperature: float | None = None,
        strength: float | None = None,
        recurrence: int = 2,
        clip: float = 1.0,
        rows: int = 16,
    ) -> None:
        super().__init__(temperature=temperature, strength=strength, recurrence=recurrence, clip=clip, rows=rows)
