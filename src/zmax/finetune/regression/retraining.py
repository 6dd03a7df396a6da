"""What weighted retraining shares: the samples so far, their weights by rank, and the model's own loss on them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from zmax.core.checks import positive, whole
from zmax.core.errors import InputError, ShapeError
from zmax.core.generator import Generator
from zmax.core.imports import load_attribute
from zmax.core.proposal import Evaluation, Latents, Proposal, Value
from zmax.core.rng import Rng
from zmax.core.strategy import Need
from zmax.core.tuner import Models, Rollout, Tuner
from zmax.kit.elbo import known_likelihood, negative_elbo
from zmax.kit.forward import ended, ends, gap, has_ends, noised, velocity
from zmax.kit.ranks import by_rank

Data = tuple[Tensor, Tensor]
"""Samples (n, ...), of a path model in its network's scale, and their scores (n,)."""


@dataclass(frozen=True)
class Retrained:
    """The stream of noises, the best of all samples so far with their scores, best first, and what is being scored."""

    rng: Rng
    best: Data | None = None
    fresh: Float[Tensor, "n ..."] | None = None


StateT = TypeVar("StateT", bound=Retrained)


class Retraining(Tuner[StateT]):
    """Train the model, by its own loss, on data and all samples so far, weighted by rank; no gradient of S.

    Args:
        sharpness: k of :func:`~zmax.kit.ranks.by_rank`.
        most: how many samples are remembered, beside the data.
        rows: samples trained on a round, drawn by their weights.
        likelihood: of an autoencoder, see :func:`~zmax.kit.elbo.negative_elbo`.
        beta: of an autoencoder, what a nat of KL costs.
        data: what the model knows already, with scores.
    """

    needs = frozenset({Need.LIKELIHOOD})

    def __init__(
        self, *, sharpness: float, most: int, rows: int, likelihood: str, beta: float, data: Data | str | None
    ) -> None:
        name = type(self).__name__
        whole(name, most=most, rows=rows)
        positive(name, sharpness=sharpness, beta=beta)
        known_likelihood(name, likelihood)
        self.sharpness, self.most, self.rows = sharpness, most, rows
        self.likelihood, self.beta = likelihood, beta
        self.data = data if data is None or isinstance(data, str) else "<locals>"
        self._data = None if data is None else _checked(load_attribute(data) if isinstance(data, str) else data)

    def remembered(self, state: StateT, evaluation: Evaluation) -> StateT:
        """Return the state with the samples that were scored, of which the best are kept."""
        x, score = _shown(state.fresh, evaluation), evaluation.score[evaluation.ok]
        if not len(score):
            return replace(state, fresh=None)
        if state.best is not None:
            x, score = torch.cat([state.best[0], x]), torch.cat([state.best[1], score])
        order = score.argsort(descending=True, stable=True)[: self.most]
        return replace(state, fresh=None, best=(x[order], score[order]))

    def drawn(self, state: StateT, models: Models) -> tuple[StateT, Rollout | None]:
        """Return rows for the model's own loss, drawn by rank from what is remembered and the data."""
        sources = [pair for pair in (state.best, self._data) if pair is not None]
        if not sources:
            return state, None
        shapes = [tuple(x.shape[1:]) for x, _ in sources]
        if shapes[0] != shapes[-1]:
            raise ShapeError("data to train on", expected=f"samples of shape {shapes[0]}", got=shapes[-1])
        score, rng = torch.cat([known.double() for _, known in sources]), state.rng.generator()
        drawn = torch.multinomial(by_rank(score, self.sharpness), self.rows, replacement=True, generator=rng)
        every = [row for x, _ in sources for row in x]
        x_0 = torch.stack([every[i] for i in drawn.tolist()]).float()
        if has_ends(models.child):
            rows = noised(models.child, x_0, rng)
        else:
            shape = (self.rows, models.child.space.dim)
            rows = {"x_0": x_0, "noise": torch.randn(shape, generator=rng, device="cpu", dtype=torch.float32)}
        return replace(state, rng=Rng.of(rng)), Rollout(rows)

    def loss(self, models: Models, rollout: Rollout) -> Float[Tensor, " rows"]:
        """Return the squared error of the velocity, or minus the evidence lower bound."""
        child = models.child
        if not has_ends(child):
            return negative_elbo(child, rollout["x_0"], rollout["noise"], self.likelihood, self.beta)
        v = velocity(child, rollout["x_t"], rollout["t"])
        return gap(v, rollout["noise"] - rollout["x_0"])


def proposed(child: Generator, u: Float[Tensor, "n dim"]) -> tuple[Tensor | None, Proposal]:
    """Return the ends of the paths of these noises, None where there are no paths, and the proposal to score them."""
    if has_ends(child):
        x_0 = ends(child, u)
        return x_0, ended(x_0, u)
    return None, Proposal(Latents(u), Value(samples=True))


def _shown(fresh: Tensor | None, evaluation: Evaluation) -> Float[Tensor, "ok ..."]:
    """Return what was scored and did not fail, as the model's loss takes it."""
    if fresh is not None:
        return fresh[evaluation.ok]
    assert evaluation.samples is not None, "asked for"
    shown = [evaluation.samples[i] for i in evaluation.ok.nonzero().flatten().tolist()]
    return torch.stack(shown).float().cpu() if shown else torch.zeros(0)


def _checked(data: object) -> Data:
    found: Any = data() if callable(data) else data
    pair = isinstance(found, tuple) and len(found) == 2 and all(isinstance(part, Tensor) for part in found)
    if not pair or found[1].shape != found[0].shape[:1] or not found[1].isfinite().all():
        expected = "a pair of tensors, samples (n, ...) and their finite scores (n,), or a function that returns it"
        raise InputError("data to train on", expected=expected, got=type(found).__name__)
    return found[0], found[1]
