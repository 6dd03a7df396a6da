"""Gaussian mixtures: tilted laws against importance sampling and quadrature, the mode against a grid."""

import math

import pytest
import torch

from zmax.core.errors import InputError, ShapeError
from zmax.testing import gaussian_mixture, quadratic_score


def mixture(seed, k=3, d=2):
    rng = torch.Generator().manual_seed(seed)
    means = 2 * torch.randn(k, d, generator=rng, dtype=torch.float64)
    roots = torch.randn(k, d, d, generator=rng, dtype=torch.float64)
    return gaussian_mixture(means, roots @ roots.mT + 0.2 * torch.eye(d), torch.rand(k, generator=rng) + 0.2)


def score(seed, d=2):
    rng = torch.Generator().manual_seed(seed + 50)
    root = torch.randn(d, d, generator=rng, dtype=torch.float64)
    return quadratic_score(root @ root.T / 2, torch.randn(d, generator=rng, dtype=torch.float64))


def grid_2d(reach=14.0, n=1201):
    axis = torch.linspace(-reach, reach, n, dtype=torch.float64)
    return torch.cartesian_prod(axis, axis), float(axis[1] - axis[0]) ** 2


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 5.0])
def test_tilted_law_agrees_with_importance_sampling(seed, temperature):
    law, S = mixture(seed), score(seed)
    tilted = law.tilt(S, temperature)
    n = 400_000
    x = law.sample(n, torch.Generator().manual_seed(seed))
    log_w = S(x) / temperature
    w = (log_w - log_w.max()).exp()
    assert abs(float(w.mean().log() + log_w.max()) - tilted.log_z) < 4 * float(w.std() / w.mean() / n**0.5)
    p = w / w.sum()
    second = tilted.cov + tilted.mean[:, None] * tilted.mean
    for value, truth in ((x, tilted.mean), (x[:, :1] * x, second[0])):
        estimate = p @ value
        error = (p.square() @ (value - estimate).square()).sqrt()
        assert bool(((estimate - truth).abs() < 4 * error).all())


