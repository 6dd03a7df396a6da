"""Realism in runs: recorded, charged apart, never silently trained, and paid for under the guard."""

from __future__ import annotations

import pytest
import torch

import zmax
from tests.run.toys import identity
from zmax.core.budget import Budget, Ledger
from zmax.core.proposal import Latents, Proposal, SamplesAt, Value
from zmax.core.rng import stream
from zmax.natural import companion
from zmax.natural.calibration import HIGHEST, two_sided
from zmax.report import verdict
from zmax.run.evaluator import Evaluator
from zmax.run.toll import PRICE, toll_of

LAW = zmax.testing.gaussian_mixture([[-1.0, 0.0], [1.0, 0.0]], (torch.eye(2) * 0.1).expand(2, 2, 2), [0.5, 0.5])
G = LAW.generator(steps=10)
UP = zmax.score(lambda x: 3 * x[:, 1], differentiable=True, name="up")
"""Climbs off the law: no sample of it has a second coordinate of three."""


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ZMAX_CACHE", str(tmp_path / "cache"))


def test_a_long_run_of_a_path_model_measures_what_it_keeps(tmp_path):
    r = zmax.maximize(G, UP, "gradient", Budget(nfe=20_000), seed=0, keep=4, out=tmp_path / "run")
    kept = [*r.leaders, *r.reference]
    assert all(0 <= e.realism <= 1 for e in kept)
    assert r.ledger.nfe <= 20_000
    assert r.ledger.realism_nfe >= 200 * 18 + 8 * len(kept)
    assert [e.realism for e in zmax.load_result(tmp_path / "run").leaders] == [e.realism for e in r.leaders]
    assert r.summary()["best"]["realism"] == r.best.realism


def test_a_short_run_does_not_pay_more_for_it_than_for_itself():
    r = zmax.maximize(G, UP, "random", 100, seed=0)
    assert r.ledger.realism_nfe == 0
    assert r.best.realism is None


def test_no_run_trains_a_companion_by_itself(monkeypatch):
    monkeypatch.setattr(companion, "trained", None)
    assert zmax.maximize(identity(6), lambda x: x[:, 0], "random", 300).best.realism is None


def test_a_companion_made_ahead_serves_every_run(monkeypatch):
    monkeypatch.setattr(companion, "UPDATES", 5)
    generator = zmax.generator(torch.nn.Linear(3, 4), shape=(3,), modality="vector")
    zmax.realism(generator)
    r = zmax.maximize(generator, lambda x: x[:, 0], "random", 100)
    kept = {e.id: e.realism for e in [*r.leaders, *r.reference]}
    assert None not in kept.values()
    assert r.ledger.realism_nfe == 8 * len(kept) + 2  # two samples show that the generator is the same


def evaluator():
    made = Evaluator(G, UP, Ledger(), Budget.of(1000))
    made.toll = toll_of(G, torch.tensor([-1.0, 1.0]))
    return made


def test_the_toll_is_two_spreads_a_standard_score_beyond_one():
    paying = evaluator()
    u = 2 * G.space.sample(40, stream(1, "u"))
    batch = paying.evaluate(Proposal(Latents(u)))
    with torch.no_grad():
        z = paying.toll.natural.z(G.decode(G.space.latents(u)))
    torch.testing.assert_close(batch.toll, PRICE * 2**0.5 * (z - 1).clamp_min(0).double())
    assert 0 < int((batch.toll > 0).sum()) < 40
    assert torch.equal(batch.score, evaluator().evaluate(Proposal(Latents(u))).score)
    assert float(two_sided(torch.tensor([HIGHEST]).double())) == pytest.approx(0.05, abs=1e-5)


def test_the_slope_that_is_told_is_that_of_what_is_paid():
    paying = evaluator()
    u = 2 * G.space.sample(8, stream(1, "u"))
    grad = paying.evaluate(Proposal(Latents(u), Value(grad="point"))).grad

    def paid(points):
        batch = paying.evaluate(Proposal(Latents(points)))
        return (batch.score - batch.toll).float()

    steps = [step.expand(8, -1) for step in 1e-2 * torch.eye(u.shape[1])]
    slope = torch.stack([(paid(u + s) - paid(u - s)) / 2e-2 for s in steps], 1)
    torch.testing.assert_close(grad, slope, rtol=0.1, atol=0.3)


def test_what_can_be_no_best_pays_nothing():
    assert evaluator().evaluate(Proposal(SamplesAt(torch.full((3, 2), 9.0)))).toll is None


def test_the_guard_keeps_leaders_natural_at_their_true_scores():
    free = zmax.maximize(G, UP, "gradient", Budget(nfe=8000), seed=0, keep=8, guard="report")
    held = zmax.maximize(G, UP, "gradient", Budget(nfe=8000), seed=0, keep=8, guard="natural")
    natural = zmax.realism(G)
    p_free, p_held = (natural.of(torch.stack([e.sample for e in r.leaders])) for r in (free, held))
    assert float((p_free < 0.05).double().mean()) > 0.5
    assert float((p_held < 0.05).double().mean()) <= 0.125
    assert held.best.score > max(e.score for e in held.reference)
    assert all(e.score == pytest.approx(3 * float(e.sample[1]), abs=1e-4) for e in held.leaders)


def test_a_guarded_run_goes_on_where_it_was_killed(tmp_path):
    whole = zmax.maximize(G, UP, "gradient", 59, seed=0, batch_size=8, guard="natural")
    zmax.maximize(G, UP, "gradient", 40, seed=0, batch_size=8, guard="natural", out=tmp_path / "run")
    again = zmax.resume(tmp_path / "run", G, UP, budget=59)
    assert [e.score for e in again.leaders] == [e.score for e in whole.leaders]


def test_the_verdict_looks_at_the_best_sample_too():
    r = zmax.maximize(G, UP, "gradient", Budget(nfe=20_000), seed=0, keep=4, guard="report")
    check = verdict.natural(r)
    assert check.status == "warn"
    assert "realism" in check.rule
