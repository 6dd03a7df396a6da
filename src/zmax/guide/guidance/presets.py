"""Published kinds of guidance: each is training-free guidance with some of its arguments fixed."""

from __future__ import annotations

from zmax.core.presets import preset
from zmax.guide.guidance.tfg import TFG


@preset("temperature", "strength", "clip", "rows")
class DPS(TFG):
    r"""Diffusion posterior sampling: the noise of each step is shifted along the gradient through the network.

    .. math:: \xi = \zeta + \frac{c}{T} \nabla_{x_t} S\bigl(E[x_0 | x_t]\bigr), \qquad \zeta \sim N(0, I)

    where c is the step's own noise scale, so that nothing is to be tuned at a temperature. For a Gaussian law and a
    linear S it draws from the tilted law, up to the error of the steps; elsewhere it is an approximation. Without a
    temperature the shift has a length found in the first passes; see :class:`~zmax.guide.TFG`.

    Example:
        >>> import zmax
        >>> law = zmax.testing.gaussian_mixture([[0.0]], [[[1.0]]], [1.0])
        >>> S = zmax.testing.quadratic_score(b=[0.5])
        >>> method = zmax.guide.DPS(temperature=1.0, rows=128)
        >>> draws = zmax.sample(law.generator(steps=20), S, 1.0, method, budget=2560).population
        >>> abs(float(draws.score.mean()) - 0.25) < 0.15  # the tilted law is N(0.5, 1)
        True
    """

    use = "a first gradient method for a diffusion model, one backward a step"
    reference = (
        "Chung et al., Diffusion posterior sampling for general noisy inverse problems, ICLR 2023, algorithm 1, "
        "https://arxiv.org/abs/2209.14687"
    )


@preset("temperature", "strength", "recurrence", "clip", "rows", recurrence=2)
class FreeDoM(TFG):
    r"""Training-free energy guidance with time travel: :class:`~zmax.guide.DPS` whose steps are taken again.

    From the end x_s of a guided step the forward process leads back,

    .. math:: x_t' = \frac{\alpha_t}{\alpha_s} x_s + \sqrt{\sigma_t^2 - \frac{\alpha_t^2}{\alpha_s^2} \sigma_s^2}\,
              \epsilon, \qquad \epsilon \sim N(0, I),

    and the step is guided anew from there, so that what guidance has broken can heal. The noise that would have led to
    x_t' takes the place of the one that led to x_t; to maximise it is brought to its length, so that it stays
    plausible. (The paper travels in the middle of the path alone.)

    Example:
        >>> import torch, zmax
        >>> law = zmax.testing.gaussian_mixture(torch.zeros(1, 8), torch.eye(8)[None], [1.0])
        >>> S = zmax.testing.quadratic_score(b=[1.0] * 8)
        >>> r = zmax.maximize(law.generator(steps=10), S, zmax.guide.FreeDoM(), budget=960)
        >>> r.best.score > 10  # the best of as many plain samples is near 6
        True
    """

    use = "guidance of a diffusion model that one pass is too short for"
    reference = (
        "Yu et al., FreeDoM: training-free energy-guided conditional diffusion model, ICCV 2023, algorithm 2, "
        "https://arxiv.org/abs/2303.09833"
    )


@preset("temperature", "strength", "smooth", "clip", "rows", smooth=4)
class LGDMC(TFG):
    r"""Loss-guided diffusion with Monte Carlo: :class:`~zmax.guide.DPS` with S averaged over what x_0 may become.

    .. math:: S_t = T \ln \frac1m \sum_{j=1}^m \exp \frac{S(E[x_0 | x_t] + r \epsilon_j)}{T}, \quad
              \epsilon_j \sim N(0, I), \quad r^2 = \frac{\sigma^2}{\alpha^2 + \sigma^2}

    The network runs once a step, S m times. It helps where S is rough, or says nothing of the blurred pictures that
    early previews are.

    Example:
        >>> import torch, zmax
        >>> law = zmax.testing.gaussian_mixture(torch.zeros(1, 8), torch.eye(8)[None], [1.0])
        >>> S = zmax.testing.quadratic_score(b=[1.0] * 8)
        >>> r = zmax.maximize(law.generator(steps=10), S, zmax.guide.LGDMC(), budget=1920)
        >>> r.best.score > 10  # the best of as many plain samples is near 6
        True
    """

    use = "guidance of a diffusion model by a rough score that is cheap beside the network"
    reference = (
        "Song et al., Loss-guided diffusion models for plug-and-play controllable generation, ICML 2023, section 4, "
        "https://proceedings.mlr.press/v202/song23k.html"
    )


@preset("temperature", "strength", "iterations", "clip", "rows", mu=1.0)
class MPGD(TFG):
    r"""Manifold preserving guided diffusion without a projection: previews are moved along the score's own gradient.

    .. math:: \hat x_0 \leftarrow \hat x_0 + \frac{r^2}{T} \nabla_{x_0} S(\hat x_0), \qquad
              r^2 = \frac{\sigma^2}{\alpha^2 + \sigma^2},

    which is the noise's shift by b / c times that. The network is never differentiated, so a step takes the time and
    memory of a plain one; in exchange :math:`r^2 I` stands for the covariance of x_0 given x_t, which at a temperature
    is the law's own for data of size 1 alone.

    Example:
        >>> import torch, zmax
        >>> law = zmax.testing.gaussian_mixture(torch.zeros(1, 8), torch.eye(8)[None], [1.0])
        >>> S = zmax.testing.quadratic_score(b=[1.0] * 8)
        >>> r = zmax.maximize(law.generator(steps=10), S, zmax.guide.MPGD(), budget=480)
        >>> r.best.score > 10, r.ledger.nfe_backward  # the best of as many plain samples is near 6
        (True, 0)
    """

    use = "guidance of a diffusion model too large to differentiate"
    reference = (
        "He et al., Manifold preserving guided diffusion, ICLR 2024, algorithm 1, https://arxiv.org/abs/2311.16424"
    )


@preset("temperature", "strength", "mu", "iterations", "recurrence", "clip", "rows", mu=0.5, recurrence=2)
class UGD(TFG):
    r"""Universal guidance: forward guidance through the network, backward guidance of the preview, and recurrence.

    .. math:: \xi = \zeta + (1 - \mu) \frac{c}{T} \nabla_{x_t} S(\hat x_0) + \mu \frac b c \Delta, \qquad
              \Delta \leftarrow \Delta + \frac{r^2}{n T} \nabla_{x_0} S(\hat x_0 + \Delta) \quad n \text{ times},

    and each step is taken again from its end with fresh noise, as in :class:`~zmax.guide.FreeDoM`. The most thorough
    guidance, and the dearest: n + 1 network evaluations for each time that a step is taken.

    Example:
        >>> import torch, zmax
        >>> law = zmax.testing.gaussian_mixture(torch.zeros(1, 8), torch.eye(8)[None], [1.0])
        >>> S = zmax.testing.quadratic_score(b=[1.0] * 8)
        >>> r = zmax.maximize(law.generator(steps=10), S, zmax.guide.UGD(), budget=1920)
        >>> r.best.score > 10  # the best of as many plain samples is near 6
        True
    """

    use = "guidance of a diffusion model where network evaluations are cheap"
    reference = (
        "Bansal et al., Universal guidance for diffusion models, 2023, algorithm 1, https://arxiv.org/abs/2302.07121"
    )
