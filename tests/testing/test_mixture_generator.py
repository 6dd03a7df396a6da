"""The exact denoiser against quadrature and Tweedie's formulas; decoding against finite differences."""

import pytest
import torch

from zmax.testing import GeneratorConformance, gaussian_mixture, linear_gaussian

SCHEDULES = ["vp-linear", "rectified-flow"]


def law_1d():
    return gaussian_mixture([[-1.5], [0.5], [2.0]], [[[0.1]], [[0.5]], [[0.05]]], [0.3, 0.5, 0.2])


def law_2d():
    covs = [[[0.3, 0.1], [0.1, 0.2]], [[0.5, -0.2], [-0.2, 0.4]]]
    return gaussian_mixture([[-1.0, 0.5], [1.5, -0.5]], covs, [0.4, 0.6])


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("time", [0.05, 0.3, 0.7, 1.0])
def test_denoiser_and_covariance_equal_quadrature(schedule, time):
    law = law_1d()
    G = law.generator(schedule=schedule)
    x_t = torch.linspace(-2.5, 2.5, 11, dtype=torch.float64)[:, None]
    t = torch.full((11,), time, dtype=torch.float64)
    x_0 = torch.linspace(-6, 6, 40_001, dtype=torch.float64)
    alpha, sigma = G.schedule.alpha(t), G.schedule.sigma(t)
    log_joint = law.log_prob(x_0[:, None]) - ((x_t - alpha[:, None] * x_0) / sigma[:, None]).square() / 2
    p = log_joint.softmax(1)
    mean = p @ x_0
    variance = (p * (x_0 - mean[:, None]).square()).sum(1)
    torch.testing.assert_close(G.denoise(x_t, t)[:, 0], mean, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(G.posterior_covariance(x_t, t)[:, 0, 0], variance, rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_tweedie_first_and_second_order(schedule):
    """E[x0|x_t] = (x_t + sigma^2 score) / alpha and Cov[x0|x_t] = sigma^2 / alpha dE/dx_t."""
    law = law_2d()
    G = law.generator(schedule=schedule)
    t = torch.tensor([0.2, 0.5, 0.9], dtype=torch.float64)
    x = torch.randn(3, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    alpha, sigma = G.schedule.alpha(t), G.schedule.sigma(t)
    for i in range(3):
        marginal = gaussian_mixture(
            alpha[i] * law.means, alpha[i] ** 2 * law.covs + sigma[i] ** 2 * torch.eye(2).double(), law.weights
        )
        point = x[i : i + 1].clone().requires_grad_()
        (slope,) = torch.autograd.grad(marginal.log_prob(point).sum(), point)
        expected = (x[i] + sigma[i] ** 2 * slope[0]) / alpha[i]
        torch.testing.assert_close(G.denoise(x[i : i + 1], t[i : i + 1])[0], expected, rtol=1e-9, atol=1e-9)
        jacobian = torch.autograd.functional.jacobian(lambda y, i=i: G.denoise(y[None], t[i : i + 1])[0], x[i])
        covariance = G.posterior_covariance(x[i : i + 1], t[i : i + 1])[0]
        torch.testing.assert_close(covariance, sigma[i] ** 2 / alpha[i] * jacobian, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_denoiser_at_no_noise_and_at_pure_noise(schedule):
    law = law_2d()
    G = law.generator(schedule=schedule)
    x = torch.randn(4, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.testing.assert_close(G.denoise(x, torch.zeros(4).double()), x)
    assert float(G.posterior_covariance(x, torch.zeros(4).double()).abs().max()) < 1e-12
    far = G.denoise(x, torch.ones(4).double())
    torch.testing.assert_close(far, law.mean.expand(4, 2), rtol=0, atol=0.05)


def test_latents_are_the_noises():
    assert law_2d().generator(steps=10, eta=0.0).space.dim == 2
    space = law_2d().generator(steps=10, eta=1.0).space
    assert [block.name for block in space.blocks] == ["noise", "injected"]
    assert space.dim == 2 + 9 * 2


def test_decoding_costs_one_evaluation_a_step():
    G = law_2d().generator(steps=7, eta=1.0)
    sizes = []
    hook = G.networks[0].register_forward_hook(lambda module, args, out: sizes.append(len(args[0])))
    G.decode(G.space.latents(G.space.sample(3, torch.Generator().manual_seed(0))))
    hook.remove()
    assert sizes == [3] * 7


class TestDeterministicMixture(GeneratorConformance):
    tolerance = 1e-10
    fd_step = 1e-5
    fd_tolerance = 1e-6

    def make(self):
        return law_2d().generator(steps=20, eta=0.0)

    def points(self, generator):
        return super().points(generator).double()


class TestStochasticMixture(TestDeterministicMixture):
    def make(self):
        return law_2d().generator(steps=10, eta=1.0, schedule="rectified-flow")


class TestLinear(TestDeterministicMixture):
    def make(self):
        return linear_gaussian(torch.randn(3, 4, generator=torch.Generator().manual_seed(0))).generator()
