"""Relay, polish and rollover: honest costs, lineages, samples that decode again, gains over best-of-N."""

import math
from dataclasses import replace

import pytest
import torch

import zmax
from tests.support.paths import Walked
from zmax.core.budget import Ledger
from zmax.core.errors import CapabilityError, InputError
from zmax.core.proposal import Latents
from zmax.core.rng import stream
from zmax.guide import Polish, Relay, Rollover
from zmax.kit.walk import Walk
from zmax.run.meter import Meter
from zmax.testing import gaussian_mixture, point_cloud, quadratic_score, ring
from zmax.testing.driver import drive, proceed

STEPS = 8
SCORE = quadratic_score([[1.0, 0.0], [0.0, 0.5]], [0.8, -0.4])


def law():
    return gaussian_mixture([[-1.5, 0.0], [1.5, 0.5]], [(0.2 * torch.eye(2)).tolist()] * 2, [0.5, 0.5])


def model(steps: int = STEPS):
    return law().generator(steps=steps, eta=1.0)


class TestRelay(Walked):
    rounds = 60

    def make(self):
        return Relay(first=6, lineages=3, rows=4, keep=2)


class TestPolish(Walked):
    rounds = 36

    def make(self):
        return Polish(first=6, lineages=3, rows=4, keep=2)


class TestRollover(Walked):
    rounds = 60

    def make(self):
        return Rollover(quota=4, rows=2)


def test_points_that_set_out_again_share_the_path_before():
    G, rng = model(), stream(0)
    space, path = G.space, G.space.path
    walk = Walk.begin(space, 3, rng, recorded=True)
    for _ in range(STEPS - 1):
        x_0 = G.denoise(walk.x, path.times[walk.step].expand(3))
        walk = walk.onward(space, x_0, torch.randn(3, 2, generator=rng))
    for step in (0, 1, STEPS - 1):
        again = Walk.again(space, walk.u, walk.passed, step, torch.randn(3, 2, generator=rng))
        torch.testing.assert_close(again.passed[:, :step], walk.passed[:, :step], check_dtype=False)
        assert not torch.allclose(again.x.double(), walk.passed[:, step, 0].double())
        end = again
        while not end.at_end(space):
            x_0 = G.denoise(end.x, path.times[end.step].expand(3))
            end = end.onward(space, x_0, torch.zeros(3, 2))
        sample = G.finish(G.denoise(end.x, path.times[end.step].expand(3)))
        torch.testing.assert_close(G.decode(space.latents(end.u)), sample, rtol=0, atol=1e-5)


def test_a_pass_of_the_relay_costs_the_steps_after_its_beginning():
    G, ledger, method = model(), Ledger(), Relay(first=6, lineages=3, rows=4, keep=2)
    with Meter(G.networks, ledger):
        state = drive(method, G, SCORE, 2 * STEPS).state  # four draws, then two
        assert (ledger.nfe, ledger.nfe_backward) == (6 * STEPS, 0)
        assert (state.drawn, len(state.elites.score)) == (6, 3)
        trace = drive(method, G, SCORE, 3 * STEPS - state.walk.step)
    assert ledger.nfe == 2 * 6 * STEPS + 4 * (STEPS - state.walk.step)
    assert [len(e.score) for e in trace.evaluations[: STEPS - 1]] == [0] * (STEPS - 1)


def test_a_lineage_changes_by_its_own_ends_alone_and_never_gets_worse():
    G, method = model(), Relay(first=6, lineages=3, rows=4, keep=2)
    state = drive(method, G, SCORE, 2 * STEPS).state
    for _ in range(20):
        rounds = STEPS - state.walk.step
        before, parent = state.elites, state.parent
        state = proceed(method, G, SCORE, state, rounds).state
        others = torch.arange(3) != parent
        assert torch.equal(before.u[others], state.elites.u[others])
        assert float(state.elites.score[parent]) >= float(before.score[parent])
    x = G.decode(G.space.latents(state.elites.u))
    torch.testing.assert_close(SCORE(x).double(), state.elites.score, rtol=0, atol=1e-4)


