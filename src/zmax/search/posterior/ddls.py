"""Discriminator-driven latent sampling: Langevin dynamics in the latents of a GAN, its discriminator as the score."""

from __future__ import annotations

from typing import ClassVar

from zmax.search.posterior.langevin import Langevin


class DDLS(Langevin):
    r"""Discriminator-driven latent sampling: what the discriminator knows about G's faults, put right by Langevin.

    With S the discriminator's logit, the data's density is :math:`p_g(x) \exp(S(x))` where the discriminator is
    optimal, and its samples are G(u) with

    .. math:: u \sim p^*(u) \propto N(u; 0, I) \exp(S(G(u))),

    which :class:`~zmax.search.Langevin` draws. This is that method at temperature 1 with more chains and steps of all
    sizes: between the modes of the data lie hollows of the logit, out of which small steps take long. With
    `adjust=False` it is the paper's algorithm 1, whose step size epsilon is the square of this `step`.

    Args:
        temperature: 1 for the discriminator's logit as it is; None anneals it, to maximise.
        chains: number of chains; one score gradient a chain and round.
        step: first step, in units of the prior's standard deviation; the only one without adjustment.
        acceptance: mean acceptance to adapt the step to.
        adjust: whether to accept or refuse moves, which makes the law exact.
        spread: largest step over smallest in a round, with adjustment; 1 gives all chains the same.

    Raises:
        InputError: an argument is out of its range.

    Example:
        >>> import torch, zmax
        >>> G = zmax.generator(torch.nn.Identity(), shape=(2,), modality="vector")
        >>> logit = zmax.score(lambda x: x[:, 0] - 0.5, differentiable=True)  # the data are N((1, 0), I)
        >>> population = zmax.sample(G, logit, method="ddls", budget=6400).population
        >>> abs(float(population.u[:, 0].mean()) - 1) < 0.2
        True
    """

    use: ClassVar[str] = "samples of a GAN put right by its discriminator's logit"
    reference: ClassVar[str] = (
        "Che et al., Your GAN is secretly an energy-based model and you should use discriminator driven latent "
        "sampling, NeurIPS 2020, algorithm 1, https://arxiv.org/abs/2003.06060"
    )

    def __init__(
        self,
        *,
        temperature: float | None = 1.0,
        chains: int = 64,
        step: float = 0.1,
        acceptance: float = 0.57,
        adjust: bool = True,
        spread: float = 16.0,
    ) -> None:
        super().__init__(
            temperature=temperature, chains=chains, step=step, acceptance=acceptance, adjust=adjust, spread=spread
        )
