"""A law known by samples, as a normal law of their mean and covariance."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from zmax.core.errors import InputError, ShapeError
from zmax.core.priors import Prior


@dataclass(frozen=True)
class Empirical(Prior):
    """A law known by samples, whitened by its mean and covariance: z = mean + L u with L L^T = cov.

    It is how a W space, or any learned latent, becomes a prior. Exact where the law is Gaussian.
    """

    mean: Float[Tensor, " k"]
    factor: Float[Tensor, "k k"]

    def __post_init__(self) -> None:
        k = self.mean.numel()
        if self.mean.shape != (k,) or self.factor.shape != (k, k):
            got = f"{tuple(self.mean.shape)} and {tuple(self.factor.shape)}"
            raise ShapeError("mean and factor of an empirical prior", expected="(k,) and (k, k)", got=got)

    @property
    def size(self) -> int:
        """Number of coordinates."""
        return len(self.mean)

    @classmethod
    def fit(cls, samples: Float[Tensor, "n k"], *, shrinkage: float = 1e-5) -> Empirical:
        """Estimate mean and covariance factor from samples, shrinking towards the isotropic covariance."""
        if samples.shape[0] < 2:
            raise InputError("an empirical prior needs samples", expected="at least 2", got=samples.shape[0])
        centred = (samples - samples.mean(0)).double()
        cov = centred.T @ centred / (samples.shape[0] - 1)
        eye = torch.eye(cov.shape[0], dtype=cov.dtype, device=cov.device)
        cov = (1 - shrinkage) * cov + (shrinkage * cov.diagonal().mean() + 1e-12) * eye
        return cls(samples.mean(0), torch.linalg.cholesky(cov).to(samples.dtype))

    def to_latent(self, u: Float[Tensor, "n k"]) -> Float[Tensor, "n k"]:
        """Apply mean and factor, on the device and in the dtype of u."""
        return self.mean.to(u) + u @ self.factor.to(u).T

    def to_white(self, z: Float[Tensor, "n k"]) -> Float[Tensor, "n k"]:
        """Solve the triangular system, on the device and in the dtype of z."""
        return torch.linalg.solve_triangular(self.factor.to(z), (z - self.mean.to(z)).T, upper=False).T
