"""Sample, weight by rank, train with the model's own loss, repeat."""

from __future__ import annotations

from dataclasses import replace

import torch

from zmax.core.checks import whole
from zmax.core.generator import Generator
from zmax.core.proposal import Evaluation, Proposal
from zmax.core.rng import Rng
from zmax.core.tuner import Models, Recipe, Rollout
from zmax.finetune.regression.retraining import Data, Retrained, Retraining, proposed


class Ranked(Retraining[Retrained]):
    r"""Train the model, by its own loss, on all samples so far weighted by rank (RAFT, weighted retraining).

    .. math:: L(\theta) = \sum_i w_i\, \ell_\theta(x_i), \qquad w_i \propto \frac{1}{k N + \mathrm{rank}(S(x_i))}

    over data and the best samples that any round has made, N together. The loss :math:`\ell` of a diffusion or flow
    model is :math:`E_{t, \epsilon} \|v_\theta(x_t, t) - (\epsilon - x_0)\|^2` at :math:`x_t = \alpha x_0 + \sigma
    \epsilon`, that of an autoencoder minus its evidence lower bound (:func:`~zmax.kit.elbo.negative_elbo`). A small k
    trains on the very best alone, a large one on all alike; RAFT keeps the best share of each round instead.

    Args:
        batch: samples a round.
        sharpness: k.
        most: how many samples are remembered, beside the data.
        rows: samples trained on a round, drawn by their weights; those of a path model are noised.
        likelihood: of an autoencoder: "gaussian", or "bernoulli" for samples that are rounded to 0 and 1.
        beta: of an autoencoder, what a nat of KL costs; with the Gaussian likelihood this is its variance.
        data: what the model was trained on: samples (n, ...), of a path model in its network's scale, and their scores
            (n,); or "file.py:attr" or "pkg.mod:attr" of these, or of a function that returns them.

    Raises:
        InputError: an argument is out of range.

    Example:
        >>> Ranked(batch=8, data=(torch.zeros(2, 3), torch.tensor([0.0, 1.0]))).sharpness
        0.05
    """

    recipe = Recipe(rate=3e-4, updates=4)
    use = "a diffusion or flow model or an autoencoder, S a black box"
    reference = (
        "Tripp et al., Sample-efficient optimization in the latent space of deep generative models via weighted "
        "retraining, NeurIPS 2020, equation 2, https://arxiv.org/abs/2006.09191; Dong et al., RAFT, TMLR 2023, "
        "algorithm 1, https://arxiv.org/abs/2304.06767"
    )

    def __init__(
        self,
        *,
        batch: int = 64,
        sharpness: float = 0.05,
        most: int = 2048,
        rows: int = 256,
        likelihood: str = "gaussian",
        beta: float = 0.01,
        data: Data | str | None = None,
    ) -> None:
        whole("Ranked", batch=batch)
        super().__init__(sharpness=sharpness, most=most, rows=rows, likelihood=likelihood, beta=beta, data=data)
        self.batch = batch

    def init(self, generator: Generator, rng: torch.Generator) -> Retrained:
        """Begin with no samples."""
        return Retrained(Rng.of(rng))

    def collect(self, state: Retrained, models: Models) -> tuple[Retrained, Proposal]:
        """Return prior draws."""
        rng = state.rng.generator()
        fresh, proposal = proposed(models.child, models.child.space.sample(self.batch, rng))
        return replace(state, rng=Rng.of(rng), fresh=fresh), proposal

    def rollout(self, state: Retrained, models: Models, evaluation: Evaluation) -> tuple[Retrained, Rollout | None]:
        """Return rows drawn from all samples so far by rank."""
        return self.drawn(self.remembered(state, evaluation), models)