@pytest.mark.parametrize("seed", [0, 1])
def test_tilted_density_is_density_times_exp_score_over_z(seed):
    law, S = mixture(seed), quadratic_score(-0.02 * torch.eye(2), [0.3, -0.1])
    tilted = law.tilt(S, 2.0)
    x = 3 * torch.randn(100, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.testing.assert_close(tilted.log_prob(x), law.log_prob(x) + S(x) / 2.0 - tilted.log_z, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_moments_agree_with_quadrature(seed):
    law = mixture(seed).tilt(score(seed), 1.0)
    points, cell = grid_2d()
    p = law.log_prob(points).exp() * cell
    assert float(p.sum()) == pytest.approx(1.0, abs=1e-6)
    mean = p @ points
    torch.testing.assert_close(mean, law.mean, rtol=0, atol=1e-6)
    torch.testing.assert_close((points - mean).T @ ((points - mean) * p[:, None]), law.cov, rtol=0, atol=1e-5)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_sampler_has_the_stated_moments_and_weights(seed):
    law = mixture(seed).tilt(score(seed), 2.0)
    n = 200_000
    x = law.sample(n, torch.Generator().manual_seed(seed))
    assert bool(((x.mean(0) - law.mean).abs() < 4 * x.std(0) / n**0.5).all())
    centred = (x - law.mean)[:, :, None] * (x - law.mean)[:, None, :]
    assert bool(((centred.mean(0) - law.cov).abs() < 4 * centred.std(0) / n**0.5).all())
    share = law.log_joint(x).softmax(1)
    assert bool(((share.mean(0) - law.weights).abs() < 4 * share.std(0) / n**0.5 + 1e-12).all())


def test_weights_of_a_linear_score_follow_the_closed_form():
    law = gaussian_mixture([[-2.0], [2.0]], [[[1.0]], [[1.0]]], [0.5, 0.5])
    tilted = law.tilt(quadratic_score(b=[1.0]), temperature=0.5)
    torch.testing.assert_close(tilted.means[:, 0], torch.tensor([0.0, 4.0]).double())
    assert float(tilted.weights[1] / tilted.weights[0]) == pytest.approx(math.exp(8.0))
    assert tilted.log_z == pytest.approx(math.log(0.5 * math.exp(-4) + 0.5 * math.exp(4)) + 2.0)


def test_log_z_stays_finite_far_out():
    law = gaussian_mixture([[-1.0], [1.0]], [[[1.0]], [[2.0]]], [0.5, 0.5])
    tilted = law.tilt(quadratic_score(b=[1.0]), temperature=1e-3)
    assert tilted.log_z == pytest.approx(1e6 + 1e3 + math.log(0.5), rel=1e-12)


def test_no_tilt_changes_nothing():
    law = mixture(0)
    tilted = law.tilt(quadratic_score(), 1.0)
    assert tilted.log_z == pytest.approx(0.0, abs=1e-12)
    for name in ("means", "covs", "weights"):
        torch.testing.assert_close(getattr(tilted, name), getattr(law, name), rtol=1e-10, atol=1e-10)


def test_tilting_twice_is_tilting_by_the_sum():
    law, first, second = mixture(1), score(1), score(2)
    both = quadratic_score(first.matrix + second.matrix, first.vector + second.vector)
    once, twice = law.tilt(both, 2.0), law.tilt(first, 2.0)
    again = twice.tilt(second, 2.0)
    assert twice.log_z + again.log_z == pytest.approx(once.log_z, rel=1e-10)
    torch.testing.assert_close(again.mean, once.mean)
    torch.testing.assert_close(again.cov, once.cov)


@pytest.mark.parametrize("seed", range(8))
def test_argmax_beats_a_grid_and_has_zero_gradient(seed):
    law = mixture(seed, k=4).tilt(quadratic_score(b=[0.5, 0.2]), 1.0)
    best = law.argmax()
    points, _ = grid_2d(n=801)
    assert float(law.log_prob(points).max()) <= float(law.log_prob(best[None])) + 1e-12
    x = best[None].clone().requires_grad_()
    (gradient,) = torch.autograd.grad(law.log_prob(x).sum(), x)
    assert float(gradient.norm()) < 1e-8


def test_argmax_where_two_ridges_cross_away_from_every_mean():
    covs = [[[9.0, 0.0], [0.0, 0.01]], [[0.01, 0.0], [0.0, 9.0]]]
    law = gaussian_mixture([[-3.0, 0.0], [0.0, 3.0]], covs, [0.5, 0.5])
    best = law.argmax()
    points, _ = grid_2d(reach=4.0, n=801)
    assert float(law.log_prob(points).max()) <= float(law.log_prob(best[None])) + 1e-12
    assert float(best.norm()) < 0.05


def test_a_tilt_that_cannot_be_normalised_names_eigenvalue_and_temperature():
    law = gaussian_mixture([[0.0], [1.0]], [[[1.0]], [[4.0]]], [0.5, 0.5])
    S = quadratic_score([[-1.0]])
    with pytest.raises(InputError, match=r"eigenvalue -4.*(\n.*)*temperature above 4"):
        law.tilt(S, 2.0)
    assert math.isfinite(law.tilt(S, 4.01).log_z)
    with pytest.raises(InputError, match="temperature"):
        law.tilt(S, -1.0)


def test_bad_input_is_named():
    eye = torch.eye(2)[None]
    with pytest.raises(ShapeError, match=r"\(1, 2, 2\)"):
        gaussian_mixture(torch.zeros(1, 2), torch.eye(2), [1.0])
    with pytest.raises(ShapeError, match="means"):
        gaussian_mixture(torch.zeros(2), eye, [1.0])
    with pytest.raises(ShapeError, match="weights"):
        gaussian_mixture(torch.zeros(1, 2), eye, [0.5, 0.5])
    with pytest.raises(InputError, match="positive"):
        gaussian_mixture(torch.zeros(1, 2), eye, [0.0])
    with pytest.raises(InputError, match=r"covariance 0.*(\n.*)*lowest eigenvalue -1"):
        gaussian_mixture(torch.zeros(1, 2), [[[1.0, 2.0], [2.0, 1.0]]], [1.0])
    with pytest.raises(InputError, match="symmetric"):
        gaussian_mixture(torch.zeros(1, 2), [[[1.0, 0.5], [0.0, 1.0]]], [1.0])
    with pytest.raises(ShapeError, match="d = 3"):
        mixture(0).tilt(quadratic_score(torch.eye(3)))
    with pytest.raises(ShapeError):
        mixture(0).log_prob(torch.zeros(4, 3))
