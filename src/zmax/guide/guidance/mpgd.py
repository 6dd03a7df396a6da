"""Manifold preserving guided diffusion: guidance of the preview itself, without the network's Jacobian."""

from __future__ import annotations

from typing import ClassVar

from zmax.guide.guidance.tfg import TFG


class MPGD(TFG):
    r"""Manifold preserving guided diffusion without a projection: previews are moved along the score's own gradient.

    .. math:: \hat x_0 \leftarrow \hat x_0 + \frac{r^2}{T} \nabla_{x_0} S(\hat x_0), \qquad
              r^2 = \frac{\sigma^2}{\alpha^2 + \sigma^2},

    which is the noise's shift by b / c times that. The network is never differentiated, so a step takes the time and
    memory of a plain one; in exchange :math:`r^2 I` stands for the covariance of x_0 given x_t, which at a temperature
    is the law's own for data of size 1 alone.

    Args:
        temperature: T of the law, in units of the score. None maximises.
        strength: length of the shift in units of the noise's, where there is no temperature; None finds it.
        iterations: steps by which previews are moved; each beyond the first is one more network evaluation.
        clip: longest shift at a temperature, in units of the length of the noise.
        rows: points on their way at once.

    Raises:
        InputError: an argument is out of its range, or a strength stands beside a temperature.

    Example:
        >>> import torch, zmax
        >>> law = zmax.testing.gaussian_mixture(torch.zeros(1, 8), torch.eye(8)[None], [1.0])
        >>> S = zmax.testing.quadratic_score(b=[1.0] * 8)
        >>> r = zmax.maximize(law.generator(steps=10), S, zmax.guide.MPGD(), budget=480)
        >>> r.best.score > 10, r.ledger.nfe_backward  # the best of as many plain samples is near 6
        (True, 0)
    """

    use: ClassVar[str] = "guidance of a diffusion model too large to differentiate"
    reference: ClassVar[str] = (
        "He et al., Manifold preserving guided diffusion, ICLR 2024, algorithm 1, https://arxiv.org/abs/2311.16424"
    )

    def __init__(
        self,
        *,
        temperature: float | None = None,
        strength: float | None = None,
        iterations: int = 1,
        clip: float = 1.0,
        rows: int = 16,
    ) -> None:
        super().__init__(
            temperature=temperature, strength=strength, mu=1.0, iterations=iterations, clip=clip, rows=rows
        )
