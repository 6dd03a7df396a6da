"""White noise passes the tests of noise, each kind of structure fails them, and penalties know the way back."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from scipy import fft, stats

from zmax.core.noise import chi_square_score, noise_scores, path_scores, share_score
from zmax.core.rng import stream
from zmax.core.space import Block, Space
from zmax.generators import SCHEDULES
from zmax.generators.diffusion.path import Path, PathSpace

SHAPE = (3, 16, 16)
NOISE = Space((Block("noise", SHAPE, noise=True),))


def path_space(steps, shape):
    return PathSpace.along(Path(SCHEDULES["rectified-flow"](), steps=steps, eta=1.0, shape=shape))


PATH, VECTORS = path_space(10, SHAPE), path_space(10, (50,))
PARTS = Space((*(Block(f"part {i}", (3, 4 + 4 * i, 8), noise=True) for i in range(5)), Block("style", (8,))))
SPACES = {"picture": NOISE, "path": PATH, "vectors": VECTORS, "parts": PARTS}


def white(*shape, n=50, seed=0):
    return torch.randn(n, *shape, generator=stream(seed, "noise"), dtype=torch.float64)


@pytest.mark.parametrize("shape", [(1, 4, 8, 8), (1, 4, 64, 64), (20, 4, 8, 8), (50, 8)])
def test_p_values_are_uniform_under_the_prior(shape):
    """5,000 draws each; the largest shape has 300 here, and 5,000 in benchmarks/white_noise.py."""
    n = 300 if len(shape) > 2 and shape[-1] == 64 else 5000
    rng = stream(3, "white", *shape)
    scores = torch.cat([noise_scores(torch.randn(n // 10, *shape, generator=rng)) for _ in range(10)])
    p = 2 * torch.special.ndtr(-scores.double().abs())
    worst = min(stats.kstest(column.numpy(), "uniform").pvalue for column in p.T)
    assert worst * p.shape[1] > 0.01
    combined = (p.shape[1] * p.min(1).values).clamp(max=1.0)
    for level in (0.01, 0.05, 0.2):
        assert float((combined <= level).double().mean()) < level + 3 * (level / n) ** 0.5


@pytest.mark.parametrize("shape", [(16, 1), (8, 2), (5, 4), (20, 2), (1, 16), (1, 1, 4, 4), (2, 3, 4)])
def test_short_noises_are_flagged_no_more_often_than_the_level_says(shape):
    p = 2 * torch.special.ndtr(-noise_scores(white(*shape, n=20_000)).abs())
    combined = (p.shape[1] * p.min(1).values).clamp(max=1.0)
    for level in (0.01, 0.05, 0.2):
        assert float((combined <= level).double().mean()) < 1.1 * level + 4 * (level / 20_000) ** 0.5
    assert noise_scores(white(5, 3)).shape == (50, 0)


@pytest.mark.parametrize("degrees", [10, 28, 768])
def test_the_standard_score_of_a_chi_square_has_its_quantiles(degrees):
    for p in (0.01, 0.25, 0.5, 0.75, 0.99):
        value = torch.tensor([stats.chi2(degrees).ppf(p)])
        assert float(chi_square_score(value, degrees)) == pytest.approx(stats.norm.ppf(p), abs=0.05)


@pytest.mark.parametrize(("a", "k"), [(8, 400), (64, 256), (512, 1024)])
def test_the_standard_score_of_a_share_has_its_quantiles(a, k):
    for p in (0.01, 0.25, 0.5, 0.75, 0.99):
        part = torch.full((1, a), (stats.beta(a / 2, (k - a) / 2).ppf(p) * k / a) ** 0.5)
        assert float(share_score(part, k)) == pytest.approx(stats.norm.ppf(p), abs=0.05)


@pytest.mark.parametrize("name", SPACES)
def test_plausibility_of_noise_is_a_valid_p_value(name):
    p = torch.cat([SPACES[name].plausibility(SPACES[name].sample(50, stream(k, "valid"))) for k in range(12)])
    for level in (0.05, 0.2):
        assert float((p <= level).double().mean()) < level + 3 * (level / len(p)) ** 0.5
    assert float((p > 0.5).double().mean()) > 0.4


def wave(size):
    return 2**0.5 * torch.cos(torch.pi * (torch.arange(size).double() + 0.5) / size)


SPOILED = {
    "mean": lambda x: x + 0.2,
    "smooth": lambda x: (x + x.roll(1, dims=3)) / 2**0.5,
    "stripes": lambda x: x + 0.4 * torch.tensor([1.0, -1.0]).repeat(8),
    "repeated": lambda x: x[:, :, :, :2].repeat(1, 1, 1, 8),
    "too short": lambda x: 0.9 * x,
    "too long": lambda x: 1.1 * x,
    "tint": lambda x: x + 0.4 * torch.tensor([1.0, 0.0, -1.0])[:, None, None],
    "grey": lambda x: (x + 0.8 * x[:, :1]) / 1.28,
    "shade": lambda x: x + 0.3 * wave(16)[:, None] * torch.ones(3, 1, 1),
    "bright rows": lambda x: x * (1 + 0.4 * torch.tensor([1.0, -1.0]).repeat(8))[:, None],
}


@pytest.mark.parametrize("kind", SPOILED)
def test_structure_of_a_picture_is_implausible(kind):
    spoiled = SPOILED[kind](white(*SHAPE)).flatten(1)
    assert float(NOISE.plausibility(spoiled).median()) < 0.01
    assert float(NOISE.deviation(spoiled).abs().amax(1).median()) > 3


def alike(x, share):
    """Every step has a share of one pattern, another in each row, that no test knows."""
    pattern = torch.randn(x[:, :1].shape, generator=stream(7), dtype=x.dtype)
    return x + share * pattern


STEPS_SPOILED = {
    "neighbouring steps": lambda x: (x + 0.4 * x.roll(1, dims=1)) / 1.077,
    "steps two apart": lambda x: (x + 0.4 * x.roll(2, dims=1)) / 1.077,
    "shifted": lambda x: x + 1.0,
    "a common direction": lambda x: alike(x, 0.35),
    "a direction with a sign": lambda x: x + 0.6 * (alike(x, 1.0) - x) * torch.randn(10, generator=stream(8))[:, None],
    "slow drift": lambda x: x + 0.5 * (alike(x, 1.0) - x) * wave(10)[:, None],
    "late steps quiet": lambda x: x * torch.linspace(1.4, 0.6, 10)[:, None],
    "a small mean in every block": lambda x: x + 0.06 if x.shape[2] > 500 else x + 0.25,
}


@pytest.mark.parametrize("space", [PATH, VECTORS], ids=["pictures", "vectors"])
@pytest.mark.parametrize("kind", STEPS_SPOILED)
def test_structure_over_the_steps_of_a_path_is_implausible(kind, space):
    x = white(10, space.dim // 10)
    spoiled = STEPS_SPOILED[kind](x)
    spoiled = (spoiled * (x.norm(dim=2) / spoiled.norm(dim=2))[:, :, None] if kind[0] != "l" else spoiled).flatten(1)
    assert float(space.plausibility(spoiled).median()) < 0.01
    assert float(space.deviation(spoiled).abs().amax(1).median()) > 3


def test_a_mean_that_no_block_shows_alone_is_seen_between_them():
    """Every block's mean is 1.8 standard errors off, together 4; in one block that is no news."""
    u = PARTS.sample(50, stream(2)).double()
    parts = [part - part.mean(1, keepdim=True) + 1.8 / part.shape[1] ** 0.5 for part in PARTS.split(u)]
    shifted = torch.cat(parts, dim=1)
    assert float(PARTS.deviation(shifted)[:, -1].median()) == pytest.approx(1.8 * 5**0.5, abs=0.2)
    assert float(PARTS.plausibility(shifted).median()) < 0.02
    alone = Space(PARTS.blocks[:1])
    assert float(alone.plausibility(parts[0]).median()) > 0.3


