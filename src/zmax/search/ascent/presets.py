"""Published kinds of zeroth-order ascent."""

from __future__ import annotations

from zmax.core.presets import preset
from zmax.core.strategy import Need
from zmax.search.ascent.zeroth import Zeroth


@preset(pairs=64, directions="gaussian")
class DNOHybrid(Zeroth):
    r"""Estimates the gradient of a black-box S at the sample and pulls it back to every noise of the path.

    .. math:: \hat\nabla_u S = J(u)^\top \frac{1}{c} \sum_{i=1}^{k}
              \frac{S(x + \sigma e_i) - S(x - \sigma e_i)}{2 \sigma}\, e_i, \qquad x = G(u)

    This is :class:`~zmax.search.Zeroth` where u holds the initial noise and those injected on the way, with more pairs:
    calls of S are few beside the networks of a decode. A chain is held on the typical shell of every block, and by
    nothing else: unlike :class:`~zmax.guide.DNO` it does not weigh the other moments of its noises, so look at the
    plausibility of what it finds.

    Example:
        >>> import zmax
        >>> law = zmax.testing.gaussian_mixture([[-1.0], [1.0]], [[[0.1]], [[0.1]]], [0.5, 0.5])
        >>> black = zmax.score(lambda x: -(x[:, 0] - 1.5).abs(), differentiable=False)
        >>> r = zmax.maximize(law.generator(steps=10), black, zmax.search.DNOHybrid(), budget=2000)
        >>> r.best.score > -0.05
        True
    """

    needs = frozenset({Need.BETWEEN, Need.JACOBIAN, Need.PATH})
    use = "black-box score over all noises of a sampler; calls of S are cheap beside decodes"
    reference = (
        "Tang et al., Inference-time alignment of diffusion models with direct noise optimization, ICML 2025, "
        "section 5, https://arxiv.org/abs/2405.18881"
    )
