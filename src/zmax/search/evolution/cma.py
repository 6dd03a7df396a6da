"""CMA-ES with a full covariance, in torch; equation numbers are those of Hansen's tutorial, arXiv:1604.00772v2."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
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
from zmax.core.strategy import Gives, Need, Strategy
from zmax.kit.cma_law import Law, constants, decomposed, default_population, fresh, learned, parents, spent
from zmax.kit.norms import Norms, drawn_norms, fresh_norms, learned_norms, placed
from zmax.kit.ranks import ranking, retracted
from zmax.kit.stalling import Rounds


@dataclass(frozen=True)
class CMAState(Law):
    """The search law and its draws.

    Attributes:
        y: steps drawn from N(0, C).
        squares: Mahalanobis norm of each, squared.
        u: the points they stand for, and from the second round on the mean as well.
        norms: of the points, None in the first round and without retraction.
        rounds: what was scored since the last restart.
        rng: the stream that draws come from.
    """

    y: Float[Tensor, "drawn dim"]
    squares: Float[Tensor, " drawn"]
    u: Float[Tensor, "n dim"]
    norms: Norms | None
    rounds: Rounds
    rng: Rng
    space: Space = field(metadata=STATIC)


class CMA(Strategy[CMAState]):
    r"""Covariance matrix adaptation with a full matrix and active (negative) weights, for d up to about 1000.

    Draws :math:`x_k = m + \sigma y_k,\ y_k \sim N(0, C)`, ranks them by score, and moves m, sigma and C towards the
    better half. Kept on the prior's typical shell, points have the directions of the :math:`x_k` and norms from a law
    of their own (:class:`~zmax.kit.norms.Norms`), so that the shell is searched from rim to rim. The first round is
    drawn from the prior and its weighted mean is where the search starts; above as many dimensions as points, every
    later round also scores m itself. A law that has shrunk, degenerated or stalled starts again from the prior.

    Args:
        step: first sigma after the prior round, in units of the prior's standard deviation. Loss left after 500 calls,
            relative to best-of-N: 0.50, 0.28, 0.25, 0.23, 0.24 at 0.1, 0.3, 0.5, 1, 2 (`benchmarks/first_step.py`).
        population: points per round, the mean included; None for :math:`4 + 3 \ln d`. Noisy or many-peaked scores want
            more.
        retract: score points of plausibility at least 0.5 only; without it norms drift off the prior.

    Raises:
        InputError: an argument is not a positive number, or the population is below 5.

    Example:
        >>> from zmax.core.rng import stream
        >>> from zmax.core.space import Space
        >>> method = CMA()
        >>> method.ask(method.init(Space.of((128,)), stream(0))).u.shape
        torch.Size([18, 128])
    """

    needs = frozenset({Need.FEW})
    gives = frozenset({Gives.RETRACTION})
    begins = Starts.LAW
    reference: ClassVar[str] = "Hansen, The CMA evolution strategy: a tutorial, 2016, https://arxiv.org/abs/1604.00772"

    def __init__(self, *, step: float = 1.0, population: int | None = None, retract: bool = True) -> None:
        positive("CMA", step=step)
        whole("CMA", least=5, population=population)
        self.step = step
        self.population = population
        self.retract = retract

    def init(self, space: Space, rng: torch.Generator) -> CMAState:
        """Draw the first round from the prior."""
        return self._start(space, Rng.of(rng))

    def begin(self, space: Space, rng: torch.Generator, start: Start) -> CMAState:
        """Centre the law on the best point of a start, as wide as its strength is of the first step."""
        state, best = self._start(space, Rng.of(rng)), start.u[:1]
        norms = fresh_norms(space, best, best.new_ones(1)) if self.retract else None
        law = fresh(best[0], self.step * start.strength)
        return self._draw(replace(state, **vars(law), norms=norms))

    def ask(self, state: CMAState) -> Proposal:
        """Return the round's points."""
        return Proposal(Latents(state.u))

    def tell(self, state: CMAState, evaluation: Evaluation) -> CMAState:
        """Update the search law; failed rows have no weight, and a round without any result is redrawn."""
        n = len(state.y)
        order = ranking(evaluation.score[:n], evaluation.ok[:n])
        if not bool(evaluation.ok[order[0]]):
            return self._draw(state)
        k = constants(len(state.mean), n)
        w = parents(k, evaluation.score[order], evaluation.ok[order])
        rounds = state.rounds.told(evaluation.score[evaluation.ok])
        if state.round == 0:
            return self._draw(self._centred(replace(state, round=1, rounds=rounds), order, w.clamp_min(0)))
        before, norms = state.mean, state.norms
        if norms is not None:
            norms = learned_norms(norms, torch.zeros_like(w).index_put_((order,), w.clamp_min(0)))
        state = decomposed(learned(state, state.y[order], state.squares[order], w, k), k.gap)
        state = replace(state, norms=norms, rounds=rounds)
        if spent(state, before) or rounds.stalled(len(before), n):
            return self._start(state.space, state.rng)
        return self._draw(state)

    def _centred(self, state: CMAState, order: Tensor, w: Tensor) -> CMAState:
        """Begin at the weighted mean of the prior round."""
        mean = retracted(w @ state.y[order], state.space, self.retract)
        norms = fresh_norms(state.space, state.u[order], w) if self.retract else None
        return replace(state, mean=mean, sigma=self.step, norms=norms)

    def _start(self, space: Space, rng: Rng) -> CMAState:
        law = fresh(torch.zeros(space.dim, dtype=torch.float64), 1.0)
        none = law.mean.new_empty(0, space.dim)
        begun = CMAState(
            **vars(law), y=none, squares=none[:, 0], u=none, norms=None, rounds=Rounds.none(), rng=rng, space=space
        )
        return self._draw(replace(begun, round=0))

    def _draw(self, state: CMAState) -> CMAState:
        d, n = len(state.mean), self.population or default_population(len(state.mean))
        with_mean = state.round > 0 and d > n
        n -= with_mean
        z, rng = state.rng.normal(n, d, dtype=torch.float64)  # (38)
        known = state.round >= constants(d, n).gap  # else C is still taken for I
        y = (z * state.axes) @ state.basis.T if known else z  # (39)
        u, norms = state.mean + state.sigma * y, state.norms  # (40)
        u = torch.cat([u, state.mean[None]]) if with_mean else u
        if norms is not None:
            variance = state.sigma**2 * (state.cov.diagonal().clamp_min(0) if known else torch.ones_like(state.mean))
            norms, rng = drawn_norms(norms, state.space, state.mean, variance, n, rng)
            u = placed(state.space, u, norms.r[: len(u)])
        elif self.retract:
            u = state.space.retract(u)
        return replace(state, y=y, squares=z.square().sum(1), u=u.float(), norms=norms, rng=rng)