def test_polish_goes_on_from_the_best_path_by_gradients():
    G, method = model(), Polish(first=6, lineages=3, rows=4, keep=2)
    trace = drive(method, G, SCORE, 40)
    kinds = [isinstance(p.at, Latents) for p in trace.proposals]
    start = kinds.index(True)
    assert all(kinds[start:])
    reached = max(float(e.score.max()) for e in trace.evaluations[:start] if len(e.score))
    assert float(trace.evaluations[start].score) == pytest.approx(float(trace.state.elites.score.max()), abs=1e-4)
    assert max(float(e.score) for e in trace.evaluations[start:]) >= reached - 1e-4


def test_rollover_takes_the_first_better_child_and_carries_the_rest_over():
    G, method = model(), Rollover(quota=6, rows=2)
    state = drive(method, G, SCORE, 0).state
    levels, lefts = [], []
    for _ in range(12):
        after = proceed(method, G, SCORE, state, 1).state
        if after.walk.step > state.walk.step:
            levels.append(after.level > state.level)
            lefts.append((state.left - len(state.walk.x), after.left))
        state = after
    assert levels
    assert all(after == 6 + max(before, 0) for before, after in lefts)
    assert all(better or before <= 0 for better, (before, _) in zip(levels, lefts, strict=True))


def test_failed_draws_begin_anew():
    def spoil(evaluation):
        none = torch.zeros(len(evaluation.ok), dtype=torch.bool)
        score = torch.full_like(evaluation.score, -math.inf)
        return replace(evaluation, ok=none, score=score, failures={0: "made to fail"})

    for method in (Relay(first=6, lineages=3, rows=4, keep=2), Rollover(quota=4, rows=2)):
        state = drive(method, model(), SCORE, 3 * STEPS, spoil=spoil).state
        assert bool(torch.isfinite(state.walk.x).all())


@pytest.mark.parametrize("name", ["relay", "polish", "rollover"])
def test_what_a_run_returns_decodes_again_and_the_batch_of_the_run_changes_nothing(name):
    G = model()
    one, other = (zmax.maximize(G, SCORE, name, zmax.Budget(nfe=400), seed=1, batch_size=b) for b in (3, 32))
    torch.testing.assert_close(one.best.u, other.best.u, rtol=0, atol=1e-4)
    back = G.decode({n: z[None] for n, z in one.best.z.items()})[0]
    torch.testing.assert_close(back, one.best.sample, rtol=0, atol=1e-5)


def waves(x):
    across, up = x[:, 0], x[:, 1]
    return (4 * math.pi * across).sin() + (4 * math.pi * up).sin() - ((across - 1) ** 2 - up**2) / 5


@pytest.mark.parametrize("name", ["relay", "rollover"])
def test_beats_best_of_n_at_equal_network_evaluations(name):
    on_ring = point_cloud(ring(200, stream(0, "ring")), width=0.03).generator(steps=10, eta=1.0), waves
    far = model(10), quadratic_score([[2.0, 0.0], [0.0, 2.0]], [5.0, -3.0])
    G, S = on_ring if name == "relay" else far
    budget = zmax.Budget(nfe=1000)
    best, plain = (sum(zmax.maximize(G, S, m, budget, seed).best.score for seed in range(5)) for m in (name, "random"))
    assert best > plain


@pytest.mark.parametrize("name", ["relay", "polish", "rollover"])
def test_they_need_a_path(name):
    G = zmax.generator(torch.nn.Identity(), shape=(2,), differentiable=True)
    with pytest.raises(CapabilityError, match="steers the path"):
        zmax.maximize(G, SCORE, method=name, budget=10)


@pytest.mark.parametrize(
    ("kind", "argument"),
    [(Relay, {"keep": 5}), (Relay, {"lineages": 40}), (Relay, {"polish_after": -1}), (Rollover, {"rows": 20})],
)
def test_arguments_are_checked_at_the_door(kind, argument):
    with pytest.raises(InputError, match=next(iter(argument))):
        kind(**argument)
