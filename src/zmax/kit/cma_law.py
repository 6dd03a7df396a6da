"""The search law of CMA-ES and how it learns; equation numbers are those of Hansen's tutorial, arXiv:1604.00772v2."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TypeVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from zmax.core.checks import few
from zmax.kit.ranks import lost, shared

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
class Law:
    """The search law N(mean, sigma^2 cov) with cov = basis diag(axes^2) basis^T, and its paths.

    Attributes:
        mean: centre m.
        sigma: overall step.
        cov: C.
        basis: eigenvectors of C, as of the last decomposition.
        axes: square roots of its eigenvalues.
        path_sigma: evolution path of the step, isotropic coordinates.
        path_c: evolution path of the covariance.
        round: rounds told since the last restart.
    """

    mean: Float[Tensor, " dim"]
    sigma: float
    cov: Float[Tensor, "dim dim"]
    basis: Float[Tensor, "dim dim"]
    axes: Float[Tensor, " dim"]
    path_sigma: Float[Tensor, " dim"]
    path_c: Float[Tensor, " dim"]
    round: int


LawT = TypeVar("LawT", bound=Law)


def fresh(mean: Float[Tensor, " dim"], sigma: float) -> Law:
    """Return the isotropic law with that mean and step, before the first round it learns from.

    Raises:
        CapabilityError: there are too many dimensions for a full covariance.
    """
    few("CMA-ES", len(mean))
    eye, zero = torch.eye(len(mean), dtype=torch.float64), torch.zeros(len(mean), dtype=torch.float64)
    return Law(mean.double(), sigma, eye, eye, torch.ones_like(zero), zero, zero, 1)


def parents(k: Constants, score: Float[Tensor, " n"], ok: Bool[Tensor, " n"]) -> Float[Tensor, " n"]:
    """Return the weights of rows sorted from best to worst; failed rows have none, the positive ones sum to 1."""
    w = shared(k.weights, score) * ok
    return torch.where(w > 0, w / w.clamp_min(0).sum(), w)


def spent(law: Law, before: Float[Tensor, " dim"]) -> bool:
    """Say whether a law that came from the mean `before` has shrunk, blown up or degenerated beyond use."""
    longest, shortest = float(law.axes.max()), float(law.axes.min())
    return lost(law.sigma * longest, before) or longest**2 > ILL_CONDITIONED * shortest**2


def learned(state: LawT, y: Tensor, squares: Tensor, w: Tensor, k: Constants) -> LawT:
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


def decomposed(state: LawT, gap: int) -> LawT:
    """Decompose C every `gap` rounds; in between it has hardly changed."""
    if state.round % gap:
        return state
    cov = (state.cov + state.cov.T) / 2
    values, basis = torch.linalg.eigh(cov)
    return replace(state, cov=cov, basis=basis, axes=values.clamp_min(1e-30).sqrt())


def default_population(d: int) -> int:
    """Return the default population in d dimensions, 4 + 3 ln d (48), at least 5."""
    return max(5, 4 + int(3 * math.log(d)))


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
