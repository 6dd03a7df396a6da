"""The tilted law of one Gaussian under a quadratic score, in the log domain."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from zmax.core.errors import InputError, ShapeError


class TiltedNormal(NamedTuple):
    """A Gaussian N(mean, factor factor^T) and the logarithm of its normalising constant."""

    mean: Float[Tensor, " d"]
    factor: Float[Tensor, "d d"]
    log_z: Float[Tensor, ""]


def tilt_normal(
    mean: Float[Tensor, " d"],
    factor: Float[Tensor, "d d"],
    matrix: Float[Tensor, "d d"],
    vector: Float[Tensor, " d"],
    temperature: float,
) -> TiltedNormal:
    r"""Tilt N(m, L L^T) by exp(S / T), S(x) = -x^T A x / 2 + b^T x.

    With x = m + L y, y ~ N(0, I), g = L^T (b - A m) and M = I + L^T A L / T, the tilted y is
    N(M^{-1} g / T, M^{-1}), and

    .. math:: \log E[e^{S/T}] = \frac{S(m)}{T} + \frac{g^\top M^{-1} g}{2 T^2} - \tfrac12 \log\det M.

    Raises:
        InputError: M is not positive definite, so exp(S / T) grows faster than the Gaussian falls.
    """
    check_temperature(temperature)
    curvature = factor.T @ matrix @ factor
    values, basis = torch.linalg.eigh((curvature + curvature.T) / 2)
    precision = 1 + values / temperature
    if float(precision.min()) <= 0:
        lowest = float(values.min())
        raise InputError(
            f"the law tilted by this score at temperature {temperature:g} cannot be normalised",
            expected="1 + eigenvalue / temperature > 0 for every eigenvalue of A in units of the prior (L^T A L)",
            got=f"eigenvalue {lowest:.6g}, so 1 + eigenvalue / temperature = {float(precision.min()):.6g}",
            remedy=f"choose a temperature above {-lowest:.6g}",
        )
    slope = basis.T @ (factor.T @ (vector - matrix @ mean)) / temperature
    value = (vector @ mean - mean @ matrix @ mean / 2) / temperature
    log_z = value + (slope.square() / precision).sum() / 2 - precision.log().sum() / 2
    return TiltedNormal(mean + factor @ basis @ (slope / precision), factor @ basis / precision.sqrt(), log_z)


def normal_log_prob(
    x: Float[Tensor, "n d"], mean: Float[Tensor, " d"], cov: Float[Tensor, "d d"]
) -> Float[Tensor, " n"]:
    """Return log N(x; mean, cov), in nats."""
    lower = torch.linalg.cholesky(cov)
    white = torch.linalg.solve_triangular(lower, (x - mean).T, upper=False)
    return -white.square().sum(0) / 2 - lower.diagonal().log().sum() - len(mean) * math.log(2 * math.pi) / 2


def check_temperature(temperature: float) -> None:
    """Raise InputError unless the temperature is positive and finite."""
    if not (temperature > 0 and math.isfinite(temperature)):
        raise InputError("temperature", expected="a positive finite number", got=temperature)


def check_points(x: Tensor, dim: int) -> Float[Tensor, "n d"]:
    """Return x in float64.

    Raises:
        ShapeError: it is not a batch (n, dim).
    """
    if x.ndim != 2 or x.shape[1] != dim:
        remedy = "a single point is a batch of one: x[None]"
        raise ShapeError("points of the law", expected=f"(n, {dim})", got=tuple(x.shape), remedy=remedy)
    return x.double()


def check_covariance(cov: Tensor, what: str) -> None:
    """Raise InputError unless cov is finite, symmetric and positive definite."""
    if not bool(torch.isfinite(cov).all()) or float((cov - cov.mT).abs().max()) > 1e-9 * float(cov.abs().max()):
        raise InputError(what, expected="a finite symmetric matrix", got=cov.tolist())
    values = torch.linalg.eigvalsh(cov)
    if float(values.min()) <= 1e-14 * float(values.max()):
        raise InputError(
            what,
            expected="a positive definite matrix",
            got=f"lowest eigenvalue {float(values.min()):.6g}, highest {float(values.max()):.6g}",
            remedy="add a small multiple of the identity",
        )
