"""White noise passes the tests of noise, each kind of structure fails them, and penalties know the way back."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from zmax.core.noise import chi_square_score, noise_scores
from zmax.core.rng import stream
from zmax.core.space import Block, Space

SHAPE = (3, 16, 16)
NOISE = Space((Block("noise", SHAPE, noise=True),))


def white(n=4000, seed=0):
    return torch.randn(n, *SHAPE, generator=stream(seed, "noise"), dtype=torch.float64)


def test_scores_of_white_noise_are_standard_normal():
    scores = noise_scores(white())
    assert scores.shape == (4000, 4)
    for column in scores.T:
        assert stats.kstest(column.numpy(), "norm").pvalue > 1e-3
    off_diagonal = torch.corrcoef(scores.T) - torch.eye(4)
    assert float(off_diagonal.abs().max()) < 0.08


@pytest.mark.parametrize("degrees", [10, 28, 768])
def test_the_standard_score_of_a_chi_square_has_its_quantiles(degrees):
    for p in (0.01, 0.25, 0.5, 0.75, 0.99):
        value = torch.tensor([stats.chi2(degrees).ppf(p)])
        assert float(chi_square_score(value, degrees)) == pytest.approx(stats.norm.ppf(p), abs=0.05)


def test_plausibility_of_noise_is_a_valid_p_value():
    p = NOISE.plausibility(white().flatten(1))
    for level in (0.05, 0.2):
        assert float((p <= level).double().mean()) < level + 4 * (level / 4000) ** 0.5
    assert float((p > 0.5).double().mean()) > 0.4


SPOILED = {
    "mean": lambda x: x + 0.2,
    "smooth": lambda x: (x + x.roll(1, dims=3)) / 2**0.5,
    "stripes": lambda x: x + 0.4 * torch.tensor([1.0, -1.0]).repeat(8),
    "repeated": lambda x: x[:, :, :, :2].repeat(1, 1, 1, 8),
    "too short": lambda x: 0.9 * x,
    "too long": lambda x: 1.1 * x,
}


@pytest.mark.parametrize("kind", SPOILED)
def test_structure_is_implausible(kind):
    spoiled = SPOILED[kind](white(50)).flatten(1)
    assert float(NOISE.plausibility(spoiled).median()) < 0.01
    assert float(NOISE.deviation(spoiled).abs().amax(1).median()) > 3


def test_plain_blocks_look_at_the_norm_alone():
    plain, u = Space.of(SHAPE), white(50).flatten(1)
    shifted = u - 2 * u.mean(1, keepdim=True)
    torch.testing.assert_close(plain.plausibility(u), plain.plausibility(shifted))
    assert plain.deviation(u).shape == (50, 1)


def test_deviation_is_differentiable_and_descent_on_it_restores_plausibility():
    u = (1.05 * (white(4) + 0.15)).flatten(1)
    assert float(NOISE.plausibility(u).max()) < 0.05
    for _ in range(40):
        u = u.detach().requires_grad_()
        excess = (NOISE.deviation(u).abs() - 0.5).clamp_min(0).square().sum()
        (slope,) = torch.autograd.grad(excess, u)
        u = u - 0.1 * slope
    assert float(NOISE.plausibility(u.detach()).min()) > 0.3


def plain_scores(x):
    """The tests of noise for one sample, by loops over its values."""
    x = x / np.sqrt((x**2).mean())
    scores = [np.sqrt(x.size) * x.mean()]
    for axis in range(1, x.ndim):
        ahead, behind = np.delete(x, 0, axis), np.delete(x, -1, axis)
        if ahead.size:
            scores.append((ahead * behind).sum() / np.sqrt(ahead.size))
    b = next(size for size in range(8, 0, -1) if x.size % size == 0)
    if b > 1:
        rows = x.reshape(-1, b)
        pairs = [(i, j) for i in range(b) for j in range(i + 1, b)]
        value = sum((rows[:, i] @ rows[:, j]) ** 2 / len(rows) for i, j in pairs)
        k = len(pairs)
        scores.append(((value / k) ** (1 / 3) - (1 - 2 / (9 * k))) / np.sqrt(2 / (9 * k)))
    return scores


@pytest.mark.parametrize("shape", [(3, 4, 5), (1, 8), (2, 1, 3), (7, 11), (4, 2, 2, 2), (13, 1)])
def test_scores_are_those_of_the_docstring(shape):
    x = 3 * torch.randn(4, *shape, generator=stream(1, "plain"), dtype=torch.float64) + 0.5
    np.testing.assert_allclose(noise_scores(x).numpy(), [plain_scores(row) for row in x.numpy()], rtol=1e-9)
