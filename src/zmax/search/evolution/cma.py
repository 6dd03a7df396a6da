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
from zmax.core.state import STATIC
from zmax.core.strategy import Gives, Need, Strategy
from zmax.kit.cma_law import Law, constants, decomposed, learned, parents, spent
from zmax.kit.ranks import ranking, retracted


@dataclass(frozen=True)
class CMAState(Law):
    """The search law and its draws.

    Attributes:
        y: steps drawn from N(0, C), before retraction.
        squares: Mahalanobis norm of each, squared.
        u: the points they stand for, and from the second round on the mean as well.
        rng: the stream that draws come from.
    """

    y: Float[Tensor, "drawn dim"]
    squares: Float[Tensor, " drawn"]
    u: Float[Tensor, "n dim"]
    rng: Rng
    space: Space = field(metadata=STATIC)


class CMA(Strategy[CMAState]):
    r"""Covariance matrix adaptation with a full matrix and active (negative) weights, for d up to about 1000.

    Draws :math:`u_k = R(m + \sigma y_k),\ y_k \sim N(0, C)`, ranks them by score, and moves m, sigma and C towards the
    better half. R moves a point to the prior's typical shell. The law itself lives before R, where the norm of m is
    free, so that S(R(.)) has no rim to press against: with m retracted too, sigma never shrinks. The first round is
    drawn from the prior and its weighted mean is where the search starts; every later round also scores m itself.

    Args:
        step: first sigma after the prior round, in units of the prior's standard deviation. Loss left after 500 calls,
            relative to best-of-N: 0.50, 0.28, 0.25, 0.23, 0.24 at 0.1, 0.3, 0.5, 1, 2 (`benchmarks/first_step.py`).
        population: points per round, the mean included. At 500 to 2000 calls 16 beats 32; noisy or many-peaked
            scores want more.
        retract: score points of plausibility at least 0.5 only; without it norms drift off the prior.

    Raises:
        InputError: an argument is not a positive number, or the population is below 5.

    Example:
        >>> from zmax.core.rng import stream
        >>> from zmax.core.space import Space
        >>> method = CMA()
        >>> method.ask(method.init(Space.of((128,)), stream(0))).u.shape
        torch.Size([16, 128])
    """

    needs = frozenset({Need.FEW})
    gives = frozenset({Gives.RETRACTION})
    reference: ClassVar[str] = "Hansen, The CMA evolution strategy: a tutorial, 2016, https://arxiv.org/abs/1604.00772"

    def __init__(self, *, step: float = 1.0, population: int = 16, retract: bool = True) -> None:
        positive("CMA", step=step)
        whole("CMA", least=5, population=population)
        self.step = step
        self.population = population
        self.retract = retract

    def init(self, space: Space, rng: torch.Generator) -> CMAState:
        """Draw the first round from the prior."""
        return self._start(space, Rng.of(rng))

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
        w = parents(k, evaluation.ok[order])
        if state.round == 0:
            mean = retracted(w.clamp_min(0) @ state.y[order], state.space, self.retract)
            return self._draw(replace(state, mean=mean, sigma=self.step, round=1))
        before = state.mean
        state = decomposed(learned(state, state.y[order], state.squares[order], w, k), k.gap)
        if spent(state, before):
            return self._start(state.space, state.rng)
        return self._draw(state)

    def _start(self, space: Space, rng: Rng) -> CMAState:
        zero = torch.zeros(space.dim, dtype=torch.float64)
        eye, one = torch.eye(space.dim, dtype=torch.float64), torch.ones_like(zero)
        none = zero.new_empty(0, space.dim)
        return self._draw(CMAState(zero, 1.0, eye, eye, one, zero, zero, 0, none, none[:, 0], none, rng, space))

    def _draw(self, state: CMAState) -> CMAState:
        d, n = len(state.mean), self.population - (state.round > 0)
        z, rng = state.rng.normal(n, d, dtype=torch.float64)  # (38)
        known = state.round >= constants(d, n).gap  # else C is still taken for I
        y = (z * state.axes) @ state.basis.T if known else z  # (39)
        u = state.mean + state.sigma * y  # (40)
        u = torch.cat([u, state.mean[None]]) if state.round else u
        u = state.space.retract(u) if self.retract else u
        return replace(state, y=y, squares=z.square().sum(1), u=u.float(), rng=rng)
