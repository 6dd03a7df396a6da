"""The designs of best-of-N: laws of antithetic and quasi-Monte-Carlo draws."""

from __future__ import annotations

import math

import pytest
import torch

from zmax.core.errors import InputError
from zmax.core.rng import stream
from zmax.core.space import Space
from zmax.search import Random


def points(bench, n, dim, seed=0, **design):
    return torch.cat(bench.climb(Random(**design), bench.sphere, dim=dim, calls=n, seed=seed).path)


def test_the_default_is_the_prior_in_order(bench):
    """Rounds of any size give the draws that the space gives from the same stream."""
    method, space = Random(batch=5), Space.of((7,))
    state, generator = method.init(space, stream(3)), stream(3)
    for _ in range(3):
        assert torch.equal(state.u, space.sample(5, generator))
        state = method.tell(state, bench.told(state.u, torch.zeros(5)))


def test_antithetic_rounds_have_mean_zero(bench):
    u = points(bench, 640, 9, batch=64, design="antithetic")
    assert float(u.reshape(10, 64, 9).sum(1).abs().max()) < 1e-5
    assert torch.equal(u[:32], -u[32:64])
    assert abs(float(u.square().mean()) - 1) < 4 * math.sqrt(2 / (320 * 9))


@pytest.mark.parametrize("dim", [4, 12])
def test_sobol_estimates_a_smooth_mean_better_than_chance(bench, dim):
    """E sum_i u_i^2 / d = 1, E cos u_i = e^-1/2: root mean square errors over 8 seeds, less than half of chance's."""

    def errors(design):
        draws = [points(bench, 512, dim, seed, design=design).double() for seed in range(8)]
        square = torch.stack([u.square().mean() - 1 for u in draws])
        wave = torch.stack([u.cos().mean() - math.exp(-0.5) for u in draws])
        return square.square().mean().sqrt(), wave.square().mean().sqrt()

    chance, even = errors("independent"), errors("sobol")
    assert float(even[0]) < 0.5 * float(chance[0])
    assert float(even[1]) < 0.5 * float(chance[1])


@pytest.mark.parametrize("batch", [16, 50])
def test_sobol_rounds_go_on_with_the_sequence(bench, batch):
    whole = points(bench, 400, 6, batch=400, design="sobol")
    assert torch.equal(points(bench, 400, 6, batch=batch, design="sobol"), whole)
    assert len(whole.unique(dim=0)) == 400


def test_every_sobol_cell_holds_one_point(bench):
    """Of 2^k points, each of 2^k equal slices of every axis holds one: the defining property of the net."""
    u = points(bench, 64, 5, batch=64, design="sobol")
    cells = (torch.special.ndtr(u.double()) * 64).long()
    assert all(len(cells[:, i].unique()) == 64 for i in range(5))


def test_seeds_scramble_differently(bench):
    assert not torch.equal(points(bench, 8, 3, 0, design="sobol"), points(bench, 8, 3, 1, design="sobol"))


def test_more_dimensions_than_sobol_knows_are_refused():
    with pytest.raises(InputError, match="21201"):
        Random(design="sobol").init(Space.of((30_000,)), stream(0))


def test_another_design_is_refused():
    with pytest.raises((InputError, TypeError), match="design"):
        Random(design="grid")
