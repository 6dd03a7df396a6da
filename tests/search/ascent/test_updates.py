"""One step of each ascent, worked out by hand."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import pytest
import torch

from zmax.core.priors import shell
from zmax.core.rng import stream
from zmax.core.space import Space
from zmax.kit.chains import tangent
from zmax.search import ES, Gradient, Halving, Zeroth
from zmax.search.ascent.differences import antithetic_gradient, centred_ranks
from zmax.search.ascent.lbfgs import LBFGS
from zmax.search.ascent.zeroth import orthonormal
from zmax.testing import drive, linear_gaussian, quadratic_score
from zmax.testing.driver import proceed


def test_adam_moves_by_its_unbiased_moments(bench):
    """m = 0.9 m + 0.1 g and v = 0.99 v + 0.01 g^2, both over what they lack at first; without retraction and clip."""
    method = Gradient(batch=1, step=0.25, clip=1e9, retract=False, patience=99)
    state = method.init(Space.of((3,)), stream(0))
    m = v = torch.zeros(3).double()
    for k, g in enumerate(([1.0, -2.0, 0.5], [0.5, 3.0, 0.5], [-4.0, 1.0, 0.5], [2.0, 2.0, 0.5]), start=1):
        slope = torch.tensor(g).double()
        after = method.tell(state, bench.told(state.u, torch.tensor([float(k)]), grad=slope[None]))
        m, v = 0.9 * m + 0.1 * slope, 0.99 * v + 0.01 * slope.square()
        step = 0.25 * (m / (1 - 0.9**k)) / (v / (1 - 0.99**k)).sqrt()
        torch.testing.assert_close(after.u[0].double(), state.u[0].double() + step, rtol=1e-5, atol=1e-5)
        state = after


def test_a_chain_stands_on_the_rim_without_its_radial_slope(bench):
    """What retraction would undo does not enter the moments, so that it cannot drown what is tangent."""
    space, method = Space.of((30,)), Gradient(batch=1)
    out = torch.nn.functional.normalize(space.sample(1, stream(1)).double())
    across = torch.nn.functional.normalize(space.sample(1, stream(2)).double())
    across = torch.nn.functional.normalize(across - (across * out).sum() * out)
    state = replace(method.init(space, stream(0)), u=(shell(30, 0.5)[1] * out).float())
    after = method.tell(state, bench.told(state.u, torch.zeros(1), grad=100 * out + across))
    torch.testing.assert_close(after.first, 0.1 * across, rtol=0.2, atol=2e-2)
    small = tangent(space, state.u, 100 * out + 0.1 * across)  # a thousandth of the slope is still seen
    assert float(small.norm()) > 0.02


def test_a_step_along_a_gradient_starts_at_what_is_told_and_grows(bench):
    """The first move of L-BFGS is as long as asked; while there are no pairs it doubles when it is taken."""
    method = LBFGS(batch=1, step=0.01, retract=False)
    slope = torch.tensor([[3.0, 4.0]]).double()
    state, points = method.init(Space.of((2,)), stream(0)), []
    for _ in range(5):
        u = method.ask(state).u
        points.append(u[0].double())
        state = method.tell(state, bench.told(u, u.double() @ slope[0], grad=slope))
    moves = [float((b - a).norm()) for a, b in itertools.pairwise(points)]
    first = 0.01 * math.sqrt(2)
    assert moves == pytest.approx([first, 2 * first, 4 * first, 8 * first], rel=1e-3)
    for _ in range(9):
        u = method.ask(state).u
        before, state = u[0].double(), method.tell(state, bench.told(u, u.double() @ slope[0], grad=slope))
    assert float((method.ask(state).u[0].double() - before).norm()) == pytest.approx(math.sqrt(2), rel=1e-4)


@pytest.mark.parametrize(
    ("gained", "factor"), [(-1.0, 0.25), (0.0, 0.5), (-99.0, 0.1), (0.9, 0.5)], ids=["parabola", "half", "least", "up"]
)
def test_a_refused_step_is_shortened_to_the_top_of_the_parabola(bench, gained, factor):
    """Promised p and gained g put it at p / (2 (p - g)) of the step, which lies in [0.1, 0.5]; a failure counts least.

    A step that gains 0.9 of its promise is not refused: it is taken."""
    method = LBFGS(batch=1, step=0.5, retract=False)
    slope = torch.tensor([[1.0, 0.0]]).double()
    state = method.init(Space.of((2,)), stream(0))
    u = method.ask(state).u
    state = method.tell(state, bench.told(u, torch.zeros(1), grad=slope))
    there = method.ask(state).u
    promised = float((there - u).double()[0, 0])
    after = method.tell(state, bench.told(there, torch.tensor([gained * promised]), grad=slope))
    moved = float((method.ask(after).u - u)[0, 0]) / promised
    if gained > 0:
        assert torch.equal(after.u.float(), there)
    else:
        assert moved == pytest.approx(factor, rel=1e-3)


@pytest.mark.parametrize(("share", "taken"), [(0.5e-4, False), (2e-4, True)])
def test_a_step_is_taken_from_a_ten_thousandth_of_its_promise_on(bench, share, taken):
    method = LBFGS(batch=1, step=0.5, retract=False)
    slope = torch.tensor([[1.0, 0.0]]).double()
    state = method.init(Space.of((2,)), stream(0))
    u = method.ask(state).u
    state = method.tell(state, bench.told(u, torch.zeros(1), grad=slope))
    there = method.ask(state).u
    promised = float((there - u).double()[0, 0])
    after = method.tell(state, bench.told(there, torch.tensor([share * promised]).double(), grad=slope))
    assert torch.equal(after.u.float(), there) is taken


def test_a_chain_that_is_refused_eight_times_is_redrawn_and_forgets_its_pairs_after_four(bench):
    method = LBFGS(batch=1, retract=False)
    space = Space.of((4,))
    state = bench.climb(
        method, lambda u: -u.square().sum(1) - u[:, 0] ** 4, calls=3, state=method.init(space, stream(0))
    ).state
    assert bool((state.s != 0).any())
    tries = []
    for _ in range(9):
        u = method.ask(state).u
        bad = bench.told(u, state.score.float() - 1.0, grad=torch.ones(1, 4).double())
        state = method.tell(state, bad)
        tries.append((int(state.tries), bool((state.s != 0).any())))
        if not math.isfinite(float(state.score)):
            break
    assert [t for t, _ in tries] == [1, 2, 3, 4, 5, 6, 7, 0]
    assert [kept for _, kept in tries] == [True] * 3 + [False] * 5


def test_a_chain_that_stands_still_for_three_steps_is_redrawn(bench):
    """Steps that are taken and gain nothing, after one that gained a thousand."""
    method = LBFGS(batch=1, retract=False)
    state = method.init(Space.of((2,)), stream(0))
    slope, redrawn = torch.tensor([[1e-12, 0.0]]).double(), []
    for k in range(6):
        u = method.ask(state).u
        level = 0.0 if k == 0 else 1e3
        state = method.tell(state, bench.told(u, torch.tensor([level]).double(), grad=slope))
        redrawn.append(not math.isfinite(float(state.score)))
    assert redrawn == [False, False, False, False, True, False]


def test_halving_keeps_the_better_half_rounded_up_of_those_that_live(bench):
    """Of 7 chains 4 go on, those that did not fail and score best, after exactly the rounds that are asked for."""
    method = Halving(starts=7, keep=2, rounds=2)
    state = method.init(Space.of((12,)), stream(0))
    score = torch.tensor([7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0])
    first = method.ask(state).u
    state = method.tell(state, bench.told(first, score, grad=torch.ones(7, 12).double()))
    here = method.ask(state).u
    assert len(here) == 7
    ok = torch.tensor([False] + [True] * 6)
    state = method.tell(state, bench.told(here, score, ok=ok, grad=torch.ones(7, 12).double()))
    assert len(method.ask(state).u) == 4
    distance = torch.cdist(method.ask(state).u, here)
    assert distance.argmin(1).tolist() == [1, 2, 3, 4]


def problem(m, d, seed=0):
    rng = stream(seed, "zeroth by hand")
    w, b = torch.randn(m, d, generator=rng).double(), torch.randn(m, generator=rng).double()
    return w, b, linear_gaussian(w).generator(), quadratic_score(torch.zeros(m, m), b)


def test_differences_are_as_wide_as_sigma_times_the_samples_spread():
    """x +- sigma s e, s the standard deviation of the values within a sample, e of unit root mean square."""
    _, _, G, S = problem(12, 5)
    method = Zeroth(batch=2, pairs=3, sigma=0.07, directions="gaussian")
    trace = drive(method, G, S, 2)
    x, spread = trace.evaluations[0].samples.double(), trace.evaluations[0].samples.double().std(1, correction=0)
    tried = trace.proposals[1].at.x.double().reshape(2, 3, 2, 12)
    torch.testing.assert_close(tried.mean(2), x[:, None].expand(2, 3, 12), rtol=1e-4, atol=1e-5)
    e = (tried[:, :, 0] - tried[:, :, 1]) / 2 / (0.07 * spread)[:, None, None]
    assert float(e.std()) == pytest.approx(1, abs=4 / math.sqrt(2 * 72))


def test_the_estimate_in_sample_space_has_the_length_of_the_slope():
    """Gaussian directions: over many chains its mean is b; it is cut only where it is longer than its bound."""
    _, b, G, _ = problem(12, 5)
    for unit, n in ((1.0, 6000), (1e6, 50)):
        scaled = quadratic_score(torch.zeros(12, 12), unit * b)
        method = Zeroth(batch=n, pairs=2, directions="gaussian")
        state = drive(method, G, scaled, 2).state
        estimate = state.cotangent.double()
        mean = estimate.mean(0)
        if unit == 1.0:
            assert bool(((mean - b).abs() < 5 * estimate.std(0) / math.sqrt(n)).all())
        else:
            assert float(torch.nn.functional.cosine_similarity(mean, b, dim=0)) > 0.5
            assert float(estimate.norm(dim=1).max()) < unit * float(b.norm()) * 10


def test_surplus_tangents_are_dropped_whatever_their_length():
    tangents = torch.tensor([[[1e-8, 0.0, 0.0], [1e5, 1e5, 0.0], [2.0, 2.0, 0.0]]])
    e = orthonormal(tangents)[0].double()
    assert torch.allclose(e @ e.T, 3 * torch.diag(torch.tensor([1.0, 1.0, 0.0])).double(), atol=1e-4)


def test_the_method_goes_on_from_every_phase():
    _, _, G, S = problem(6, 4)
    state = drive(Zeroth(batch=2, pairs=2), G, S, 4).state
    assert len(proceed(Zeroth(batch=2, pairs=2), G, S, state, 1).evaluations[0].score) == 2


def test_es_estimates_from_the_pairs_that_came_back_whole_as_if_there_were_no_others(bench):
    method = ES(pairs=4)
    state = method.init(Space.of((20,)), stream(0))
    state = method.tell(state, bench.told(state.u, state.u[:, 0].double()))
    score, ok = state.u[:, 0].double(), torch.ones(9, dtype=torch.bool)
    ok[[2, 7]] = False  # one sample of the third pair, the other of the fourth
    ranks = centred_ranks(score[[0, 1, 4, 5]])
    grad = antithetic_gradient(state.e[:2], (ranks[:2] - ranks[2:]).float(), method.width)
    expected = method.ascent.tell(state.chain, bench.told(state.chain.u, score[8:], grad=grad[None]))
    after = method.tell(state, bench.told(state.u, score, ok=ok))
    torch.testing.assert_close(after.chain.u, expected.u)
