"""Schedules and samplers: exact solutions of the probability flow, orders of convergence, marginals, gradients."""

import itertools
import math

import pytest
import torch
from torch import nn

from zmax.core.errors import InputError, ShapeError
from zmax.generators.diffusion.generator import DenoiserGenerator
from zmax.generators.diffusion.samplers import DDIM, Euler, Heun
from zmax.generators.diffusion.schedules import RectifiedFlow, VPLinear, schedule
from zmax.generators.diffusion.steps import ddim_step
from zmax.testing import gaussian_mixture

MEAN, STD = 0.7, 0.4


def gaussian():
    return gaussian_mixture([[MEAN]], [[[STD**2]]], [1.0])


def flow_solution(levels, noise):
    """Along the probability flow of a Gaussian, (x_t - alpha m) / sqrt(alpha^2 s^2 + sigma^2) does not change."""
    one = torch.ones(1, dtype=torch.float64)
    alpha, sigma = levels.alpha(one), levels.sigma(one)
    return MEAN + STD * (sigma * noise - alpha * MEAN) / (alpha**2 * STD**2 + sigma**2).sqrt()


def order(sampler, levels, counts):
    noise = torch.linspace(-2, 2, 9, dtype=torch.float64)[:, None]
    denoise = gaussian().generator(schedule=levels).denoise
    truth = flow_solution(levels, noise)
    errors = [float((sampler(n)(denoise, levels, noise) - truth).abs().max()) for n in counts]
    return math.log2(errors[-2] / errors[-1]), errors


@pytest.mark.parametrize(("sampler", "expected"), [(Euler, 1), (Heun, 2)])
def test_order_of_convergence_on_a_gaussian(sampler, expected):
    measured, errors = order(sampler, RectifiedFlow(), [40, 80, 160])
    assert abs(measured - expected) < 0.15, errors


def test_ddim_converges_at_first_order_on_the_vp_schedule():
    measured, errors = order(lambda n: DDIM(n, 0.0), VPLinear(), [50, 100, 200])
    assert 0.8 < measured < 1.3, errors
    assert errors[-1] < 0.02


def test_heun_beats_euler_at_equal_cost():
    _, euler = order(Euler, RectifiedFlow(), [20, 40])
    _, heun = order(Heun, RectifiedFlow(), [10, 20])
    assert heun[-1] < euler[-1] / 3


