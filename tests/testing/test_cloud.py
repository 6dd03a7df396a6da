"""Point clouds: the denoiser against mixtures and Tweedie's formulas, tilting against sums, shapes against laws."""

import math
import time

import pytest
import torch

import zmax
from zmax.core.errors import InputError, ShapeError
from zmax.testing import GeneratorConformance, gaussian_mixture, point_cloud, quadratic_score, ring, swiss_roll

SCHEDULES = ["vp-linear", "rectified-flow", "edm"]
POINTS = [[-1.0, 0.5], [1.5, -0.5], [0.2, 0.1], [0.0, -2.0]]
WEIGHTS = [0.1, 0.4, 0.3, 0.2]


def roll_score(x):
    return -(x[:, 0] ** 2) / 100 - x[:, 1] ** 2 / 100 - x[:, 2] ** 2


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_cloud_with_a_width_is_a_mixture(schedule):
    width, eye = 0.6, torch.eye(2).tolist()
    cloud = point_cloud(POINTS, width, WEIGHTS)
    mixture = gaussian_mixture(POINTS, 0.36 * torch.tensor([eye] * 4).double(), WEIGHTS)
    x = mixture.sample(9, torch.Generator().manual_seed(0))
    torch.testing.assert_close(cloud.log_prob(x), mixture.log_prob(x))
    torch.testing.assert_close(cloud.mean, mixture.mean)
    torch.testing.assert_close(cloud.cov, mixture.cov)
    a, b = cloud.generator(schedule=schedule), mixture.generator(schedule=schedule)
    t = a.schedule.times(9)[:-1]
    x_t = a.schedule.alpha(t)[:, None] * x + a.schedule.sigma(t)[:, None] * x.flip(1)
    torch.testing.assert_close(a.denoise(x_t, t), b.denoise(x_t, t), rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(a.posterior_covariance(x_t, t), b.posterior_covariance(x_t, t), rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("width", [0.0, 0.3])
def test_tweedie_second_order(schedule, width):
    """Cov[x0 | x_t] = sigma^2 / alpha dE[x0 | x_t] / dx_t."""
    G = point_cloud(POINTS, width, WEIGHTS).generator(schedule=schedule)
    t = G.schedule.times(5)[2:3]
    alpha, sigma = G.schedule.alpha(t), G.schedule.sigma(t)
    x = torch.tensor([0.4, -0.3]).double() * (alpha + sigma)
    jacobian = torch.autograd.functional.jacobian(lambda y: G.denoise(y[None], t)[0], x)
    torch.testing.assert_close(G.posterior_covariance(x[None], t)[0], sigma**2 / alpha * jacobian)


def test_without_width_the_answer_is_the_posterior_mean_over_the_points():
    cloud = point_cloud(POINTS, weights=WEIGHTS)
    G = cloud.generator(schedule="rectified-flow")
    x, t = torch.tensor([[0.3, -0.7]]).double(), torch.tensor([0.4]).double()
    likelihood = torch.stack([(-((x[0] - 0.6 * p).square().sum()) / (2 * 0.16)).exp() for p in cloud.points])
    share = likelihood * cloud.weights
    torch.testing.assert_close(G.denoise(x, t)[0], share @ cloud.points / share.sum())
    assert torch.equal(G.denoise(cloud.points + 1e-3, torch.zeros(4).double()), cloud.points)
    torch.testing.assert_close(G.denoise(x, torch.ones(1).double())[0], cloud.mean)


def test_it_is_vectorised():
    rng = torch.Generator().manual_seed(0)
    G = point_cloud(swiss_roll(10_000, rng)).generator()
    x, t = torch.randn(256, 3, generator=rng, dtype=torch.float64), torch.full((256,), 0.5, dtype=torch.float64)
    took = []
    for _ in range(8):
        start = time.process_time()
        G.denoise(x, t)
        took.append(time.process_time() - start)
    assert min(took) < 0.06  # 0.015 s on an idle core


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_decoding_draws_the_points_by_their_weights(eta):
    cloud = point_cloud(POINTS, weights=WEIGHTS)
    G, n = cloud.generator(steps=200, eta=eta, schedule="rectified-flow"), 4000
    x = G.decode(G.space.latents(G.space.sample(n, torch.Generator().manual_seed(0)).double()))
    apart = torch.cdist(x, cloud.points)
    assert float((apart.min(1).values < 0.05).double().mean()) > 0.97
    share = torch.bincount(apart.argmin(1), minlength=4) / n
    torch.testing.assert_close(share.double(), cloud.weights, rtol=0, atol=0.03)


def test_sampling_follows_the_weights_and_the_width():
    cloud, n = point_cloud(POINTS, 0.2, WEIGHTS), 40_000
    x = cloud.sample(n, torch.Generator().manual_seed(0))
    assert bool(((x.mean(0) - cloud.mean).abs() < 4 * x.std(0) / n**0.5).all())
    torch.testing.assert_close(torch.cov(x.T), cloud.cov, rtol=0.03, atol=0.01)


def test_tilting_is_exact_for_any_score():
    cloud = point_cloud(POINTS, weights=WEIGHTS)
    score = zmax.score(lambda x: (3 * x[:, 0]).sin() + x[:, 1].abs(), name="bent")
    tilted = cloud.tilt(score, temperature=0.5)
    p, w = cloud.points.tolist(), WEIGHTS
    mass = [b * math.exp((math.sin(3 * x) + abs(y)) / 0.5) for (x, y), b in zip(p, w, strict=True)]
    assert tilted.log_z == pytest.approx(math.log(sum(mass)))
    torch.testing.assert_close(tilted.weights, torch.tensor(mass).double() / sum(mass), rtol=1e-6, atol=0)
    torch.testing.assert_close(tilted.tilt(lambda x: -score(x), 0.5).weights, cloud.weights, rtol=1e-6, atol=0)
    assert 1 <= tilted.ess <= 4


def test_tilting_does_not_overflow():
    tilted = point_cloud(POINTS).tilt(lambda x: 1e5 * x[:, 0], temperature=1e-3)
    assert tilted.weights.tolist() == [0.0, 1.0, 0.0, 0.0]
    assert math.isfinite(tilted.log_z)
    assert torch.isfinite(tilted.generator(steps=5, eta=0.0).denoise(torch.zeros(1, 2).double(), torch.ones(1))).all()


def test_tilting_a_cloud_with_a_width_tends_to_the_tilted_mixture():
    score = quadratic_score([[0.5, 0.1], [0.1, 1.0]], [0.4, -0.2])
    mixture = gaussian_mixture(POINTS, 0.09 * torch.eye(2).expand(4, 2, 2), WEIGHTS).tilt(score)
    tilted = point_cloud(POINTS, 0.3, WEIGHTS).tilt(score, rng=torch.Generator().manual_seed(0))
    assert tilted.log_z == pytest.approx(mixture.log_z, abs=0.01)
    torch.testing.assert_close(tilted.mean, mixture.mean, rtol=0, atol=0.02)
    torch.testing.assert_close(tilted.cov, mixture.cov, rtol=0, atol=0.03)


def test_the_ring_is_uniform_in_area():
    x = ring(50_000, torch.Generator().manual_seed(0))
    square = x.square().sum(1)  # uniform between the squares of the radii
    expected = torch.linspace(0.64, 1.44, 50_000, dtype=torch.float64)
    assert float((square.sort().values - expected).abs().max()) < 0.01
    angle = torch.atan2(x[:, 1], x[:, 0])
    assert float((angle.sort().values - torch.linspace(-math.pi, math.pi, 50_000)).abs().max()) < 0.05


def test_the_roll_winds_and_its_tilted_score_is_the_published_one():
    rng = torch.Generator().manual_seed(0)
    clean = 2 * swiss_roll(1000, rng, noise=0.0)
    radius = clean[:, :2].norm(dim=1)
    torch.testing.assert_close(clean[:, 0], radius * radius.cos())
    assert 1.5 * math.pi <= float(radius.min()) < float(radius.max()) <= 4.5 * math.pi
    tilted = point_cloud(swiss_roll(400_000, rng)).tilt(roll_score)
    assert float(tilted.weights @ roll_score(tilted.points)) == pytest.approx(-0.72, abs=0.01)


def test_bad_clouds_are_named():
    with pytest.raises(ShapeError, match="points"):
        point_cloud([1.0, 2.0])
    with pytest.raises(ShapeError, match="weights"):
        point_cloud(POINTS, weights=[1.0])
    with pytest.raises(InputError, match="positive"):
        point_cloud(POINTS, weights=[1.0, 0.0, 1.0, 1.0])
    with pytest.raises(InputError, match="width"):
        point_cloud(POINTS, -1.0)
    with pytest.raises(InputError, match="width"):
        point_cloud(POINTS).log_prob(torch.zeros(1, 2))
    with pytest.raises(InputError, match="rng"):
        point_cloud(POINTS, 0.1).tilt(roll_score)
    with pytest.raises(InputError, match="finite"):
        point_cloud(POINTS).tilt(lambda x: x[:, 0] / 0)


class TestCloud(GeneratorConformance):
    tolerance = 1e-10
    fd_step = 1e-5
    fd_tolerance = 1e-6

    def make(self):
        return point_cloud(POINTS, 0.3, WEIGHTS).generator(steps=10, eta=1.0)

    def points(self, generator):
        return super().points(generator).double()
