"""Published kinds of Langevin dynamics."""

from __future__ import annotations

from zmax.core.presets import preset
from zmax.search.posterior.langevin import Langevin


@preset(
    "temperature", "chains", "step", "acceptance", "adjust", "spread", temperature=1.0, chains=64, step=0.1, spread=16.0
)
class DDLS(Langevin):
    r"""Discriminator-driven latent sampling: what the discriminator knows about G's faults, put right by Langevin.

    With S the discriminator's logit, the data's density is :math:`p_g(x) \exp(S(x))` where the discriminator is
    optimal, and its samples are G(u) with

    .. math:: u \sim p^*(u) \propto N(u; 0, I) \exp(S(G(u))),

    which :class:`~zmax.search.Langevin` draws. This is that method at temperature 1 with more chains and steps of all
    sizes: between the modes of the data lie hollows of the logit, out of which small steps take long. With
    `adjust=False` it is the paper's algorithm 1, whose step size epsilon is the square of this `step`.

    Example:
        >>> import torch, zmax
        >>> G = zmax.generator(torch.nn.Identity(), shape=(2,), modality="vector")
        >>> logit = zmax.score(lambda x: x[:, 0] - 0.5, differentiable=True)  # the data are N((1, 0), I)
        >>> population = zmax.sample(G, logit, method="ddls", budget=6400).population
        >>> abs(float(population.u[:, 0].mean()) - 1) < 0.2
        True
    """

    use = "samples of a GAN put right by its discriminator's logit"
    reference = (
        "Che et al., Your GAN is secretly an energy-based model and you should use discriminator driven latent "
        "sampling, NeurIPS 2020, algorithm 1, https://arxiv.org/abs/2003.06060"
    )
