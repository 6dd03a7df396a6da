"""Gaussian mixtures, and their tilted laws under quadratic scores, which are Gaussian mixtures again."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from zmax.core.errors import InputError, ShapeError
from zmax.core.generator import Schedule
from zmax.generators.diffusion.schedules import schedule as levels
from zmax.testing.mixture_generator import MixtureDenoiser, MixtureGenerator
from zmax.testing.modes import highest_mode
from zmax.testing.quadratic import Array, QuadraticScore
from zmax.testing.tilting import check_covariance, check_points, normal_log_prob, tilt_normal


@dataclass(frozen=True)
class GaussianMixture:
    r"""The law :math:`\sum_k w_k N(m_k, C_k)`, in float64; see :func:`gaussian_mixture`.

    Attributes:
        means: (k, d).
        covs: (k, d, d).
        weights: (k,), summing to one.
    """

    means: Float[Tensor, "k d"]
    covs: Float[Tensor, "k d d"]
    weights: Float[Tensor, " k"]

    @property
    def dim(self) -> int:
        """Length d of a sample."""
        return self.means.shape[1]

    @property
    def mean(self) -> Float[Tensor, " d"]:
        """Mean of the mixture."""
        return self.weights @ self.means

    @property
    def cov(self) -> Float[Tensor, "d d"]:
        """Covariance of the mixture: within plus between the components."""
        apart = self.means - self.mean
        return torch.einsum("k,kij->ij", self.weights, self.covs + apart[:, :, None] * apart[:, None, :])

    def log_joint(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n k"]:
        """Return log w_k N(x; m_k, C_k)."""
        x = check_points(x, self.dim)
        parts = [normal_log_prob(x, m, c) for m, c in zip(self.means, self.covs, strict=True)]
        return torch.stack(parts, 1) + self.weights.log()

    def log_prob(self, x: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
        """Return the log density at x, in nats."""
        return self.log_joint(x).logsumexp(1)

    def sample(self, n: int, rng: torch.Generator) -> Float[Tensor, "n d"]:
        """Draw n independent samples."""
        which = torch.multinomial(self.weights, n, replacement=True, generator=rng)
        noise = torch.randn(n, self.dim, generator=rng, dtype=torch.float64)
        return self.means[which] + torch.einsum("nij,nj->ni", torch.linalg.cholesky(self.covs)[which], noise)

    def argmax(self) -> Float[Tensor, " d"]:
        """Return the mode of the density; see :func:`~zmax.testing.modes.highest_mode`."""
        return highest_mode(self.means, self.covs, self.log_joint)

    def tilt(self, score: QuadraticScore, temperature: float = 1.0) -> TiltedMixture:
        r"""Return the law proportional to :math:`p(x) \exp(S(x) / T)`.

        Component k becomes :math:`N(m'_k, C'_k)` with :math:`C'^{-1}_k = C^{-1}_k + A / T` and
        :math:`m'_k = C'_k (C^{-1}_k m_k + b / T)`; its weight becomes :math:`w_k Z_k / \sum_j w_j Z_j`.

        Raises:
            ShapeError: the score is made for samples of another length.
            InputError: the tilted law cannot be normalised at this temperature.
        """
        matrix, vector = score.terms_for(self.dim)
        factors = torch.linalg.cholesky(self.covs)
        parts = [
            tilt_normal(mean, factor, matrix, vector, temperature)
            for mean, factor in zip(self.means, factors, strict=True)
        ]
        log_weights = self.weights.log() + torch.stack([part.log_z for part in parts])
        return TiltedMixture(
            means=torch.stack([part.mean for part in parts]),
            covs=torch.stack([part.factor @ part.factor.T for part in parts]),
            weights=log_weights.softmax(0),
            log_z=float(log_weights.logsumexp(0)),
        )

    def generator(self, steps: int = 100, eta: float = 1.0, schedule: str | Schedule = "vp-linear") -> MixtureGenerator:
        """Return a diffusion model of this law with the exact denoiser, sampled by DDIM; with fresh noise, by 2M.

        With eta = 0 the latent is the initial noise alone (a deterministic decoder); with eta > 0 the noises injected
        on the way are a second block of the latent, so that decoding is still a function of the latent.

        Args:
            steps: steps from noise to data; the law of the samples tends to this one as they grow.
            eta: share of fresh noise, in [0, 1].
            schedule: "vp-linear", "rectified-flow" or a Schedule.
        """
        denoiser = MixtureDenoiser(self.means, self.covs, self.weights, levels(schedule))
        return MixtureGenerator(denoiser, steps=steps, eta=eta)


@dataclass(frozen=True)
class TiltedMixture(GaussianMixture):
    """A tilted mixture, itself a mixture.

    Attributes:
        log_z: log E_p exp(S(x) / T).
    """

    log_z: float


def gaussian_mixture(means: Array, covs: Array, weights: Array) -> GaussianMixture:
    r"""Return the law :math:`\sum_k w_k N(m_k, C_k)`.

    Args:
        means: (k, d).
        covs: (k, d, d), symmetric positive definite.
        weights: (k,), positive; they are divided by their sum.

    Raises:
        ShapeError: the shapes do not agree.
        InputError: a covariance is not positive definite, or a weight not positive.

    Example:
        >>> law = gaussian_mixture([[-1.0], [1.0]], [[[1.0]], [[1.0]]], [0.5, 0.5])
        >>> law.mean.tolist(), law.cov.tolist()
        ([0.0], [[2.0]])
    """
    m, c, w = (torch.as_tensor(value, dtype=torch.float64) for value in (means, covs, weights))
    if m.ndim != 2:
        raise ShapeError("means of a mixture", expected="(k, d)", got=tuple(m.shape))
    k, d = m.shape
    if c.shape != (k, d, d):
        raise ShapeError("covariances of a mixture", expected=f"({k}, {d}, {d})", got=tuple(c.shape))
    if w.shape != (k,):
        raise ShapeError("weights of a mixture", expected=f"({k},)", got=tuple(w.shape))
    if not bool(((w > 0) & torch.isfinite(w)).all()):
        raise InputError("weights of a mixture", expected="positive finite numbers", got=w.tolist())
    for i, cov in enumerate(c):
        check_covariance(cov, f"covariance {i} of a mixture")
    return GaussianMixture(m, (c + c.mT) / 2, w / w.sum())
