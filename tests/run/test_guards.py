"""Guards: penalties, the watched held-out score, and noise in S."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import zmax
from tests.run.toys import first, identity, sphere
from zmax.core.errors import InputError
from zmax.core.rng import stream
from zmax.kit.penalised import Penalised
from zmax.run.repeats import posterior_means
from zmax.search import SNES, Gradient
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
        excess = (space.deviation(points).abs() - 0.674).clamp_min(0)
        return points[:, 0] - excess.square().sum(1) / 2

    leaf = u.float().double().requires_grad_()
    (slope,) = torch.autograd.grad(penalised(leaf).sum(), leaf)
    flat = torch.zeros(5, 6)
    flat[:, 0] = 1
    ok = torch.ones(5, dtype=torch.bool)
    method.tell(state, zmax.Evaluation(u[:, 0].float(), ok, torch.ones(5), range(5), flat))
    torch.testing.assert_close(seen["told"].score.double(), penalised(leaf).detach(), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(seen["told"].grad.double(), slope, atol=1e-5, rtol=1e-5)


def test_a_guard_is_one_of_four_and_fits_the_method():
    with pytest.raises(InputError, match="retract, penalise, natural, report"):
        zmax.maximize(identity(), STEEP, "snes", 100, guard="forbid")
    with pytest.raises(InputError, match="no parameter 'retract'"):
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


def test_patience_needs_something_to_watch():
    with pytest.raises(InputError, match="held_out"):
        zmax.maximize(identity(), sphere, "snes", 100, patience=3)


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
    assert len(r.history) == r.ledger.score_calls == 300


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
