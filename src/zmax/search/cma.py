"""CMA-ES with a full covariance, in torch; equation numbers are those of Hansen's tutorial, arXiv:1604.00772v2."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from zmax.core.rng import Rng
from zmax.core.space import Space
from zmax.core.state import STATIC
from zmax.core.strategy import Evaluation, Latents, Strategy
from zmax.search.checks import lost, positive, ranking, retracted, whole

ILL_CONDITIONED = 1e14
STALE = 0.02  # share of the covariance that may be renewed before it is decomposed again


@dataclass(frozen=True)
class Constants:
    """Weights and rates for a dimension and a population; table 1 of the tutorial."""

    weights: Float[Tensor, " n"]
    mu_eff: float
    c_sigma: float
    d_sigma: float
    c_c: float
    c_1: float
    c_mu: float
    chi: float
    gap: int


@dataclass(frozen=True)
class CMAState:
    """The search law N(mean, sigma^2 cov) with cov = basis diag(axes^2) basis^T, its paths and its draws.

    Attributes:
        mean: centre m.
        sigma: overall step.
        cov: C.
        basis: eigenvectors of C, as of the last decomposition.
        axes: square roots of its eigenvalues.
        path_sigma: evolution path of the step, isotropic coordinates.
        path_c: evolution path of the covariance.
        round: rounds told since the last restart.
        y: steps drawn from N(0, C), before retraction.
        squares: Mahalanobis norm of each, squared.
        u: the points they stand for, and from the second round on the mean as well.
        rng: the stream that draws come from.
    """

    mean: Float[Tensor, " dim"]
    sigma: float
    cov: Float[Tensor, "dim dim"]
    basis: Float[Tensor, "dim dim"]
    axes: Float[Tensor, " dim"]
    path_sigma: Float[Tensor, " dim"]
    path_c: Float[Tensor, " dim"]
    round: int
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

    needs: ClassVar[str] = "any generator of at most about 1000 latent dimensions, any score"
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

    def ask(self, state: CMAState) -> Latents:
        """Return the round's points."""
        return Latents(state.u)

    def tell(self, state: CMAState, evaluation: Evaluation) -> CMAState:
        """Update the search law; failed rows have no weight, and a round without any result is redrawn."""
        n = len(state.y)
        order = ranking(evaluation.score[:n], evaluation.ok[:n])
        if not bool(evaluation.ok[order[0]]):
            return self._draw(state)
        k = constants(len(state.mean), n)
        w = k.weights * evaluation.ok[order]
        w = torch.where(w > 0, w / w.clamp_min(0).sum(), w)
        if state.round == 0:
            mean = retracted(w.clamp_min(0) @ state.y[order], state.space, self.retract)
            return self._draw(replace(state, mean=mean, sigma=self.step, round=1))
        before = state.mean
        state = _decomposed(_learned(state, state.y[order], state.squares[order], w, k), k.gap)
        longest, shortest = float(state.axes.max()), float(state.axes.min())
        if lost(state.sigma * longest, before) or longest**2 > ILL_CONDITIONED * shortest**2:
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


def _learned(state: CMAState, y: Tensor, squares: Tensor, w: Tensor, k: Constants) -> CMAState:
    """Update mean, sigma, C and the paths from the steps y, sorted from best to worst, and their weights."""
    d = len(state.mean)
    y_w = w.clamp_min(0) @ y  # (41)
    whitened = state.basis @ ((state.basis.T @ y_w) / state.axes)
    path_sigma = (1 - k.c_sigma) * state.path_sigma + math.sqrt(k.c_sigma * (2 - k.c_sigma) * k.mu_eff) * whitened
    length = float(path_sigma.norm())  # of (43)
    memory = math.sqrt(1 - (1 - k.c_sigma) ** (2 * state.round))
    h = float(length / memory < (1.4 + 2 / (d + 1)) * k.chi)
    path_c = (1 - k.c_c) * state.path_c + h * math.sqrt(k.c_c * (2 - k.c_c) * k.mu_eff) * y_w  # (45)
    keep = 1 + k.c_1 * (1 - h) * k.c_c * (2 - k.c_c) - k.c_1 - k.c_mu * float(w.sum())
    w = torch.where(w < 0, w * d / squares.clamp_min(1e-12), w)  # (46)
    rows = torch.cat([y, path_c[None]])
    rates = torch.cat([k.c_mu * w, torch.tensor([k.c_1], dtype=w.dtype)])
    return replace(
        state,
        mean=state.mean + state.sigma * y_w,  # (42)
        sigma=state.sigma * math.exp(min(1.0, k.c_sigma / k.d_sigma * (length / k.chi - 1))),  # (44)
        cov=torch.addmm(state.cov, rows.T * rates, rows, beta=keep),  # (47)
        path_sigma=path_sigma,
        path_c=path_c,
        round=state.round + 1,
    )


def _decomposed(state: CMAState, gap: int) -> CMAState:
    """Decompose C every `gap` rounds; in between it has hardly changed."""
    if state.round % gap:
        return state
    cov = (state.cov + state.cov.T) / 2
    values, basis = torch.linalg.eigh(cov)
    return replace(state, cov=cov, basis=basis, axes=values.clamp_min(1e-30).sqrt())


@lru_cache(maxsize=64)
def constants(d: int, n: int) -> Constants:
    """Return the default parameters of table 1 for dimension d and population n."""
    raw = math.log((n + 1) / 2) - torch.arange(1, n + 1, dtype=torch.float64).log()  # (49)
    plus, minus = raw.clamp_min(0), raw.clamp_max(0)
    mu_eff = float(plus.sum() ** 2 / plus.square().sum())
    mu_eff_minus = float(minus.sum() ** 2 / minus.square().sum())
    c_sigma = (mu_eff + 2) / (d + mu_eff + 5)  # (55)
    d_sigma = 1 + 2 * max(0.0, math.sqrt((mu_eff - 1) / (d + 1)) - 1) + c_sigma
    c_c = (4 + mu_eff / d) / (d + 4 + 2 * mu_eff / d)  # (56)
    c_1 = 2 / ((d + 1.3) ** 2 + mu_eff)  # (57)
    c_mu = min(1 - c_1, 2 * (0.25 + mu_eff + 1 / mu_eff - 2) / ((d + 2) ** 2 + mu_eff))  # (58)
    negative = min(1 + c_1 / c_mu, 1 + 2 * mu_eff_minus / (mu_eff + 2), (1 - c_1 - c_mu) / (d * c_mu))  # (50)-(52)
    weights = plus / plus.sum() + negative * minus / -minus.sum()  # (53)
    chi = math.sqrt(d) * (1 - 1 / (4 * d) + 1 / (21 * d**2))
    gap = max(1, math.ceil(max(1 / (10 * d), STALE) / (c_1 + c_mu)))
    return Constants(weights, mu_eff, c_sigma, d_sigma, c_c, c_1, c_mu, chi, gap)
