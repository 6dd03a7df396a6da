"""The Gaussian process on distances: against gpytorch, dense formulas and its own derivatives."""

from __future__ import annotations

import gpytorch
import pytest
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from zmax.core.rng import stream
from zmax.search.surrogate.matern import JITTER, Posterior, chosen, evidence, matern

N, DIM, LENGTHSCALE, NOISE = 40, 6, 1.3, 0.01


def squares(a: Tensor, b: Tensor) -> Tensor:
    return (a[:, None] - b).square().sum(2)


@pytest.fixture
def data() -> tuple[Tensor, Tensor, Tensor]:
    rng = stream(0, "matern")
    x, new = (torch.randn(n, DIM, generator=rng, dtype=torch.float64) for n in (N, 7))
    return x, x[:, 0].sin() + x[:, 1] * x[:, 2] / 3, new


def peer(x: Tensor, y: Tensor, posterior: Posterior) -> gpytorch.models.ExactGP:
    """The same process in gpytorch."""

    class Peer(gpytorch.models.ExactGP):
        def __init__(self) -> None:
            super().__init__(x, y, gpytorch.likelihoods.GaussianLikelihood().double())
            self.mean_module = gpytorch.means.ConstantMean()
            self.covar_module = gpytorch.kernels.ScaleKernel(gpytorch.kernels.MaternKernel(2.5))

        def forward(self, x: Tensor) -> gpytorch.distributions.MultivariateNormal:
            return gpytorch.distributions.MultivariateNormal(self.mean_module(x), self.covar_module(x))

    model = Peer().double()
    model.mean_module.constant = posterior.mean
    model.covar_module.base_kernel.lengthscale = LENGTHSCALE
    model.covar_module.outputscale = posterior.variance
    model.likelihood.noise = posterior.variance * (NOISE + JITTER)
    return model


def test_the_posterior_is_that_of_gpytorch(data):
    x, y, new = data
    ours = Posterior.given(squares(x, x), y, LENGTHSCALE, NOISE)
    mean, deviation = ours.moments(squares(new, x))
    with torch.no_grad(), gpytorch.settings.fast_computations(False, False, False):
        theirs = peer(x, y, ours).eval()(new)
    torch.testing.assert_close(mean, theirs.mean, atol=1e-6, rtol=0)
    torch.testing.assert_close(deviation, theirs.stddev, atol=1e-6, rtol=0)


def test_the_evidence_is_the_likelihood_at_the_best_mean_and_variance(data):
    x, y, _ = data
    gram = matern(squares(x, x), LENGTHSCALE)[0]
    noises = (1e-3, NOISE, 1.0)
    for noise, log in zip(noises, evidence(squares(x, x), y, LENGTHSCALE, noises), strict=True):
        best = Posterior.given(squares(x, x), y, LENGTHSCALE, noise)
        covariance = gram + (noise + JITTER) * torch.eye(N, dtype=torch.float64)

        def dense(mean: float, variance: float, covariance: Tensor = covariance) -> float:
            law = MultivariateNormal(torch.full((N,), mean, dtype=torch.float64), variance * covariance)
            return float(law.log_prob(y))

        assert log == pytest.approx(dense(best.mean, best.variance), abs=1e-6)
        for factor in (0.9, 1.1):
            assert dense(best.mean, best.variance * factor) < log
            assert dense(best.mean + factor - 1, best.variance) < log


def test_the_choice_recovers_the_process_that_made_the_data():
    """With draws of a known process the chosen length-scale is within a factor 2, the noise within 4, over seeds."""
    found = []
    for seed in range(5):
        rng = stream(seed, "choice")
        x = torch.randn(150, 2, generator=rng, dtype=torch.float64)
        gram = matern(squares(x, x), 1.0)[0] + 0.01 * torch.eye(150, dtype=torch.float64)
        y = torch.linalg.cholesky(gram) @ torch.randn(150, generator=rng, dtype=torch.float64)
        found.append(chosen(squares(x, x), y, (0.125, 0.25, 0.5, 1.0, 2.0, 4.0), (1e-4, 1e-3, 0.01, 0.1, 1.0)))
    assert all(0.5 <= lengthscale <= 2.0 for lengthscale, _ in found)
    assert sorted(noise for _, noise in found)[2] == 0.01


def test_the_kernel_and_the_bound_have_the_derivatives_they_state(data):
    x, y, new = data
    square = squares(new[:1], x)[0].requires_grad_()
    kernel, slope = matern(square, LENGTHSCALE)
    torch.testing.assert_close(slope, torch.autograd.grad(kernel.sum(), square)[0])
    posterior = Posterior.given(squares(x, x), y, LENGTHSCALE, NOISE)
    mean, deviation = posterior.moments(square[None])
    expected = mean[0] + 1.7 * deviation[0]
    bound, pull = posterior.bound(square.detach(), 1.7)
    torch.testing.assert_close(bound, expected.detach())
    torch.testing.assert_close(pull, torch.autograd.grad(expected, square)[0])


def test_a_foreseen_point_is_a_point_seen_at_its_mean(data):
    """One more row of the factor equals conditioning anew, and the mean stays where it was."""
    x, y, new = data
    posterior = Posterior.given(squares(x, x), y, LENGTHSCALE, NOISE)
    for point in new[:3]:
        posterior, x = posterior.foreseeing((x - point).square().sum(1)), torch.cat([x, point[None]])
    anew = matern(squares(x, x), LENGTHSCALE)[0] + (NOISE + JITTER) * torch.eye(len(x), dtype=torch.float64)
    torch.testing.assert_close(posterior.factor @ posterior.factor.T, anew)
    first = Posterior.given(squares(x[:N], x[:N]), y, LENGTHSCALE, NOISE)
    before, after = first.moments(squares(new, x[:N])), posterior.moments(squares(new, x))
    torch.testing.assert_close(after[0], before[0])
    assert bool((after[1] <= before[1] + 1e-12).all())
    assert bool((after[1][:3] < 0.3 * before[1][:3]).all())
