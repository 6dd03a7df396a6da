"""The hybrid gradient of direct noise optimisation: a black-box score over all noises of a sampler."""

from __future__ import annotations

from typing import ClassVar

from zmax.core.strategy import Need
from zmax.search.ascent.zeroth import Zeroth


class DNOHybrid(Zeroth):
    r"""Estimates the gradient of a black-box S at the sample and pulls it back to every noise of the path.

    .. math:: \hat\nabla_u S = J(u)^\top \frac{1}{c} \sum_{i=1}^{k}
              \frac{S(x + \sigma e_i) - S(x - \sigma e_i)}{2 \sigma}\, e_i, \qquad x = G(u)

    This is :class:`~zmax.search.Zeroth` where u holds the initial noise and those injected on the way, with more pairs:
    calls of S are few beside the networks of a decode. A chain is held on the typical shell of every block, and by
    nothing else: unlike :class:`~zmax.guide.DNO` it does not weigh the other moments of its noises, so look at the
    plausibility of what it finds.

    Args:
        step: first step of a chain, in units of the prior's standard deviation.
        batch: number of chains.
        pairs: antithetic pairs k for an estimate; a chain pays 1 + 2k calls and one decode and pull-back a step.
        sigma: width of a difference, in units of the standard deviation of the values within a sample.
        directions: "tangent" or "gaussian"; the paper's are Gaussian.
        patience: steps without improvement before a chain's step is halved.

    Raises:
        InputError: an argument is not a positive number, or `directions` is another word.

    Example:
        >>> import zmax
        >>> law = zmax.testing.gaussian_mixture([[-1.0], [1.0]], [[[0.1]], [[0.1]]], [0.5, 0.5])
        >>> black = zmax.score(lambda x: -(x[:, 0] - 1.5).abs(), differentiable=False)
        >>> r = zmax.maximize(law.generator(steps=10), black, zmax.search.DNOHybrid(), budget=2000)
        >>> r.best.score > -0.05
        True
    """

    needs = frozenset({Need.JACOBIAN, Need.PATH})
    use: ClassVar[str] = "black-box score over all noises of a sampler; calls of S are cheap beside decodes"
    reference: ClassVar[str] = (
        "Tang et al., Inference-time alignment of diffusion models with direct noise optimization, ICML 2025, "
        "section 5, https://arxiv.org/abs/2405.18881"
    )

    def __init__(
        self,
        *,
        step: float = 0.5,
        batch: int = 1,
        pairs: int = 64,
        sigma: float = 0.05,
        directions: str = "gaussian",
        patience: int = 5,
    ) -> None:
        super().__init__(step=step, batch=batch, pairs=pairs, sigma=sigma, directions=directions, patience=patience)
