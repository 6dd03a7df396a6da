"""SNES: utilities, order, linear size, failures."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
import torch
from torch import Tensor

from zmax.core.errors import InputError
from zmax.core.rng import stream
from zmax.core.space import Space
from zmax.search import SNES
from zmax.search.evolution.snes import utilities


@pytest.mark.parametrize("n", [1, 2, 5, 16, 101])
def test_utilities_sum_to_zero_and_fall(n):
    w = utilities(n)
    assert float(w.sum()) == pytest.approx(0, abs=1e-5)
    assert bool((w.diff() <= 0).all())


def test_sigma_learns_the_scale_of_each_axis(bench):
    """On a separable quadratic sigma_i becomes proportional to H_ii^-1/2, within a factor 10 over a span of 1e3."""
    run = bench.climb(SNES(retract=False), bench.ellipsoid, dim=8, calls=8000, target=-1e-6)
    product = run.state.sigma * 10 ** torch.linspace(0, 3, 8)
    assert float(product.max() / product.min()) < 10


def test_size_and_cost_are_linear_in_the_dimension(bench):
    """At d = 100,000 the state holds nothing larger than the proposals."""
    method = SNES()
    state = method.init(Space.of((100_000,)), stream(0))
    for _ in range(3):
        state = method.tell(state, bench.evaluate(method, bench.sphere, state.u))
        sizes = [getattr(state, f.name).numel() for f in fields(state) if isinstance(getattr(state, f.name), Tensor)]
        assert max(sizes) == 16 * 100_000


def test_failed_rows_have_no_influence(bench):
    method = SNES(population=12)
    state = method.init(Space.of((8,)), stream(0))
    for _ in range(3):
        ok = torch.arange(len(state.u)) % 3 != 1
        evaluation = bench.told(state.u, bench.sphere(state.u.double()), ok=ok)
        spoilt = replace(state, s=torch.where(ok[: len(state.s), None], state.s, float("nan")))
        state, other = method.tell(state, evaluation), method.tell(spoilt, evaluation)
        assert torch.equal(state.mean, other.mean)
        assert torch.equal(state.sigma, other.sigma)


@pytest.mark.parametrize("rounds", [0, 4])
def test_a_round_of_failures_leaves_the_law_and_redraws(bench, rounds):
    method = SNES()
    state = method.init(Space.of((8,)), stream(0))
    for _ in range(rounds):
        state = method.tell(state, bench.evaluate(method, bench.sphere, state.u))
    after = method.tell(state, bench.told(state.u, torch.zeros(16), ok=torch.zeros(16, dtype=torch.bool)))
    assert torch.equal(after.mean, state.mean)
    assert torch.equal(after.sigma, state.sigma)
    assert not torch.equal(after.u, state.u)


@pytest.mark.parametrize("sigma", [1e-9, 1e9])
def test_a_spent_search_law_starts_again_from_the_prior(bench, sigma):
    method = SNES()
    state = method.init(Space.of((8,)), stream(0))
    state = method.tell(state, bench.evaluate(method, bench.sphere, state.u))
    state = replace(state, sigma=torch.full((8,), sigma))
    assert method.tell(state, bench.evaluate(method, bench.sphere, state.u)).round == 0


@pytest.mark.parametrize("bad", [{"step": -1.0}, {"population": 3}])
def test_bad_arguments_are_refused_by_name(bad):
    with pytest.raises(InputError, match=f"SNES\\({next(iter(bad))}="):
        SNES(**bad)