def test_the_first_noise_is_looked_at_alone_and_with_the_others():
    """A shift of the first noise of ten by five standard errors is 1.6 of all, and seen."""
    u = PATH.sample(50, stream(4)).double()
    u[:, : 3 * 256] += 5 / (3 * 256) ** 0.5
    assert float(PATH.plausibility(u).median()) < 0.01


def test_plain_blocks_look_at_the_norm_alone():
    plain, u = Space.of(SHAPE), white(*SHAPE).flatten(1)
    shifted = u - 2 * u.mean(1, keepdim=True)
    torch.testing.assert_close(plain.plausibility(u), plain.plausibility(shifted))
    assert plain.deviation(u).shape == (50, 1)


@pytest.mark.parametrize("name", SPACES)
def test_the_slope_of_every_test_is_that_of_finite_differences(name):
    space, h = SPACES[name], 1e-5
    u = (space.sample(2, stream(5)).double() + 0.1).requires_grad_()
    v = torch.randn(u.shape, generator=stream(6), dtype=torch.float64)
    tests = space.deviation(u)
    with torch.no_grad():
        difference = (space.deviation(u + h * v) - space.deviation(u - h * v)) / (2 * h)
    for j in range(tests.shape[1]):
        (slope,) = torch.autograd.grad(tests[:, j].sum(), u, retain_graph=True)
        torch.testing.assert_close((slope * v).sum(1), difference[:, j], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["picture", "path", "vectors"])
