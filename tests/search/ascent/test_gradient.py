"""Gradient: chains do not see each other, scale does not matter, failures do not poison."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from zmax.core.errors import CapabilityError, InputError
from zmax.core.priors import shell
from zmax.core.rng import stream
from zmax.core.space import Space
from zmax.search import Gradient

ROWS = ("u", "first", "second", "age", "step", "best", "stalled")


def alone(state, i):
    return replace(state, **{name: getattr(state, name)[i : i + 1] for name in ROWS})


def curved(u):
    pull = torch.linspace(-1, 2, u.shape[1], dtype=u.dtype)
    return u @ pull - u.square() @ pull.square() / 2 + torch.sin(u).sum(1)


@pytest.mark.parametrize("i", [0, 3])
def test_a_chain_moves_the_same_alone_and_among_others(bench, i):
    method = Gradient(batch=5)
    among, solo = method.init(Space.of((24,)), stream(1)), None
    solo = alone(among, i)
    for _ in range(60):
        assert torch.allclose(among.u[i], solo.u[0], rtol=1e-5, atol=1e-5)
        among = method.tell(among, bench.evaluate(method, curved, among.u))
        solo = method.tell(solo, bench.evaluate(method, curved, solo.u))


@pytest.mark.parametrize("factor", [2.0**-40, 2.0**40])
def test_the_scale_of_the_score_does_not_matter(bench, factor):
    """Powers of two are exact in floating point, so the paths are equal bit for bit."""
    plain = bench.climb(Gradient(), curved, dim=24, calls=800)
    scaled = bench.climb(Gradient(), lambda u: factor * curved(u), dim=24, calls=800)
    assert all(torch.equal(a, b) for a, b in zip(plain.path, scaled.path, strict=True))


def test_a_failed_chain_is_redrawn_and_the_others_go_on(bench):
    method = Gradient(batch=3)
    state = method.init(Space.of((16,)), stream(2))
    good = bench.evaluate(method, curved, state.u)
    ok = torch.tensor([True, False, True])
    grad = good.grad.clone()
    grad[1] = float("nan")
    after, spoilt = method.tell(state, good), method.tell(state, bench.told(state.u, good.score, ok=ok, grad=grad))
    assert torch.equal(spoilt.u[[0, 2]], after.u[[0, 2]])
    assert spoilt.age.tolist() == [1, 0, 1]
    for name in ROWS:
        assert not bool(torch.isnan(getattr(spoilt, name)).any())
    assert not torch.allclose(spoilt.u[1], state.u[1])
    assert bool(spoilt.first[1].eq(0).all())


def test_a_chain_without_progress_halves_its_step_six_times_and_is_redrawn(bench):
    method = Gradient(batch=1, patience=3, step=0.5)
    state = method.init(Space.of((16,)), stream(3))
    steps = []
    for _ in range(3 * 7 + 1):
        steps.append(float(state.step))
        state = method.tell(state, bench.told(state.u, torch.zeros(1), grad=torch.ones(1, 16)))
    assert sorted(set(steps), reverse=True) == [0.5 / 2**k for k in range(7)]
    assert float(state.step) == 0.5
    assert int(state.age) == 0


def test_a_point_where_the_gradient_is_radial_stays(bench):
    """A maximum on the rim of the shell is a fixed point, however large the gradient."""
    direction = torch.randn(16, generator=stream(4)).double()
    direction /= direction.norm()
    method = Gradient(batch=1)
    state = method.init(Space.of((16,)), stream(4))
    state = replace(state, u=(direction * shell(16, 0.5)[1]).float()[None])
    after = method.tell(state, bench.evaluate(method, lambda u: 1e6 * u @ direction, state.u))
    assert bool(after.first.eq(0).all())
    assert torch.allclose(after.u, state.u)


def test_one_huge_gradient_hardly_counts(bench):
    """After 20 equal gradients, one 1e6 times as large enters the moments as `clip` times the usual one."""
    method = Gradient(batch=1, clip=3.0, retract=False)
    state = method.init(Space.of((16,)), stream(5))
    usual = torch.ones(1, 16, dtype=torch.float64)
    for i in range(20):
        state = method.tell(state, bench.told(state.u, torch.full((1,), float(i)), grad=usual))
    after = method.tell(state, bench.told(state.u, torch.ones(1), grad=1e6 * usual))
    assert torch.allclose(after.first, 0.9 * state.first + 0.1 * 3 * usual)


def test_needs_gradients(bench):
    method = Gradient()
    state = method.init(Space.of((4,)), stream(0))
    with pytest.raises(CapabilityError, match="without gradients"):
        method.tell(state, bench.told(state.u, torch.zeros(len(state.u))))


@pytest.mark.parametrize("bad", [{"step": 0.0}, {"step": float("nan")}, {"batch": 0}, {"clip": -1.0}, {"batch": -1}])
def test_bad_arguments_are_refused_by_name(bad):
    with pytest.raises(InputError, match=f"Gradient\\({next(iter(bad))}="):
        Gradient(**bad)
