"""Sample, weight by rank, train with the model's own loss, repeat."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from zmax.core.checks import positive, whole
from zmax.core.generator import Generator
from zmax.core.proposal import Evaluation, Proposal
from zmax.core.rng import Rng
from zmax.core.strategy import Need
from zmax.core.tuner import Models, Recipe, Rollout, Tuner
from zmax.kit.forward import ended, ends, gap, noised, velocity


@dataclass(frozen=True)
class RankedState:
    """The stream of noises, and the best of all samples so far with their scores, best first."""

    rng: Rng
    x_0: Float[Tensor, "kept ..."] | None = None
    score: Float[Tensor, " kept"] | None = None
    fresh: Float[Tensor, "n ..."] | None = None


class Ranked(Tuner[RankedState]):
    r"""Train the model, by its own loss, on all samples so far weighted by rank (RAFT, weighted retraining).

    .. math:: L(\theta) = \sum_i w_i\, E_{t, \epsilon} \|v_\theta(x_t, t) - (\epsilon - x_0^i)\|^2,
        \qquad w_i \propto \frac{1}{k N + \mathrm{rank}(S(x_0^i))}

    over the N best samples that any round has made, :math:`x_t = \alpha x_0 + \sigma \epsilon`. A small k trains on
    the very best alone, a large one on all alike; RAFT keeps the best share of each round instead.

    Args:
        batch: samples a round.
        sharpness: k.
        most: N, how many samples are remembered.
        rows: noised samples trained on a round.

    Raises:
        InputError: an argument is out of range.
    """

    needs = frozenset({Need.DENOISER})
    recipe = Recipe(rate=3e-4, updates=4)
    use = "a diffusion or flow model, S a black box"
    reference = (
        "Tripp et al., Sample-efficient optimization in the latent space of deep generative models via weighted "
        "retraining, NeurIPS 2020, equation 2, https://arxiv.org/abs/2006.09191; Dong et al., RAFT, TMLR 2023, "
        "algorithm 1, https://arxiv.org/abs/2304.06767"
    )

    def __init__(self, *, batch: int = 64, sharpness: float = 0.05, most: int = 2048, rows: int = 256) -> None:
        whole("Ranked", batch=batch, most=most, rows=rows)
        positive("Ranked", sharpness=sharpness)
        self.batch, self.sharpness, self.most, self.rows = batch, sharpness, most, rows

    def init(self, generator: Generator, rng: torch.Generator) -> RankedState:
        """Begin with no samples."""
        return RankedState(Rng.of(rng))

    def collect(self, state: RankedState, models: Models) -> tuple[RankedState, Proposal]:
        """Return the ends of fresh paths."""
        rng = state.rng.generator()
        u = models.child.space.sample(self.batch, rng)
        x_0 = ends(models.child, u)
        return replace(state, rng=Rng.of(rng), fresh=x_0), ended(x_0, u)

    def rollout(self, state: RankedState, models: Models, evaluation: Evaluation) -> tuple[RankedState, Rollout | None]:
        """Return noised samples, drawn from all so far by rank."""
        assert state.fresh is not None, "collected before"
        ok, rng = evaluation.ok, state.rng.generator()
        x_0, score = state.fresh[ok], evaluation.score[ok]
        if state.x_0 is not None and state.score is not None:
            x_0, score = torch.cat([state.x_0, x_0]), torch.cat([state.score, score])
        best = score.argsort(descending=True, stable=True)[: self.most]
        x_0, score = x_0[best], score[best]
        if not len(score):
            return replace(state, fresh=None, rng=Rng.of(rng)), None
        weight = 1 / (self.sharpness * len(score) + torch.arange(len(score), device="cpu", dtype=torch.float64))
        drawn = torch.multinomial(weight, self.rows, replacement=True, generator=rng)
        rows = noised(models.child, x_0[drawn], rng)
        return RankedState(Rng.of(rng), x_0, score), Rollout(rows)

    def loss(self, models: Models, rollout: Rollout) -> Float[Tensor, " rows"]:
        """Return the squared error of the velocity."""
        v = velocity(models.child, rollout["x_t"], rollout["t"])
        return gap(v, rollout["noise"] - rollout["x_0"])
