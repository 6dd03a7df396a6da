"""Separable natural evolution strategy: a Gaussian with a diagonal covariance, for any dimension."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from zmax.core.checks import positive, whole
from zmax.core.proposal import Evaluation, Latents, Proposal
from zmax.core.rng import Rng
from zmax.core.space import Space
from zmax.core.start import Start, Starts
from zmax.core.state import STATIC
from zmax.core.strategy import Gives, Strategy
from zmax.kit.norms import Norms, drawn_norms, fresh_norms, learned_norms, placed
from zmax.kit.ranks import lost, retracted
from zmax.kit.stalling import Rounds
from zmax.search.evolution.separable import by_row, scaled_draws, weighted_square


@dataclass(frozen=True)
class SNESState:
    """The search law N(mean, diag(sigma^2)), the draws s it gave, and the points u they stand for.

    From the second round on, the last row of u is the mean; norms are those of the points, None in the first round and
    without retraction, and rounds is what was scored since the last restart.
    """

    mean: Float[Tensor, " dim"]
    sigma: Float[Tensor, " dim"]
    round: int
    s: Float[Tensor, "drawn dim"]
    u: Float[Tensor, "n dim"]
    norms: Norms | None
    rounds: Rounds
    rng: Rng
    space: Space = field(metadata=STATIC)


class SNES(Strategy[SNESState]):
    r"""Separable natural evolution strategy, O(d) per sample.

    With draws :math:`s_k \sim N(0, I)`, points :math:`x_k = \mu + \sigma s_k` and utilities :math:`w_k` that depend
    on ranks alone,

    .. math:: \mu \leftarrow \mu + \sigma \sum_k w_k s_k, \qquad
              \sigma \leftarrow \sigma \exp\Big(\tfrac{\eta_\sigma}{2} \sum_k w_k (s_k^2 - 1)\Big), \qquad
              \eta_\sigma = \frac{3 + \ln d}{5 \sqrt d}.

    Kept on the prior's typical shell, points have the directions of the :math:`x_k` and norms from a law of their own
    (:class:`~zmax.kit.norms.Norms`). The first round is drawn from the prior and its weighted mean is where the search
    starts; every later round also scores :math:`\mu` itself. A law that has shrunk or stalled starts again.

    Args:
        step: first sigma after the prior round, in units of the prior's standard deviation. Loss left after 500 calls,
            relative to best-of-N: 0.54, 0.27, 0.23, 0.21, 0.20 at 0.1, 0.3, 0.5, 1, 2 (`benchmarks/first_step.py`).
        population: points per round, the mean included. At 500 to 2000 calls 16 beats 32; noisy or many-peaked
            scores want more.
        retract: score points of plausibility at least 0.5 only; without it norms drift off the prior.

    Raises:
        InputError: an argument is not a positive number, or the population is below 5.

    Example:
        >>> from zmax.core.rng import stream
        >>> from zmax.core.space import Space
        >>> method = SNES()
        >>> method.ask(method.init(Space.of((3, 64, 64)), stream(0))).u.shape
        torch.Size([16, 12288])
    """

    gives = frozenset({Gives.RETRACTION})
    begins = Starts.LAW
    use: ClassVar[str] = "hundreds to thousands of calls at any dimension, at the least cost a call"
    reference: ClassVar[str] = (
        "Schaul, Glasmachers and Schmidhuber, High dimensions and heavy tails for natural evolution strategies, "
        "GECCO 2011, section 3.2, https://doi.org/10.1145/2001576.2001692"
    )

    def __init__(self, *, step: float = 1.0, population: int = 16, retract: bool = True) -> None:
        positive("SNES", step=step)
        whole("SNES", least=5, population=population)
        self.step = step
        self.population = population
        self.retract = retract

    def init(self, space: Space, rng: torch.Generator) -> SNESState:
        """Draw the first round from the prior."""
        return self._start(space, Rng.of(rng))

    def begin(self, space: Space, rng: torch.Generator, start: Start) -> SNESState:
        """Centre the law on the best point of a start, as wide as its strength is of the first step."""
        state, best = self._start(space, Rng.of(rng)), start.u[:1]
        norms = fresh_norms(space, best, best.new_ones(1)) if self.retract else None
        sigma = torch.full_like(best[0], self.step * start.strength)
        return self._draw(replace(state, mean=best[0], sigma=sigma, norms=norms, round=1))

    def ask(self, state: SNESState) -> Proposal:
        """Return the round's points."""
        return Proposal(Latents(state.u))

    def tell(self, state: SNESState, evaluation: Evaluation) -> SNESState:
        """Follow the natural gradient; failed rows have no weight, and a round without any result is redrawn."""
        drawn, d = state.s.shape
        n = int(evaluation.ok[:drawn].sum())
        if n == 0:
            return self._draw(state)
        s, w = by_row(state.s, evaluation, utilities(n))
        rounds = state.rounds.told(evaluation.score[evaluation.ok])
        if state.round == 0:
            return self._draw(self._centred(replace(state, round=1, rounds=rounds), evaluation, s, w + 1 / n))
        norms = state.norms
        if norms is not None:
            norms = learned_norms(norms, _scattered(w + 1 / n, evaluation.ok[:drawn]))
        rate = (3 + math.log(d)) / (5 * math.sqrt(d))
        mean = state.mean + state.sigma * (w @ s)
        sigma = state.sigma * torch.exp(rate / 2 * weighted_square(w, s))  # sum w = 0, so the -1 drops out
        if lost(float(sigma.max()), state.mean) or rounds.stalled(d, drawn):
            return self._start(state.space, state.rng)
        return self._draw(replace(state, mean=mean, sigma=sigma, norms=norms, rounds=rounds, round=state.round + 1))

    def _centred(self, state: SNESState, evaluation: Evaluation, s: Tensor, w: Tensor) -> SNESState:
        """Begin at the weighted mean of the prior round."""
        mean = retracted(w @ s, state.space, self.retract)
        norms = fresh_norms(state.space, state.u[evaluation.ok], w) if self.retract else None
        return replace(state, mean=mean, sigma=torch.full_like(mean, self.step), norms=norms)

    def _start(self, space: Space, rng: Rng) -> SNESState:
        zero = torch.zeros(space.dim)
        none = zero.new_empty(0, space.dim)
        return self._draw(SNESState(zero, torch.ones_like(zero), 0, none, none, None, Rounds.none(), rng, space))

    def _draw(self, state: SNESState) -> SNESState:
        n = self.population - (state.round > 0)
        s, rng = state.rng.normal(n, len(state.mean))
        u, norms = scaled_draws(state.mean, state.sigma, s) if state.round else s, state.norms
        if norms is not None:
            norms, rng = drawn_norms(norms, state.space, state.mean, state.sigma.square(), n, rng)
            u = placed(state.space, u, norms.r)
        elif self.retract:
            u = state.space.retract(u)
        return replace(state, s=s, u=u, norms=norms, rng=rng)


def _scattered(weight: Float[Tensor, " alive"], ok: Tensor) -> Float[Tensor, " n"]:
    """Return the weights of the rows that did not fail among all, 0 for the others."""
    return torch.zeros(len(ok), dtype=weight.dtype).masked_scatter_(ok, weight)


@lru_cache(maxsize=64)
def utilities(n: int) -> Float[Tensor, " n"]:
    r"""Return the weight of each rank, best first; they sum to 0.

    .. math:: w_k = \frac{\max(0, \ln(n/2 + 1) - \ln k)}{\sum_j \max(0, \ln(n/2 + 1) - \ln j)} - \frac1n

    Example:
        >>> [round(float(w), 2) for w in utilities(4)]
        [0.48, 0.02, -0.25, -0.25]
    """
    raw = (math.log(n / 2 + 1) - torch.arange(1, n + 1, dtype=torch.float64).log()).clamp_min(0.0)
    return (raw / raw.sum() - 1 / n).float()
