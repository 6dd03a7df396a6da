"""Guards: penalties, the watched held-out score, and noise in S."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import zmax
from tests.run.toys import first, identity, sphere
from zmax.core.errors import InputError
from zmax.core.priors import radial_plausibility
from zmax.core.rng import stream
from zmax.kit.penalised import Penalised, free
from zmax.kit.retracted import Retracted
from zmax.run.repeats import posterior_means
from zmax.search import SNES, Gradient, Langevin
from zmax.store import Journal
from zmax.testing import StrategyConformance

STEEP = zmax.score(lambda x: 10 * x[:, 0], differentiable=True, name="steep")


class TestPenalised(StrategyConformance):
    def make(self):
        return Penalised(strategy=Gradient(batch=4, retract=False))


@pytest.mark.parametrize("method", ["gradient", "snes"])
def test_a_penalty_keeps_a_free_method_plausible(method):
    """A steep linear score pulls without end; reported alone it leaves the prior, penalised it does not."""
    free = zmax.maximize(identity(20), STEEP, method, 600, guard="report").best
    held = zmax.maximize(identity(20), STEEP, method, 600, guard="penalise").best
    assert free.plausibility < 1e-6
    assert held.plausibility > max(1e-6, 100 * free.plausibility)
    assert held.score < free.score
    assert held.score == pytest.approx(10 * float(held.sample[0]))


def test_the_gradient_told_is_that_of_the_penalised_score():
    space, method = zmax.Space.of((6,)), Penalised(strategy=Gradient(batch=5, retract=False))
    seen = {}

    class Spy(Gradient):
        def tell(self, state, evaluation):
            seen["told"] = evaluation
            return super().tell(state, evaluation)

    method.strategy = Spy(batch=5, retract=False)
    state = method.init(space, stream(0))
    u = 2 * method.ask(state).u.double()
    state = type(state)(type(state.inner)(**{**vars(state.inner), "u": u.float()}), 1.0, space)

    def penalised(points):
        excess = (space.deviation(points).abs() - free(1)).clamp_min(0)
        return points[:, 0] - excess.square().sum(1) / 2

    leaf = u.float().double().requires_grad_()
    (slope,) = torch.autograd.grad(penalised(leaf).sum(), leaf)
    flat = torch.zeros(5, 6)
    flat[:, 0] = 1
    ok = torch.ones(5, dtype=torch.bool)
    method.tell(state, zmax.Evaluation(u[:, 0].float(), ok, torch.ones(5), range(5), flat))
    torch.testing.assert_close(seen["told"].score.double(), penalised(leaf).detach(), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(seen["told"].grad.double(), slope, atol=1e-5, rtol=1e-5)


class TestRetracted(StrategyConformance):
    def make(self):
        return Retracted(strategy=Langevin(chains=8))


@pytest.mark.parametrize("method", ["random", "langevin", "hmc", "pcn", "tempering", "dgflow", "spsa", "zeroth"])
@pytest.mark.parametrize("dim", [1, 3, 64])
def test_the_guard_binds_every_method_that_does_not_hold_itself(method, dim):
    """A steep linear score pulls without end; every point that is decoded stays where it is not suspicious."""
    r = zmax.maximize(identity(dim), STEEP, method, 300, progress=False)
    assert float(np.nanmin(r.history.plausibility)) >= 0.05
    assert r.best.score == pytest.approx(10 * float(r.best.z[0]))


@pytest.mark.parametrize("method", ["dps", "mpgd", "tds", "das", "svdd", "noises", "relay"])
def test_the_guard_holds_the_noises_of_a_path(method):
    """A steep score pulls every step; the noises together stay plausible by norm, and lead to the sample."""
    G = zmax.testing.gaussian_mixture([[0.0] * 4], [torch.eye(4).tolist()], [1.0]).generator(steps=8, eta=1.0)
    S = zmax.score(lambda x: 30 * x[:, 0], differentiable=True)
    r = zmax.maximize(G, S, method, zmax.Budget(nfe=1200), progress=False)
    torch.testing.assert_close(
        G.decode(r.best.z[None] if torch.is_tensor(r.best.z) else batch_of(r.best.z))[0],
        r.best.sample,
        atol=1e-4,
        rtol=1e-4,
    )
    for e in r.leaders:
        for part in G.space.split(e.u[None]):
            assert float(radial_plausibility(part)) >= 0.05


def batch_of(z):
    return {name: part[None] for name, part in z.items()}


def test_gradients_and_products_are_those_of_the_guarded_score():
    """At 3 times a point of the shell R scales to the edge: J^T g has no radial part, and shrinks by that scale."""
    space = zmax.Space.of((40,))
    u = space.retract(space.sample(5, stream(0)).double()) * torch.tensor([1.0, 1.0, 3.0, 3.0, 0.1])[:, None]
    grad = torch.randn(5, 40, generator=stream(1), dtype=torch.float64)
    seen = {}

    class Spy(Gradient):
        def ask(self, state):
            return zmax.Proposal(zmax.Latents(u), self.want)

        def tell(self, state, evaluation):
            seen["grad"] = evaluation.grad
            return state

    method = Retracted(strategy=Spy(batch=5))
    method.strategy.want = zmax.Value(grad="point")
    state = method.init(space, stream(2))
    there = method.ask(state).u
    torch.testing.assert_close(there, space.retract(u, 0.051))
    ok = torch.ones(5, dtype=torch.bool)
    method.tell(state, zmax.Evaluation(torch.zeros(5), ok, None, range(5), grad))
    outward = u / u.norm(dim=1, keepdim=True)
    tangent = (grad - (grad * outward).sum(1, keepdim=True) * outward) * (there.norm(dim=1) / u.norm(dim=1))[:, None]
    torch.testing.assert_close(seen["grad"], torch.cat([grad[:2], tangent[2:]]))
    method.strategy.want = zmax.Pushforward(grad)
    torch.testing.assert_close(method.ask(state).want.tangent, torch.cat([grad[:2], tangent[2:]]))


def test_what_is_sampled_is_never_moved():
    """The tilted law of a steep score lies far out, and that is where its draws are."""
    r = zmax.sample(identity(3), STEEP, temperature=1.0, budget=600, progress=False)
    assert float(r.population.u.norm(dim=1).min()) > 5


def test_small_budgets_are_kept():
    for budget in (1, 2, 3, 4, 5):
        for method in ("random", "snes", "gradient"):
            r = zmax.maximize(identity(4), lambda x: x[:, 0], method, budget, progress=False)
            assert r.ledger.score_calls <= budget, (method, budget)


def test_a_guard_is_one_of_four_and_fits_the_method():
    with pytest.raises(InputError, match="retract, penalise, natural, report"):
        zmax.maximize(identity(), STEEP, "snes", 100, guard="forbid")
    zmax.maximize(identity(), STEEP, "random", 100, guard="report")
    with pytest.raises(InputError, match="retract=False"):
        zmax.maximize(identity(), STEEP, SNES(), 100, guard="penalise")


def test_a_penalised_run_goes_on_bit_for_bit(tmp_path):
    ask = {"method": "gradient", "guard": "penalise", "seed": 2}
    straight = zmax.maximize(identity(), STEEP, budget=640, **ask)
    zmax.maximize(identity(), STEEP, budget=320, out=tmp_path / "r", **ask)
    resumed = zmax.resume(tmp_path / "r", identity(), STEEP, budget=640)
    assert np.array_equal(straight.history.score, resumed.history.score)


def turned(x):
    """Rises with the first coordinate up to 1.5, then falls."""
    return -(x[:, 0] - 1.5).abs()


def test_a_falling_held_out_score_stops_the_run_where_asked_and_is_drawn_where_not(tmp_path):
    patient = zmax.maximize(identity(20), STEEP, "gradient", 1000, held_out=turned)
    stopped = zmax.maximize(identity(20), STEEP, "gradient", 1000, held_out=turned, patience=4)
    assert patient.stop_reason == "score_calls"
    assert stopped.stop_reason == "held_out"
    assert stopped.ledger.score_calls < 0.7 * patient.ledger.score_calls
    calls = [look["calls"] for look in patient.watched]
    assert len(calls) == 20
    assert calls == sorted(calls)
    judged = [look["held_out"] for look in patient.watched]
    assert max(judged) - judged[-1] > 0.5
    assert "being fooled" in patient.report(tmp_path / "page.html").read_text()


def test_a_held_out_score_that_keeps_rising_stops_nothing():
    r = zmax.maximize(identity(20), sphere, "gradient", 600, held_out=first, patience=19)
    assert r.stop_reason == "score_calls"


@pytest.mark.parametrize("patience", [2, 5])
def test_without_a_judge_patience_ends_a_run_on_a_plateau(patience, tmp_path):
    """A score that is cut off at 0.5 is at its end early; the run ends that many looks after its last rise."""
    ask = {"method": "random", "patience": patience, "progress": False}

    def cut(x):
        return x[:, 0].clamp(max=0.5)

    r = zmax.maximize(identity(2), cut, budget=400, **ask)
    rise = int((r.history.score >= 0.5).argmax()) + 1
    assert r.stop_reason == "plateau"
    assert rise + (patience - 1) * 20 <= r.ledger.score_calls <= rise + (patience + 2) * 20 + 32
    assert zmax.maximize(identity(2), first, "gradient", 100, patience=19).stop_reason == "score_calls"
    zmax.maximize(identity(2), cut, budget=400, out=tmp_path / "r", **{**ask, "patience": None})
    looked = zmax.maximize(identity(2), cut, budget=400, out=tmp_path / "p", **ask)
    assert looked.ledger.score_calls == r.ledger.score_calls
    assert zmax.resume(tmp_path / "p", identity(2), cut).ledger.score_calls == r.ledger.score_calls


def noisy(sigma, seed=0):
    rng = stream(seed, "noise in S")
    return zmax.score(
        lambda x: x[:, 0] + sigma * torch.randn(len(x), generator=rng), noisy=True, differentiable=False, name="noisy"
    )


def test_the_best_of_a_noisy_score_is_not_the_luckiest_draw(tmp_path):
    """Best-of-N by one noisy value each is worse in truth than by the posterior mean of repeats, over seeds."""
    lucky, ours, claimed = [], [], []
    for seed in range(12):
        r = zmax.maximize(identity(), noisy(1.0, seed), "random", 800, seed=seed)
        chunks = list(Journal.open(r.save(tmp_path / str(seed))).chunks())
        u, seen = torch.cat([c.u for c in chunks]), torch.cat([c.score for c in chunks])
        lucky.append(float(u[seen.argmax(), 0]))
        ours.append(float(r.best.u[0]))
        claimed.append(r.best.score)
        assert r.ledger.score_calls <= 800
        assert r.noise == pytest.approx(1.0, rel=0.35)
    assert np.mean(ours) > np.mean(lucky)
    assert abs(np.mean(claimed) - np.mean(ours)) < 0.35  # one draw would promise about 1.5 too much


def test_a_score_without_noise_is_not_repeated():
    r = zmax.maximize(identity(), first, "random", 300)
    assert r.noise is None
    assert len(r.history) + 2 == r.ledger.score_calls == 300  # the opening scores two again


def test_repeats_survive_a_stop(tmp_path):
    r = zmax.maximize(identity(), noisy(0.5), "random", 400, out=tmp_path / "r")
    again = zmax.resume(tmp_path / "r", identity(), noisy(0.5, seed=1))
    assert again.best.score == r.best.score
    assert again.ledger.score_calls == r.ledger.score_calls


def test_posterior_means_shrink_as_the_closed_form_says():
    """With theta ~ N(0, 1), sigma = 1 the squared error of the estimate nears 1 / (r + 1), of the mean 1 / r."""
    rng, r = stream(1), 4
    theta = torch.randn(4000, generator=rng, dtype=torch.float64)
    rows = list(theta[:, None] + torch.randn(4000, r, generator=rng, dtype=torch.float64))
    estimate = posterior_means(rows)
    error = float((estimate - theta).square().mean())
    assert error == pytest.approx(1 / (r + 1), rel=0.08)
    assert error < float((torch.stack(rows).mean(1) - theta).square().mean()) * 0.9
    assert math.isfinite(float(posterior_means([torch.ones(3), torch.ones(3)]).sum()))


def test_a_result_says_when_the_guard_is_what_holds_it_back():
    """A steep score ends at the rim; one whose maximum lies inside, or a run without a guard, does not."""
    steep = zmax.maximize(identity(20), STEEP, "gradient", 600, progress=False)
    assert steep.held_since == steep.best.id + 1
    assert 0 < steep.held_since < 600
    inside = zmax.score(lambda x: -(x - 1).square().sum(1), differentiable=True)
    assert zmax.maximize(identity(20), inside, "lbfgs", 600, progress=False).held_since is None
    assert zmax.maximize(identity(20), STEEP, "gradient", 100, guard="report", progress=False).held_since is None
