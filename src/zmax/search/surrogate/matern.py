"""A Gaussian process that knows its points by their distances alone, so that dimension costs it nothing."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

PRIOR_MEDIAN, PRIOR_WIDTH = 2**0.5, 3**0.5  # of log(l / sqrt(d)): section 4 of the paper that `chosen` refers to
JITTER = 1e-9
SMALLEST = 1e-12


def matern(square: Tensor, lengthscale: float) -> tuple[Tensor, Tensor]:
    r"""Return the Matérn-5/2 kernel of squared distances, and its derivative by them.

    .. math:: k(r^2) = (1 + s + s^2 / 3)\, e^{-s}, \qquad
              \frac{\mathrm{d}k}{\mathrm{d}r^2} = -\frac{5}{6 \ell^2} (1 + s)\, e^{-s}, \qquad s = \sqrt5\, r / \ell

    Args:
        square: squared distances, of any shape.
        lengthscale: l.

    Example:
        >>> k, slope = matern(torch.tensor([0.0, 1.0]), 1.0)
        >>> [round(float(v), 3) for v in (*k, *slope)]
        [1.0, 0.524, -0.833, -0.288]
    """
    s = (5 * square.clamp_min(0.0)).sqrt() / lengthscale
    fall = torch.exp(-s)
    return (1 + s + s.square() / 3) * fall, -5 / (6 * lengthscale**2) * (1 + s) * fall


def evidence(
    square: Float[Tensor, "n n"], y: Float[Tensor, " n"], lengthscale: float, noises: Iterable[float]
) -> list[float]:
    r"""Return the log marginal likelihood at each noise, from one eigendecomposition.

    .. math:: \log p(y) = -\tfrac n2 (\log 2 \pi \hat s^2 + 1) - \tfrac12 \log |K + \lambda I|, \qquad
              \hat s^2 = \tfrac1n (y - \hat m)^\top (K + \lambda I)^{-1} (y - \hat m)

    with the prior's mean m and variance :math:`s^2` at their most likely values; :math:`\lambda` is the noise variance
    in units of :math:`s^2`. Reference: Rasmussen and Williams, Gaussian processes for machine learning, 2006,
    equation 2.30.
    """
    values, basis = torch.linalg.eigh(matern(square, lengthscale)[0])
    n, a, one = len(y), basis.T @ y, basis.sum(0)
    logs = []
    for noise in noises:
        w = 1 / (values.clamp_min(0.0) + noise + JITTER)
        mean = (one * w) @ a / ((one * w) @ one)
        variance = max(float(w @ (a - mean * one).square()) / n, SMALLEST)
        logs.append(-n / 2 * (math.log(2 * math.pi * variance) + 1) + float(w.log().sum()) / 2)
    return logs


def chosen(
    square: Float[Tensor, "n n"], y: Float[Tensor, " n"], lengthscales: Iterable[float], noises: tuple[float, ...]
) -> tuple[float, float]:
    r"""Return the length-scale and noise of a grid with the largest posterior density.

    The length-scale's prior is :math:`\log \ell \sim N(\sqrt 2, 3)` for distances in units of :math:`\sqrt d`, which
    keeps the process smooth however high d is. Reference: Hvarfner, Hellsten and Nardi, Vanilla Bayesian optimization
    performs great in high dimensions, ICML 2024, section 4, https://arxiv.org/abs/2402.02229.
    """
    tried = []
    for lengthscale in lengthscales:
        log_prior = -(((math.log(lengthscale) - PRIOR_MEDIAN) / PRIOR_WIDTH) ** 2) / 2
        logs = evidence(square, y, lengthscale, noises)
        tried += [(log + log_prior, lengthscale, noise) for log, noise in zip(logs, noises, strict=True)]
    best = max(tried)
    return best[1], best[2]


@dataclass(frozen=True)
class Posterior:
    """A Gaussian process given values at n points.

    Attributes:
        lengthscale: of the kernel, in the unit of the distances.
        noise: variance of a value, relative to that of the process.
        mean: most likely mean of the prior.
        variance: most likely variance of the prior.
        factor: lower Cholesky factor of K + noise I.
        weights: (K + noise I)^-1 (y - mean).
    """

    lengthscale: float
    noise: float
    mean: float
    variance: float
    factor: Float[Tensor, "n n"]
    weights: Float[Tensor, " n"]

    @classmethod
    def given(cls, square: Tensor, y: Float[Tensor, " n"], lengthscale: float, noise: float) -> Posterior:
        """Condition on values y at points whose squared distances are `square` (n, n)."""
        gram = matern(square, lengthscale)[0]
        gram.diagonal().add_(noise + JITTER)
        factor = torch.linalg.cholesky(gram)
        solved = torch.cholesky_solve(torch.stack([y, torch.ones_like(y)], dim=1), factor)
        mean = float(solved[:, 0].sum() / solved[:, 1].sum())
        weights = solved[:, 0] - mean * solved[:, 1]
        return cls(lengthscale, noise, mean, max(float((y - mean) @ weights) / len(y), SMALLEST), factor, weights)

    def moments(self, square: Float[Tensor, "k n"]) -> tuple[Float[Tensor, " k"], Float[Tensor, " k"]]:
        """Return mean and standard deviation of the process at squared distances `square` from the n points."""
        k = matern(square, self.lengthscale)[0]
        left = torch.linalg.solve_triangular(self.factor, k.T, upper=False)
        rest = (1 - left.square().sum(0)).clamp_min(SMALLEST)
        return self.mean + k @ self.weights, (self.variance * rest).sqrt()

    def bound(self, square: Float[Tensor, " n"], confidence: float) -> tuple[Tensor, Float[Tensor, " n"]]:
        r"""Return the bound :math:`\mu + \beta \sigma` at one point, and its derivative by `square`."""
        k, slope = matern(square, self.lengthscale)
        solved = torch.cholesky_solve(k[:, None], self.factor)[:, 0]
        deviation = (self.variance * (1 - k @ solved).clamp_min(SMALLEST)).sqrt()
        pull = self.weights - confidence * self.variance / deviation * solved
        return self.mean + k @ self.weights + confidence * deviation, slope * pull

    def foreseeing(self, square: Float[Tensor, " n"]) -> Posterior:
        r"""Return the process as if its own mean had been seen at one more point: one more row of the factor.

        The mean stays everywhere what it is, the deviation falls. Reference: Desautels, Krause and Burdick,
        Parallelizing exploration-exploitation tradeoffs in Gaussian process bandit optimization, JMLR 15, 2014,
        section 4.
        """
        n = len(self.weights)
        k = matern(square, self.lengthscale)[0]
        row = torch.linalg.solve_triangular(self.factor, k[:, None], upper=False)[:, 0]
        factor = self.factor.new_zeros(n + 1, n + 1)
        factor[:n, :n], factor[n, :n] = self.factor, row
        factor[n, n] = (1 + self.noise + JITTER - row @ row).clamp_min(SMALLEST).sqrt()
        return replace(self, factor=factor, weights=torch.cat([self.weights, self.weights.new_zeros(1)]))
