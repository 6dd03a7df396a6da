"""Orders on the exact flow of a Gaussian, marginals on a mixture, and the identities between samplers."""

import itertools
import math

import pytest
import torch

from zmax.core.errors import InputError
from zmax.core.rng import stream
from zmax.generators.diffusion.multistep import DPMSolver, extrapolations
from zmax.generators.diffusion.reversible import Reversible
from zmax.generators.diffusion.samplers import DDIM, Ancestral, Euler, Heun
from zmax.generators.diffusion.schedules import EDM, VE, RectifiedFlow, VPLinear
from zmax.testing import gaussian_mixture

MEAN, STD = 0.7, 0.4
GAUSSIAN = gaussian_mixture([[MEAN]], [[[STD**2]]], [1.0])
NOISE = torch.linspace(-2, 2, 9, dtype=torch.float64)[:, None]


def flow_solution(levels):
    """Along the probability flow of a Gaussian, (x_t - alpha m) / sqrt(alpha^2 s^2 + sigma^2) does not change."""
    start = levels.times(1)[:1]
    alpha, sigma = levels.alpha(start), levels.sigma(start)
    return MEAN + STD * (sigma * NOISE - alpha * MEAN) / (alpha**2 * STD**2 + sigma**2).sqrt()


def errors(sampler, levels, counts):
    denoise = GAUSSIAN.generator(schedule=levels).denoise
    return [float((sampler(n)(denoise, levels, NOISE) - flow_solution(levels)).abs().max()) for n in counts]


@pytest.mark.parametrize(
    ("sampler", "levels", "expected"),
    [
        (DPMSolver, RectifiedFlow(), 2),
        (DPMSolver, EDM(sigma_min=1e-5), 2),
        (Heun, EDM(sigma_min=1e-5), 2),
        (Euler, EDM(sigma_min=1e-5), 1),
        (Reversible, RectifiedFlow(), 1),
    ],
)
def test_order_of_convergence_on_a_gaussian(sampler, levels, expected):
    found = errors(sampler, levels, [80, 160, 320])
    assert math.log2(found[1] / found[2]) == pytest.approx(expected, abs=0.25), found


@pytest.mark.parametrize("levels", [RectifiedFlow(), VPLinear(), EDM()])
def test_the_multistep_solver_beats_ddim_at_equal_cost(levels):
    assert errors(DPMSolver, levels, [30])[0] < errors(Euler, levels, [30])[0] / 3


@pytest.mark.parametrize("levels", [RectifiedFlow(), VPLinear()])
def test_the_first_two_steps_of_the_multistep_solver_are_as_published(levels):
    """Lu et al. 2022, alg. 2, in lambda: e^{-h} = alpha_t sigma_s / (alpha_s sigma_t)."""
    calls = []
    exact = GAUSSIAN.generator(schedule=levels).denoise

    def denoise(x, t):
        calls.append((x, exact(x, t)))
        return calls[-1][1]

    DPMSolver(4)(denoise, levels, NOISE)
    times = levels.times(4)
    alpha, sigma = levels.alpha(times), levels.sigma(times)
    lam = (alpha / sigma).log()
    (_, before), (x, x_0), (after, _), _ = calls
    h, r = lam[2] - lam[1], (lam[1] - lam[0]) / (lam[2] - lam[1])
    mixed = (1 + 1 / (2 * r)) * x_0 - before / (2 * r)
    torch.testing.assert_close(after, sigma[2] / sigma[1] * x - alpha[2] * torch.expm1(-h) * mixed)


@pytest.mark.parametrize("levels", [RectifiedFlow(), VPLinear(), VE(sigma_max=20.0)])
@pytest.mark.parametrize("eta", [0.5, 1.0])
def test_an_ode_sampler_run_as_an_sde_has_the_same_marginals(levels, eta):
    """Half way and at the end, where the marginal is the mixture with alpha and sigma: means, covariances, shares."""
    covs = [[[0.3, 0.1], [0.1, 0.2]], [[0.5, -0.2], [-0.2, 0.4]]]
    law = gaussian_mixture([[-1.0, 0.5], [1.5, -0.5]], covs, [0.4, 0.6])
    G, n = law.generator(steps=150, eta=eta, schedule=levels), 6000
    seen = {}

    def denoise(x, t):
        seen[float(t[0])] = x
        return G.denoise(x, t)

    z = G.space.latents(G.space.sample(n, torch.Generator().manual_seed(0)))
    end = G.sampler(denoise, levels, z["noise"].double(), z["injected"].double())
    for time in (float(levels.times(150)[75]), 0.0):
        x, t = seen.get(time, end), torch.tensor([time], dtype=torch.float64)
        alpha, sigma = levels.alpha(t), levels.sigma(t)
        eye = torch.eye(2, dtype=torch.float64)
        marginal = gaussian_mixture(alpha * law.means, alpha**2 * law.covs + sigma**2 * eye, law.weights)
        spread = marginal.cov.diagonal().sqrt()
        assert bool(((x.mean(0) - marginal.mean).abs() < spread * (4 / n**0.5 + 0.02)).all())
        torch.testing.assert_close(torch.cov(x.T), marginal.cov, rtol=0.07, atol=0.04)
        share = marginal.log_joint(x).softmax(1).mean(0)
        torch.testing.assert_close(share, law.weights, rtol=0, atol=0.03)


