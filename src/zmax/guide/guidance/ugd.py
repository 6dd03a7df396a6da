"""Universal guidance: through the network, past it, and with steps taken again."""

from __future__ import annotations

from typing import ClassVar

from zmax.guide.guidance.tfg import TFG


class UGD(TFG):
    r"""Universal guidance: forward guidance through the network, backward guidance of the preview, and recurrence.

    .. math:: \xi = \zeta + (1 - \mu) \frac{c}{T} \nabla_{x_t} S(\hat x_0) + \mu \frac b c \Delta, \qquad
              \Delta \leftarrow \Delta + \frac{r^2}{n T} \nabla_{x_0} S(\hat x_0 + \Delta) \quad n \text{ times},

    and each step is taken again from its end with fresh noise, as in :class:`~zmax.guide.FreeDoM`. The most thorough
    guidance, and the dearest: n + 1 network evaluations for each time that a step is taken.

    Args:
        temperature: T of the law, in units of the score. None maximises.
        strength: length of the shift in units of the noise's, where there is no temperature; None finds it.
        mu: share of backward guidance.
        iterations: n.
        recurrence: times that each step is taken.
        clip: longest shift at a temperature, in units of the length of the noise.
        rows: points on their way at once.

    Raises:
        InputError: an argument is out of its range, or a strength stands beside a temperature.

    Example:
        >>> import torch, zmax
        >>> law = zmax.testing.gaussian_mixture(torch.zeros(1, 8), torch.eye(8)[None], [1.0])
        >>> S = zmax.testing.quadratic_score(b=[1.0] * 8)
        >>> r = zmax.maximize(law.generator(steps=10), S, zmax.guide.UGD(), budget=1920)
        >>> r.best.score > 10  # the best of as many plain samples is near 6
        True
    """

    use: ClassVar[str] = "guidance of a diffusion model where network evaluations are cheap"
    reference: ClassVar[str] = (
        "Bansal et al., Universal guidance for diffusion models, 2023, algorithm 1, https://arxiv.org/abs/2302.07121"
    )

    def __init__(
        self,
        *,
        temperature: float | None = None,
        strength: float | None = None,
        mu: float = 0.5,
        iterations: int = 1,
        recurrence: int = 2,
        clip: float = 1.0,
        rows: int = 16,
    ) -> None:
        super().__init__(
            temperature=temperature,
            strength=strength,
            mu=mu,
            iterations=iterations,
            recurrence=recurrence,
            clip=clip,
            rows=rows,
        )
