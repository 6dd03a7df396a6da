"""`sample` draws from the tilted law, keeps decoded draws, and goes on after a stop."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import zmax
from tests.run.toys import first, identity, sphere
from zmax.core.errors import CapabilityError, InputError
from zmax.core.methods import samplers
from zmax.testing import linear_gaussian, quadratic_score

SCORE = quadratic_score(torch.eye(3), torch.tensor([2.0, -1.0, 0.5]))


@pytest.mark.parametrize("temperature", [0.5, 4.0])
def test_draws_have_the_tilted_law(temperature):
    law = linear_gaussian(torch.eye(3))
    exact = law.tilt(SCORE, temperature)
    r = zmax.sample(law.generator(), SCORE, temperature, "elliptical", budget=12_000, keep=400, params={"chains": 64})
    population = r.population
    weight = population.log_weight.double().exp()
    assert float(weight.sum()) == pytest.approx(1.0, abs=1e-6)
    mean = weight @ population.u.double()
    assert float((mean - exact.mean).abs().max()) < 0.12
    drawn = torch.stack([e.u for e in r.draws]).double()
    assert len(drawn) == 400
    assert float((drawn.mean(0) - exact.mean).abs().max()) < 0.3


def test_draws_are_decoded_samples_of_their_latents_and_are_charged():
    r = zmax.sample(identity(), zmax.score(sphere, differentiable=True), 1.0, "elliptical", budget=300)
    for entry in r.draws:
        torch.testing.assert_close(entry.sample, entry.u)
        assert entry.score == pytest.approx(float(sphere(entry.sample[None])), rel=1e-5)
    assert 0 <= r.ledger.decodes - r.ledger.score_calls - len(r.draws) <= len(r.leaders)
    assert r.summary()["draws"][0]["score"] == r.draws[0].score


def test_a_high_temperature_is_the_prior_and_a_low_one_the_best():
    hot, cold = (
        zmax.sample(identity(2), zmax.score(sphere, differentiable=True), t, budget=4000, seed=1).population.u
        for t in (1e6, 0.01)
    )
    assert float(hot.mean(0).norm()) < 0.4
    assert float(hot.var(0).mean()) == pytest.approx(1.0, abs=0.4)
    assert float((cold - 1).norm(dim=1).mean()) < 0.3


def test_the_held_out_judge_sees_the_draws_too():
    r = zmax.sample(identity(), zmax.score(sphere, differentiable=True), budget=200, held_out=lambda x: x[:, 0])
    assert [e.held_out for e in r.draws] == pytest.approx([float(e.sample[0]) for e in r.draws])


def test_draws_are_told_from_what_was_scored_however_they_are_batched():
    r = zmax.sample(identity(), zmax.score(sphere, differentiable=True), budget=200, held_out=first, batch_size=5)
    assert [e.held_out for e in r.draws] == pytest.approx([float(e.sample[0]) for e in r.draws])
    assert {e.id for e in r.draws}.isdisjoint(range(r.ledger.score_calls))
    assert len({e.id for e in r.draws}) == len(r.draws) == 16


def test_a_sample_run_survives_and_repeats(tmp_path):
    ask = {"score": zmax.score(sphere, differentiable=True), "method": "elliptical", "seed": 3}
    straight = zmax.sample(identity(), budget=600, **ask)
    zmax.sample(identity(), budget=320, out=tmp_path / "r", **ask)
    resumed = zmax.resume(tmp_path / "r", identity(), ask["score"], budget=600)
    assert np.array_equal(straight.history.score, resumed.history.score)
    assert torch.equal(straight.population.u, resumed.population.u)
    assert [e.score for e in straight.draws] == [e.score for e in resumed.draws]
    loaded = zmax.load_result(tmp_path / "r")
    assert [e.score for e in loaded.draws] == [e.score for e in resumed.draws]
    assert "sample" in resumed.spec.verb


def test_only_samplers_sample():
    assert {"elliptical", "langevin"} <= set(samplers())
    with pytest.raises(CapabilityError, match="does not draw from a law"):
        zmax.sample(identity(), sphere, method="cma", budget=100)
    with pytest.raises(CapabilityError, match="does not draw from a law"):
        zmax.sample(identity(), sphere, method=zmax.search.SNES(), budget=100)


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("inf"), True])
def test_temperatures_are_positive(temperature):
    with pytest.raises(InputError, match="temperature"):
        zmax.sample(identity(), sphere, temperature, budget=100)


def test_an_instance_brings_its_own_temperature():
    method = zmax.search.Elliptical(temperature=0.5)
    r = zmax.sample(identity(), sphere, method=method, budget=200)
    assert r.spec.params["temperature"] == 0.5
    with pytest.raises(InputError, match="instance"):
        zmax.sample(identity(), sphere, 1.0, method, budget=200)
    with pytest.raises(InputError, match="temperature"):
        zmax.sample(identity(), sphere, method=zmax.search.Elliptical(), budget=200)


@pytest.mark.parametrize("budget", [40, 120])
def test_where_no_round_of_the_sampler_fits_prior_draws_are_weighted_and_said_to_be(budget):
    """With u ~ N(0, I) and S = u_0 / 2 the tilted mean is 0.5; all that was scored counts, by exp(S)."""
    with pytest.warns(UserWarning, match="prior draws were weighted"):
        r = zmax.sample(identity(2), lambda x: x[:, 0] / 2, temperature=1.0, method="isir", budget=budget)
    p = r.population
    assert len(p.u) == budget - 2  # which the opening scored again
    torch.testing.assert_close(p.log_weight, (p.u[:, 0].double() / 2).log_softmax(0))
    worth = float(1 / p.log_weight.exp().square().sum())
    assert f"{worth:.1f}" != f"{budget}.0"
