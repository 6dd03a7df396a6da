"""Chains never see each other, and the tangent of the shell is what retraction leaves of a gradient."""

from __future__ import annotations

import pytest
import torch

from zmax.core.errors import CapabilityError
from zmax.core.priors import shell
from zmax.core.rng import stream
from zmax.core.space import Space
from zmax.kit.chains import clipped, tangent
from zmax.kit.rows import take
from zmax.search import Gradient
from zmax.search.ascent.lbfgs import LBFGS
from zmax.search.ascent.sphere import Sphere

METHODS = [Sphere(batch=5), LBFGS(batch=5)]


def curved(u):
    pull = torch.linspace(-1, 2, u.shape[1], dtype=u.dtype)
    return u @ pull - u.square() @ pull.square() / 2 + torch.sin(u).sum(1)


@pytest.mark.parametrize("i", [0, 3])
@pytest.mark.parametrize("method", METHODS, ids=lambda m: type(m).__name__)
def test_a_chain_moves_the_same_alone_and_among_others(bench, method, i):
    among = method.init(Space.of((24,)), stream(1))
    solo = take(among, torch.tensor([i]))
    for _ in range(25):
        here, alone = method.ask(among).u, method.ask(solo).u
        assert torch.allclose(here[i], alone[0], rtol=1e-4, atol=1e-4)
        among = method.tell(among, bench.evaluate(method, curved, here))
        solo = method.tell(solo, bench.evaluate(method, curved, alone))


@pytest.mark.parametrize("method", METHODS, ids=lambda m: type(m).__name__)
def test_a_failed_start_is_redrawn_and_the_others_go_on(bench, method):
    state = method.init(Space.of((16,)), stream(2))
    good = bench.evaluate(method, curved, method.ask(state).u)
    ok = torch.tensor([True, False, True, True, True])
    after = method.tell(state, good)
    spoilt = method.tell(state, bench.told(good.score, good.score, ok=ok, grad=good.grad * ok[:, None]))
    assert torch.equal(method.ask(spoilt).u[ok], method.ask(after).u[ok])
    assert not torch.allclose(method.ask(spoilt).u[1], method.ask(state).u[1])
    assert not any(bool(value.isnan().any()) for value in vars(spoilt).values() if isinstance(value, torch.Tensor))


@pytest.mark.parametrize("method", [Gradient(), *METHODS], ids=lambda m: type(m).__name__)
def test_gradients_are_needed(bench, method):
    state = method.init(Space.of((4,)), stream(0))
    u = method.ask(state).u
    with pytest.raises(CapabilityError, match=f"{type(method).__name__} was told scores without gradients"):
        method.tell(state, bench.told(u, torch.zeros(len(u))))


def test_the_tangent_is_what_retraction_leaves():
    """Inside the shell all of a gradient; at its outer rim, the tangent part of one that points out."""
    space, (low, high) = Space.of((30,)), shell(30, 0.5)
    direction = torch.nn.functional.normalize(space.sample(1, stream(0)).double())
    inside, rim = (low + high) / 2 * direction, high * direction
    gradient = torch.nn.functional.normalize(space.sample(1, stream(1)).double())
    outward = gradient + 2 * direction
    assert torch.allclose(tangent(space, inside, gradient), gradient, atol=1e-6)
    wanted = outward - (outward * direction).sum() * direction
    assert torch.allclose(tangent(space, rim, outward), wanted, rtol=2e-2, atol=2e-3)
    assert bool(tangent(space, rim, 5 * direction).eq(0).all())
    assert bool(tangent(space, 2 * rim, 5 * direction).eq(0).all())  # also where the point itself is off the shell


def test_clipping_keeps_short_rows_and_shortens_long_ones():
    rows = torch.tensor([[3.0, 4.0], [0.3, 0.4], [0.0, 0.0]])
    assert torch.allclose(clipped(rows, 1.0), torch.tensor([[0.6, 0.8], [0.3, 0.4], [0.0, 0.0]]))