def test_euler_in_velocity_form_is_euler_in_denoiser_form():
    law = gaussian_mixture([[-1.0, 0.0], [1.0, 1.0]], [torch.eye(2).tolist()] * 2, [0.5, 0.5])
    denoise = law.generator(schedule="rectified-flow").denoise
    noise = torch.randn(5, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x, times = noise.clone(), torch.linspace(1, 0, 13, dtype=torch.float64)
    for t, s in itertools.pairwise(times):
        x = x + (s - t) * (x - denoise(x, t.expand(5))) / t
    torch.testing.assert_close(Euler(12)(denoise, RectifiedFlow(), noise), x, rtol=1e-12, atol=1e-12)


def test_ddim_step_without_fresh_noise_keeps_the_noise_and_with_eta_one_is_ancestral():
    """For eta = 1 the step is the posterior q(x_s | x_t, x_0) of DDPM, eq. 7."""
    levels = VPLinear()
    t, s = torch.tensor([0.6], dtype=torch.float64), torch.tensor([0.599], dtype=torch.float64)
    x_0, x_t = torch.tensor([[0.3]]).double(), torch.tensor([[-0.8]]).double()
    ab_t, ab_s = levels.alpha(t) ** 2, levels.alpha(s) ** 2
    beta = 1 - ab_t / ab_s
    mean = (ab_s.sqrt() * beta * x_0 + (ab_t / ab_s).sqrt() * (1 - ab_s) * x_t) / (1 - ab_t)
    std = ((1 - ab_s) / (1 - ab_t) * beta).sqrt()
    zero, one = torch.zeros(1, 1).double(), torch.ones(1, 1).double()
    at_zero = ddim_step(x_t, x_0, levels, t, s, eta=1.0, noise=zero)
    torch.testing.assert_close(at_zero, mean)
    torch.testing.assert_close(ddim_step(x_t, x_0, levels, t, s, eta=1.0, noise=one) - at_zero, std[:, None])


@pytest.mark.parametrize("levels", [VPLinear(), RectifiedFlow()])
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_ddim_step_preserves_the_marginal_given_x_0(levels, eta):
    """If x_t = alpha_t x_0 + sigma_t eps and the denoiser knows x_0, then x_s has scales alpha_s and sigma_s."""
    t, s = torch.tensor([0.7], dtype=torch.float64), torch.tensor([0.3], dtype=torch.float64)
    x_0 = torch.full((1, 1), 2.0, dtype=torch.float64)

    def step(eps, fresh):
        x_t = levels.alpha(t)[:, None] * x_0 + levels.sigma(t)[:, None] * eps
        return ddim_step(x_t, x_0, levels, t, s, eta=eta, noise=torch.full((1, 1), fresh).double())

    centre = step(0.0, 0.0)
    variance = (step(1.0, 0.0) - centre) ** 2 + (step(0.0, 1.0) - centre) ** 2
    torch.testing.assert_close(centre, levels.alpha(s)[:, None] * x_0)
    torch.testing.assert_close(variance, levels.sigma(s)[:, None] ** 2)


@pytest.mark.parametrize(("eta", "name"), [(1.0, "vp-linear"), (0.0, "vp-linear"), (0.0, "rectified-flow")])
def test_samples_have_the_moments_of_the_mixture(eta, name):
    covs = [[[0.3, 0.1], [0.1, 0.2]], [[0.5, -0.2], [-0.2, 0.4]]]
    law = gaussian_mixture([[-1.0, 0.5], [1.5, -0.5]], covs, [0.4, 0.6])
    G = law.generator(steps=100, eta=eta, schedule=name)
    n = 20_000
    x = G.decode(G.space.latents(G.space.sample(n, torch.Generator().manual_seed(0))))
    assert bool(((x.mean(0) - law.mean).abs() < 4 * x.std(0) / n**0.5 + 0.02).all())
    torch.testing.assert_close(torch.cov(x.T), law.cov, rtol=0.05, atol=0.03)
    share = law.log_joint(x).softmax(1).mean(0)
    torch.testing.assert_close(share, law.weights, rtol=0, atol=0.02)


def test_vp_linear_is_the_ddpm_table():
    beta = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
    t = torch.arange(1, 1001, dtype=torch.float64) / 1000
    torch.testing.assert_close(VPLinear().alpha(t) ** 2, (1 - beta).cumprod(0), rtol=1e-9, atol=0)
    u = torch.linspace(0, 1, 777, dtype=torch.float64)
    torch.testing.assert_close(VPLinear().alpha(u) ** 2 + VPLinear().sigma(u) ** 2, torch.ones_like(u))


@pytest.mark.parametrize("levels", [VPLinear(), RectifiedFlow()])
def test_schedules_go_from_noise_to_data(levels):
    times = levels.times(10)
    alpha, sigma = levels.alpha(times), levels.sigma(times)
    assert len(times) == 11
    assert bool((times.diff() < 0).all() and (alpha.diff() > 0).all() and (sigma.diff() < 0).all())
    assert float(alpha[-1]) == 1.0
    assert float(sigma[-1]) == 0.0
    assert float(alpha[0]) < 0.01
    half = levels.alpha(times.float())
    assert half.dtype == torch.float32
    torch.testing.assert_close(half.double(), alpha, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("sampler", [DDIM(3, 0.0), DDIM(3, 1.0), Euler(3), Heun(3)])
def test_gradient_through_a_network_matches_finite_differences(sampler):
    G = image_generator(sampler)
    u = G.space.sample(2, torch.Generator().manual_seed(1)).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda v: G.decode(G.space.latents(v)), (u,), eps=1e-5, atol=1e-6)


@pytest.mark.parametrize("sampler", [DDIM(6, 1.0), Heun(6)])
def test_image_shapes_batch_independence_and_finish(sampler):
    G = image_generator(sampler)
    u = G.space.sample(4, torch.Generator().manual_seed(1)).double()
    whole = G.decode(G.space.latents(u))
    assert whole.shape == (4, 2, 3, 3)
    alone = torch.cat([G.decode(G.space.latents(row[None])) for row in u])
    torch.testing.assert_close(whole, alone, rtol=1e-10, atol=1e-10)


def test_evaluations_are_as_stated():
    for sampler, calls in ((DDIM(6, 1.0), 6), (Euler(6), 6), (Heun(6), 11)):
        G = image_generator(sampler)
        seen = []
        G.networks[0].register_forward_hook(lambda *_, seen=seen: seen.append(1))
        G.decode(G.space.latents(G.space.sample(2, torch.Generator().manual_seed(0))))
        assert len(seen) == calls


def test_bad_settings_are_named():
    with pytest.raises(InputError, match="steps"):
        DDIM(0)
    with pytest.raises(InputError, match="eta"):
        DDIM(5, 1.5)
    with pytest.raises(InputError, match="vp-linear"):
        schedule("cosine")
    x, t = torch.zeros(2, 1).double(), torch.ones(2).double()
    with pytest.raises(InputError, match="noise"):
        ddim_step(x, x, VPLinear(), t, t / 2, eta=1.0)
    with pytest.raises(ShapeError, match="4"):
        DDIM(5, 1.0)(lambda x, t: x, VPLinear(), x)


class Tiny(nn.Module):
    """A smooth denoiser of images."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(2, 2, 3, padding=1).double()
        rng = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for p in self.layer.parameters():
                p.copy_(0.3 * torch.randn(p.shape, generator=rng))

    def forward(self, x, t):
        assert t.shape == (len(x),)
        assert t.dtype == x.dtype
        return torch.tanh(self.layer(x)) * t[:, None, None, None].cos()


def image_generator(sampler):
    return DenoiserGenerator(
        Tiny(),
        shape=(2, 3, 3),
        schedule=RectifiedFlow(),
        sampler=sampler,
        name="tiny",
        modality="image",
        finish=lambda x: (x + 1) / 2,
    )
