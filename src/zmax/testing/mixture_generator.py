"""A diffusion model of a Gaussian mixture with the exact denoiser."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from zmax.core.generator import Schedule
from zmax.generators.diffusion.generator import DenoiserGenerator
from zmax.generators.diffusion.multistep import DPMSolver
from zmax.generators.diffusion.samplers import DDIM


class MixtureDenoiser(nn.Module):
    r"""The posterior of x_0 ~ sum_k w_k N(m_k, C_k) given x_t = alpha x_0 + sigma eps, in closed form.

    With :math:`S_k = \alpha^2 C_k + \sigma^2 I` and
    :math:`r_k \propto w_k N(x_t; \alpha m_k, S_k)`,

    .. math:: E[x_0 | x_t] = \sum_k r_k \mu_k, \quad
        \mu_k = m_k + \alpha C_k S_k^{-1} (x_t - \alpha m_k), \quad
        \Sigma_k = \sigma^2 C_k S_k^{-1}.
    """

    means: Tensor
    values: Tensor
    bases: Tensor
    log_weights: Tensor

    def __init__(
        self,
        means: Float[Tensor, "k d"],
        covs: Float[Tensor, "k d d"],
        weights: Float[Tensor, " k"],
        schedule: Schedule,
    ) -> None:
        super().__init__()
        self.schedule = schedule
        values, bases = torch.linalg.eigh(covs)
        self.register_buffer("means", means.clone())
        self.register_buffer("values", values)
        self.register_buffer("bases", bases)
        self.register_buffer("log_weights", weights.log())

    def forward(self, x_t: Float[Tensor, "n d"], t: Float[Tensor, " n"]) -> Float[Tensor, "n d"]:
        """Return E[x_0 | x_t]."""
        share, means, _ = self.posterior(x_t, t)
        return torch.einsum("nk,nki->ni", share, means)

    def covariance(self, x_t: Float[Tensor, "n d"], t: Float[Tensor, " n"]) -> Float[Tensor, "n d d"]:
        """Return Cov[x_0 | x_t]: within plus between the components."""
        share, means, spread = self.posterior(x_t, t)
        within = torch.einsum("nk,kij,nkj,klj->nil", share, self.bases, spread, self.bases)
        apart = means - torch.einsum("nk,nki->ni", share, means)[:, None]
        return within + torch.einsum("nk,nki,nkj->nij", share, apart, apart)

    def posterior(
        self, x_t: Float[Tensor, "n d"], t: Float[Tensor, " n"]
    ) -> tuple[Float[Tensor, "n k"], Float[Tensor, "n k d"], Float[Tensor, "n k d"]]:
        """Return the posterior mixture: weights r, means mu and the eigenvalues of Sigma in each component's basis."""
        alpha, sigma = (level.to(x_t)[:, None, None] for level in (self.schedule.alpha(t), self.schedule.sigma(t)))
        apart = torch.einsum("kji,nkj->nki", self.bases, x_t[:, None] - alpha * self.means)
        total = alpha.square() * self.values + sigma.square()
        means = self.means + torch.einsum("kij,nkj->nki", self.bases, alpha * self.values / total * apart)
        log_joint = self.log_weights - (apart.square() / total + total.log() + math.log(2 * math.pi)).sum(2) / 2
        return log_joint.softmax(1), means, sigma.square() * self.values / total


class MixtureGenerator(DenoiserGenerator):
    """A mixture as a diffusion model; made by :meth:`~zmax.testing.GaussianMixture.generator`."""

    denoiser: MixtureDenoiser

    def __init__(self, denoiser: MixtureDenoiser, *, steps: int = 100, eta: float = 1.0) -> None:
        super().__init__(
            denoiser,
            shape=denoiser.means.shape[1:],
            schedule=denoiser.schedule,
            sampler=(DPMSolver if eta else DDIM)(steps, eta),
            name="gaussian-mixture",
        )

    def posterior_covariance(self, x_t: Float[Tensor, "n d"], t: Float[Tensor, " n"]) -> Float[Tensor, "n d d"]:
        """Return Cov[x_0 | x_t] in closed form."""
        return self.denoiser.covariance(x_t, t)