def test_ancestral_is_ddim_at_eta_one_and_on_edm_the_ancestral_euler_step():
    levels, rng = EDM(), torch.Generator().manual_seed(0)
    injected = torch.randn(9, 4, 1, generator=rng, dtype=torch.float64)
    denoise = GAUSSIAN.generator(schedule=levels).denoise
    found = Ancestral(5)(denoise, levels, NOISE, injected)
    torch.testing.assert_close(found, DDIM(5, 1.0)(denoise, levels, NOISE, injected))
    times = levels.times(5)
    x = NOISE * times[0]
    for i in range(5):
        t, s = times[i], times[i + 1]
        up = (s**2 * (t**2 - s**2) / t**2).sqrt()
        down = (s**2 - up**2).sqrt()
        x = x + (down - t) * (x - denoise(x, t.expand(9))) / t
        x = x + up * injected[:, i] if i < 4 else x
    torch.testing.assert_close(found, x)


@pytest.mark.parametrize("sampler", [DPMSolver(6), Ancestral(6), Reversible(6), Heun(6)])
def test_evaluations_are_as_stated(sampler):
    seen = []
    exact = GAUSSIAN.generator(schedule="rectified-flow").denoise
    injected = torch.zeros(9, 5, 1).double() if sampler.injections else None
    sampler(lambda x, t: seen.append(t) or exact(x, t), RectifiedFlow(), NOISE, injected)
    assert len(seen) == {DPMSolver: 6, Ancestral: 6, Reversible: 11, Heun: 11}[type(sampler)]


@pytest.mark.parametrize("sampler", [DPMSolver(5), Reversible(5)])
def test_gradients_match_finite_differences(sampler):
    law = gaussian_mixture([[-1.0], [1.0]], [[[0.3]], [[0.2]]], [0.5, 0.5])
    denoise = law.generator(schedule="rectified-flow").denoise
    x = NOISE[:3].clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda v: sampler(denoise, RectifiedFlow(), v), (x,), atol=1e-6)


@pytest.mark.parametrize("make", [DPMSolver, Ancestral, Reversible])
def test_steps_are_checked(make):
    with pytest.raises(InputError, match="steps"):
        make(0)


def test_coupling_is_checked():
    with pytest.raises(InputError, match="coupling"):
        Reversible(5, coupling=0.0)


@pytest.mark.parametrize("levels", [RectifiedFlow(), VPLinear()])
def test_a_step_with_fresh_noise_is_that_of_the_multistep_sde_solver(levels):
    """Lu et al. 2022: x_s = (sigma_s / sigma_t) e^-h x_t + alpha_s (1 - e^-2h) D + sigma_s sqrt(1 - e^-2h) xi."""
    calls = []
    exact = GAUSSIAN.generator(schedule=levels).denoise

    def denoise(x, t):
        calls.append((x, exact(x, t)))
        return calls[-1][1]

    xi = torch.linspace(1, -1, 45, dtype=torch.float64).reshape(9, 5, 1)
    DPMSolver(6, 1.0)(denoise, levels, NOISE, xi)
    times = levels.times(6)
    alpha, sigma = levels.alpha(times), levels.sigma(times)
    lam = (alpha / sigma).log()
    for step in (2, 3, 4):
        (_, before), (x, x_0), (after, _) = calls[step - 1 : step + 2]
        h, r = lam[step + 1] - lam[step], (lam[step] - lam[step - 1]) / min(1.0, lam[step + 1] - lam[step])
        mixed = x_0 + (x_0 - before) / (2 * r)
        kept, fresh = sigma[step + 1] / sigma[step] * (-h).exp(), 1 - (-2 * h).exp()
        wanted = kept * x + alpha[step + 1] * fresh * mixed + sigma[step + 1] * fresh.sqrt() * xi[:, step]
        torch.testing.assert_close(after, wanted)


def test_extrapolation_is_held_where_steps_with_fresh_noise_are_long():
    """On EDM from sigma 80 in six steps h is 1.1 to 3.4: w = 1 / 2h' with fresh noise, h / 2h' as published without."""
    levels = EDM()
    times = levels.times(6)
    h = (levels.alpha(times) / levels.sigma(times)).log().diff().tolist()
    fresh, plain = (extrapolations(levels, times, fresh=f) for f in (True, False))
    assert fresh == pytest.approx([0, *(0.5 / a for a in h[:4]), 0])
    assert plain == pytest.approx([0, *(b / (2 * a) for a, b in itertools.pairwise(h[:5])), 0])


NINE = gaussian_mixture(
    [[x, y] for x in (-4.0, 0.0, 4.0) for y in (-4.0, 0.0, 4.0)], [(0.3 * torch.eye(2)).tolist()] * 9, [1 / 9] * 9
)


@pytest.mark.parametrize("levels", [RectifiedFlow(), VPLinear(), EDM()])
def test_fresh_noise_keeps_the_marginals_in_ten_and_twenty_steps(levels):
    """W1 of the first coordinate is at most 1.5 times the deterministic solver's, and 0.6 times ancestral steps'.

    Up to 0.05, what the shares of modes among so many draws differ by."""
    n = 12_000
    target = NINE.sample(20 * n, stream(0, "target"))[:, 0].sort().values.reshape(n, 20).mean(1)
    for steps in (10, 20):
        noises = torch.randn(n, steps, 2, generator=stream(steps, "noises"), dtype=torch.float64)
        G, found = NINE.generator(steps=steps, schedule=levels), []
        for sampler in (DPMSolver(steps), DPMSolver(steps, 1.0), Ancestral(steps)):
            x = sampler(G.denoise, levels, noises[:, 0], noises[:, 1:] if sampler.injections else None)
            found.append(float((x[:, 0].sort().values - target).abs().mean()))
        calm, fresh, ancestral = found
        assert fresh <= 1.5 * calm + 0.05, found
        assert fresh < 0.6 * ancestral, found
