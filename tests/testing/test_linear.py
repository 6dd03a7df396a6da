"""The linear-Gaussian problem against Monte Carlo, and its maximisers against brute force and optimality conditions."""

import math

import pytest
import torch

from zmax.core.errors import InputError, ShapeError
from zmax.testing import linear_gaussian, quadratic_score
from zmax.testing.trust_region import argmax_in_ball, argmax_on_sphere

D, M = 3, 2


def problem(seed, *, concave=True):
    rng = torch.Generator().manual_seed(seed)
    W = torch.randn(M, D, generator=rng, dtype=torch.float64)
    root = torch.randn(M, M, generator=rng, dtype=torch.float64)
    A = root @ root.T if concave else 0.1 * (root + root.T)
    b, bias = torch.randn(2, M, generator=rng, dtype=torch.float64)
    return linear_gaussian(W, bias), quadratic_score(A, b)


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("temperature", [0.7, 2.0, 10.0])
def test_log_z_and_moments_agree_with_importance_sampling(seed, temperature):
    law, S = problem(seed)
    tilted = law.tilt(S, temperature)
    n = 400_000
    u = torch.randn(n, D, generator=torch.Generator().manual_seed(seed + 100), dtype=torch.float64)
    log_w = S(law.generator().decode(u).detach()) / temperature
    shift = log_w.max()
    w = (log_w - shift).exp()
    se = w.std() / w.mean() / n**0.5
    assert abs(float(w.mean().log() + shift) - tilted.log_z) < 4 * se
    p = w / w.sum()
    for value, truth in ((u, tilted.mean), (u[:, 0:1] * u[:, 1:2], tilted.cov[0, 1] + tilted.mean[0] * tilted.mean[1])):
        estimate = p @ value
        error = (p.square() @ (value - estimate).square()).sqrt()
        assert bool(((estimate - truth).abs() < 4 * error).all())


