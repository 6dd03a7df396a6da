"""Search the latents of the model as it is, train it on what was found, and search anew."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch

from zmax.core.checks import whole
from zmax.core.errors import CapabilityError
from zmax.core.generator import Generator
from zmax.core.methods import build, registry
from zmax.core.proposal import Evaluation, Proposal, Value
from zmax.core.rng import Rng
from zmax.core.strategy import Gives, Need, Strategy
from zmax.core.tuner import Models, Recipe, Rollout
from zmax.finetune.regression.retraining import Data, Retrained, Retraining, proposed
from zmax.kit.retracted import Retracted


@dataclass(frozen=True)
class DistilState(Retrained):
    """What is remembered, and the state of the search with the rounds that it has done."""

    search: Any = None
    done: int = 0


class Distil(Retraining[DistilState]):
    r"""Search and finetune chained: a search finds, weighted retraining distils it into the model, and so on.

    For `every` rounds a method that searches looks for high scores in the latents of the child as it is. Then the child
    is trained as by :class:`~zmax.finetune.regression.ranked.Ranked`, on data and all that was found, weighted by rank,
    and the search begins anew, since the latents mean something else now. With an autoencoder and its training data
    this is weighted retraining.

    Args:
        search: a method that needs no gradient, with arguments after a colon, as in "turbo:batch=10,radius=0.5". Its
            points are kept typical of the prior.
        every: rounds of the search between trainings.
        sharpness: k of the weights :math:`1 / (k N + \mathrm{rank})`.
        most: how many samples are remembered, beside the data.
        rows: samples trained on each time, drawn by their weights.
        likelihood: of an autoencoder: "gaussian", or "bernoulli" for samples that are rounded to 0 and 1.
        beta: of an autoencoder, what a nat of KL costs; with the Gaussian likelihood this is its variance.
        data: what the model was trained on: samples and their scores, as in `Ranked`.

    Raises:
        InputError: an argument is out of range, or no method is called so.
        CapabilityError: the method needs more than values of the score.

    Example:
        >>> Distil(search="snes", every=5).every
        5
    """

    recipe = Recipe(rate=3e-4, updates=16)
    use = "a diffusion or flow model or an autoencoder, S a costly black box with optima that prior draws miss"
    reference = (
        "Tripp et al., Sample-efficient optimization in the latent space of deep generative models via weighted "
        "retraining, NeurIPS 2020, algorithm 1, https://arxiv.org/abs/2006.09191"
    )

    def __init__(
        self,
        *,
        search: str = "turbo",
        every: int = 8,
        sharpness: float = 0.01,
        most: int = 2048,
        rows: int = 512,
        likelihood: str = "gaussian",
        beta: float = 0.01,
        data: Data | str | None = None,
    ) -> None:
        whole("Distil", every=every)
        super().__init__(sharpness=sharpness, most=most, rows=rows, likelihood=likelihood, beta=beta, data=data)
        self.search, self.every = search, every
        self._strategy = _searching(search)

    def init(self, generator: Generator, rng: torch.Generator) -> DistilState:
        """Begin a search, with no samples."""
        own, after = Rng.of(rng).split()
        return DistilState(after, search=self._strategy.init(generator.space, own.generator()))

    def collect(self, state: DistilState, models: Models) -> tuple[DistilState, Proposal]:
        """Return the points that the search asks for."""
        asked = self._strategy.ask(state.search)
        plain = isinstance(asked.want, Value) and not asked.want.grads and asked.want.blur is None
        if asked.u is None or not plain:
            expected = "latents of which scores alone are wanted"
            raise CapabilityError(f"the search {self.search!r}", expected=expected, got=type(asked.want).__name__)
        fresh, proposal = proposed(models.child, asked.u)
        return replace(state, fresh=fresh), proposal

    def rollout(self, state: DistilState, models: Models, evaluation: Evaluation) -> tuple[DistilState, Rollout | None]:
        """Tell the search its scores; after its last round return rows drawn by rank, and begin another search."""
        state = replace(self.remembered(state, evaluation), done=state.done + 1)
        if state.done < self.every:
            return replace(state, search=self._strategy.tell(state.search, evaluation)), None
        own, after = state.rng.split()
        search = self._strategy.init(models.child.space, own.generator())
        return self.drawn(replace(state, rng=after, search=search, done=0), models)


def _searching(text: str) -> Strategy[Any]:
    """Construct the search that a text names."""
    name, _, given = text.partition(":")
    kind = registry.load(name.strip())
    if kind.needs - {Need.FEW}:
        got = ", ".join(sorted(need.value for need in kind.needs))
        raise CapabilityError(f"{name!r} to search with", expected="a method that needs scores alone", got=got)
    pairs = [part.partition("=") for part in given.split(",") if part.strip()]
    strategy = build(kind, name, {key.strip(): value.strip() for key, _, value in pairs})
    return strategy if Gives.RETRACTION in kind.gives else Retracted(strategy=strategy)