def test_descent_on_the_deviation_restores_plausibility(name):
    space = SPACES[name]
    u = 1.05 * (space.sample(4, stream(9)).double() + 0.25)
    assert float(space.plausibility(u).max()) < 0.05
    for _ in range(60):
        u = u.detach().requires_grad_()
        excess = (space.deviation(u).abs() - 0.5).clamp_min(0).square().sum()
        (slope,) = torch.autograd.grad(excess, u)
        u = u - 0.03 * slope
    assert float(space.plausibility(u.detach()).min()) > 0.3


def cube_root(value, k):
    return ((value / k) ** (1 / 3) - (1 - 2 / (9 * k))) / np.sqrt(2 / (9 * k))


def share(part, k):
    a, energy = part.size, (part**2).sum() / k
    root = ((energy / a) / ((1 - energy) / (k - a))) ** (1 / 3)
    u, v = 2 / (9 * a), 2 / (9 * (k - a))
    return ((1 - v) * root - (1 - u)) / np.sqrt(v * root**2 + u)


def bartlett(slices):
    t, m = len(slices), slices[0].size
    return cube_root(-m * sum(np.log((s**2).mean()) for s in slices) / (1 + (t + 1) / (3 * t * m)), t - 1)


def cosines(rows):
    rows = rows.T if rows.shape[0] > rows.shape[1] else rows
    m, pairs = rows.shape[1], list(itertools.combinations(rows, 2))
    value = m * sum((a @ b) ** 2 / (a @ a) / (b @ b) for a, b in pairs)
    degrees = len(pairs) * (m + 2) / (m - 1)
    return cube_root(value * degrees / len(pairs), degrees)


def plain_scores(x):
    """The tests of noise for one sample, by loops over its slices."""
    x = x / np.sqrt((x**2).mean())
    k, axes = x.size, [axis for axis in range(x.ndim) if x.shape[axis] > 1]
    b = next(size for size in range(8, 0, -1) if k % size == 0)
    scores = [np.sqrt(k) * x.mean(), *([cosines(x.reshape(-1, b))] if b > 1 else [])]
    low = x
    for axis in {*range(x.ndim)} - {1}:
        low = np.take(fft.dct(low, axis=axis, norm="ortho"), range(min(4, (x.shape[axis] + 1) // 2)), axis)
    scores += [share(low, k)] if low.size < k else []
    for axis in axes:
        slices = list(np.moveaxis(x, axis, 0))
        pairs = [(a * b).sum() for a, b in itertools.pairwise(slices)]
        scores.append(sum(pairs) / np.sqrt(len(pairs) * slices[0].size * k / (k + 2)))
        if slices[0].size > 1:
            scores += [share(sum(slices) / np.sqrt(len(slices)), k), bartlett(slices)]
        if len(axes) > 2:
            scores.append(share(np.array([s.sum() / np.sqrt(s.size) for s in slices]), k))
        if (axis == 0 and slices[0].size > 1) or (axis == 1 and len(axes) > 2):
            scores.append(cosines(np.stack([s.ravel() for s in slices])))
    if len(x) > 3:
        scores.append(bartlett(list(fft.dct(x, axis=0, norm="ortho"))))
    return scores


@pytest.mark.parametrize("shape", [(3, 4, 5), (1, 16), (2, 4, 1, 3), (7, 11), (4, 2, 2, 2), (13, 2), (1, 3, 6, 5)])
def test_scores_are_those_of_the_docstrings(shape):
    x = 3 * white(*shape, n=4) + 0.5
    np.testing.assert_allclose(noise_scores(x).numpy(), [plain_scores(row) for row in x.numpy()], rtol=1e-8)


def test_noises_of_one_shape_are_joined_and_others_stand_alone():
    first, others, odd = white(1, 3, 4, 4), white(5, 3, 4, 4, seed=1), white(1, 2, 8, 4, seed=2)
    joined = torch.cat([first, others], dim=1)
    every = torch.cat([joined.flatten(1), odd.flatten(1)], dim=1)
    every = every / every.square().mean(1, keepdim=True).sqrt()
    wanted = [
        noise_scores(first),
        noise_scores(joined),
        noise_scores(odd),
        every.sum(1, keepdim=True) / every.shape[1] ** 0.5,
    ]
    torch.testing.assert_close(path_scores([first, others, odd]), torch.cat(wanted, dim=1))
    torch.testing.assert_close(path_scores([first]), noise_scores(first))