@pytest.mark.parametrize("seed", [0, 1])
def test_density_is_prior_times_exp_score_over_z(seed):
    law, S = problem(seed, concave=False)
    temperature = 3.0
    tilted = law.tilt(S, temperature)
    u = torch.randn(50, D, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    prior = -u.square().sum(1) / 2 - D / 2 * math.log(2 * math.pi)
    stated = prior + S(law.generator().decode(u).detach()) / temperature - tilted.log_z
    torch.testing.assert_close(tilted.log_prob(u), stated, rtol=1e-10, atol=1e-10)


def test_sampler_has_the_stated_moments():
    law, S = problem(3)
    tilted = law.tilt(S, 0.5)
    n = 200_000
    u = tilted.sample(n, torch.Generator().manual_seed(0))
    assert bool(((u.mean(0) - tilted.mean).abs() < 4 * u.std(0) / n**0.5).all())
    torch.testing.assert_close(torch.cov(u.T), tilted.cov, rtol=0, atol=4 * 2**0.5 * float(tilted.cov.max()) / n**0.5)
    x = u @ law.matrix.T + law.bias
    torch.testing.assert_close(x.mean(0), tilted.sample_mean, rtol=0, atol=0.03)
    torch.testing.assert_close(torch.cov(x.T), tilted.sample_cov, rtol=0.03, atol=0.01)


def test_prior_law_is_that_of_the_generator():
    law, _ = problem(4)
    u = torch.randn(200_000, D, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x = law.generator().decode(u).detach()
    torch.testing.assert_close(x.mean(0), law.mean, rtol=0, atol=0.03)
    torch.testing.assert_close(torch.cov(x.T), law.cov, rtol=0.02, atol=0.02)


def test_argmax_has_zero_gradient_of_the_tilted_density():
    law, S = problem(5)
    tilted = law.tilt(S, 0.3)
    u = tilted.argmax()[None].clone().requires_grad_()
    value = S(law.generator().decode(u)) / 0.3 - u.square().sum(1) / 2
    (gradient,) = torch.autograd.grad(value.sum(), u)
    assert float(gradient.norm()) < 1e-10


@pytest.mark.parametrize("concave", [True, False])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_argmax_on_shell_beats_brute_force(seed, concave):
    law, S = problem(seed, concave=concave)
    tilted = law.tilt(S, 50.0)
    best = tilted.argmax_on_shell()
    assert abs(float(best.norm()) - D**0.5) < 1e-10
    u = torch.randn(400_000, D, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    u = u * (D**0.5 / u.norm(dim=1, keepdim=True))
    G = law.generator()
    rivals, top = S(G.decode(u).detach()).max(), S(G.decode(best[None]).detach())[0]
    assert float(rivals) <= float(top) + 1e-12
    assert float(top - rivals) < 1e-3 * (1 + abs(float(top)))


def residual(H, g, u):
    """Return |(H + mu I) u - g| and the lowest eigenvalue of H + mu I for the best mu."""
    mu = float(u @ (g - H @ u) / (u @ u))
    return float((H @ u + mu * u - g).norm()), mu + float(torch.linalg.eigvalsh(H).min())


@pytest.mark.parametrize("seed", range(20))
def test_sphere_solution_meets_the_optimality_conditions(seed):
    rng = torch.Generator().manual_seed(seed)
    d = 2 + seed
    H = torch.randn(d, d, generator=rng, dtype=torch.float64)
    H, g = H + H.T, torch.randn(d, generator=rng, dtype=torch.float64) * 10.0 ** (seed % 5 - 3)
    for radius in (0.1, d**0.5, 30.0):
        u = argmax_on_sphere(H, g, radius)
        error, curvature = residual(H, g, u)
        assert abs(float(u.norm()) - radius) < 1e-10 * radius
        assert error < 1e-10 * (1 + radius * float(H.norm()))
        assert curvature > -1e-9


def test_sphere_hard_case():
    H = torch.diag(torch.tensor([-1.0, -1.0, 2.0], dtype=torch.float64))
    g = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64)
    u = argmax_on_sphere(H, g, 2.0)
    error, curvature = residual(H, g, u)
    assert error < 1e-12
    assert abs(curvature) < 1e-12
    assert float(u.norm()) == pytest.approx(2.0, abs=1e-12)
    assert float(u[2]) == pytest.approx(1 / 3, abs=1e-12)


@pytest.mark.parametrize("tiny", [1e-3, 1e-8, 1e-12, 1e-16])
def test_sphere_near_hard_case(tiny):
    H = torch.diag(torch.tensor([-1.0, 0.5, 2.0], dtype=torch.float64))
    g = torch.tensor([tiny, 0.1, 1.0], dtype=torch.float64)
    error, curvature = residual(H, g, argmax_on_sphere(H, g, 2.0))
    assert error < 1e-10
    assert curvature > -1e-10


def test_sphere_of_a_flat_score_and_of_a_linear_score():
    zero = torch.zeros(3, 3, dtype=torch.float64)
    g = torch.tensor([0.0, 3.0, 4.0], dtype=torch.float64)
    torch.testing.assert_close(argmax_on_sphere(zero, g, 2.0), 2.0 * g / 5)
    assert float(argmax_on_sphere(zero, 0 * g, 2.0).norm()) == pytest.approx(2.0)


def test_ball_is_interior_where_the_peak_is_inside_and_on_the_sphere_elsewhere():
    H = torch.diag(torch.tensor([1.0, 4.0], dtype=torch.float64))
    g = torch.tensor([1.0, 2.0], dtype=torch.float64)
    peak = torch.tensor([1.0, 0.5], dtype=torch.float64)
    torch.testing.assert_close(argmax_in_ball(H, g, 2.0), peak)
    torch.testing.assert_close(argmax_in_ball(H, g, 0.5), argmax_on_sphere(H, g, 0.5))
    torch.testing.assert_close(argmax_in_ball(-H, g, 2.0), argmax_on_sphere(-H, g, 2.0))
    flat = torch.diag(torch.tensor([1.0, 0.0], dtype=torch.float64))
    torch.testing.assert_close(argmax_in_ball(flat, flat[0], 3.0), flat[0])


def test_a_tilt_that_cannot_be_normalised_names_eigenvalue_and_temperature():
    law, S = linear_gaussian([[2.0]]), quadratic_score([[-1.0]])
    with pytest.raises(InputError, match=r"eigenvalue -4.*(\n.*)*temperature above 4"):
        law.tilt(S, 3.9)
    assert math.isfinite(law.tilt(S, 4.1).log_z)


def test_shapes_are_checked():
    law = linear_gaussian(torch.eye(3))
    with pytest.raises(ShapeError, match=r"\(2,\)"):
        linear_gaussian(torch.eye(3), torch.zeros(2))
    with pytest.raises(ShapeError):
        linear_gaussian(torch.zeros(3))
    with pytest.raises(ShapeError, match="d = 2"):
        law.tilt(quadratic_score(torch.eye(2)))
    with pytest.raises(ShapeError):
        law.tilt(quadratic_score()).log_prob(torch.zeros(3, 5))
    with pytest.raises(InputError, match="temperature"):
        law.tilt(quadratic_score(), 0.0)
    with pytest.raises(InputError, match="radius"):
        law.tilt(quadratic_score()).argmax_on_shell(0.0)
