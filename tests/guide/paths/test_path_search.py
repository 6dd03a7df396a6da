"""Search over paths and noises: exact laws, independence, honest costs, gains over best-of-N, samples that decode."""

import math
from dataclasses import replace
from functools import cache

import pytest
import torch

import zmax
from tests.support.paths import Walked, Weighted
from zmax.core.budget import Ledger
from zmax.core.errors import CapabilityError, InputError
from zmax.core.rng import stream
from zmax.core.strategy import Need
from zmax.guide import SVDD, Noises, Paths
from zmax.run.meter import Meter
from zmax.testing import StrategyConformance, gaussian_mixture, point_cloud, quadratic_score, ring
from zmax.testing.driver import drive

EYE = torch.eye(2)
SCORE = quadratic_score([[1.0, 0.0], [0.0, 0.5]], [0.8, -0.4])


def law():
    return gaussian_mixture([[-1.5, 0.0], [1.5, 0.5]], [(0.2 * EYE).tolist()] * 2, [0.5, 0.5])


def problem_of(name):
    if name == "ring":
        return point_cloud(ring(200, stream(0, "ring")), width=0.03).generator(steps=10, eta=1.0), waves
    return law().generator(steps=10, eta=1.0), quadratic_score([[2.0, 0.0], [0.0, 2.0]], [5.0, -3.0])


@cache
def found(method, problem):
    """Return the mean best of five seeds at the network evaluations of 100 samples."""
    G, S = problem_of(problem)
    budget = zmax.Budget(nfe=1000)
    runs = [zmax.maximize(G, S, method=method, budget=budget, seed=seed) for seed in range(5)]
    return sum(r.best.score for r in runs) / len(runs)


def waves(x):
    across, up = x[:, 0], x[:, 1]
    return (4 * math.pi * across).sin() + (4 * math.pi * up).sin() - ((across - 1) ** 2 - up**2) / 5


class TestSVDD(Walked):
    def make(self):
        return SVDD(particles=2, children=3)


class TestSVDDAtATemperature(Weighted):
    rounds = 16

    def make(self):
        return SVDD(temperature=1.0, particles=32, children=2, tempering=0.0)


class TestPaths(Walked):
    rounds = 24
    rank_based = True

    def make(self):
        return Paths(rows=8, keep=2)


class TestNoises(StrategyConformance):
    rank_based = True

    def make(self):
        return Noises(batch=4)


@pytest.mark.parametrize("tempering", [0.0, 2.0])
def test_svdd_evidence_is_unbiased_and_its_weighted_ends_follow_the_tilted_law(tempering):
    """Particles are independent, so all of them are plain draws of (weight, weighted end)."""
    n, G = 4000, law().generator(steps=40, eta=1.0)
    done = drive(SVDD(temperature=1.0, particles=n, children=3, tempering=tempering), G, SCORE, 40).state.done
    x = G.decode(G.space.latents(done.u)).double()
    tilted, weight = law().tilt(SCORE, 1.0), done.log_weight.exp().reshape(n, -1)
    z = weight.mean(1)
    plain = G.decode(G.space.latents(G.space.sample(20_000, stream(0, "plain"))))
    steps = abs(float(SCORE(plain).exp().mean()) - math.exp(law().tilt(SCORE).log_z))  # the sampler's own error
    assert abs(float(z.mean()) - math.exp(tilted.log_z)) < 4 * float(z.std()) / n**0.5 + steps
    share = done.log_weight.softmax(0)
    mean = share @ x
    cov = (share[:, None] * (x - mean)).T @ (x - mean)
    torch.testing.assert_close(mean, tilted.mean, rtol=0, atol=0.08)
    torch.testing.assert_close(cov, tilted.cov, rtol=0, atol=0.08)


def test_svdd_evidence_is_unbiased_over_seeds_of_small_runs():
    G, seeds = law().generator(steps=6, eta=1.0), 40
    plain = G.decode(G.space.latents(G.space.sample(40_000, stream(0, "plain"))))
    weight = SCORE(plain).exp()
    method = SVDD(temperature=1.0, particles=4, children=4)
    z = torch.cat([drive(method, G, SCORE, 6, seed).state.done.log_z for seed in range(seeds)]).exp()
    error = math.hypot(float(z.std()) / seeds**0.5, float(weight.std()) / 200)
    assert abs(float(z.mean() - weight.mean())) < 4 * error


def test_svdd_draws_are_the_tilted_law_to_the_verb():
    G = law().generator(steps=20, eta=1.0)
    r = zmax.sample(G, SCORE, 1.0, SVDD(temperature=1.0, particles=64), budget=64 * 4 * 20 * 2 + 18)
    assert abs(float(r.population.log_z) - law().tilt(SCORE).log_z) < 0.15


METHODS = {
    "svdd": (SVDD(particles=2, children=4), 8),
    "svdd, drawn": (SVDD(temperature=1.0, particles=2, children=4), 8),
    "paths": (Paths(rows=8, keep=2, every=3), 8),
    "noises": (Noises(batch=8), 8),
}


@pytest.mark.parametrize("name", METHODS)
def test_no_point_is_denoised_twice(name):
    method, rows = METHODS[name]
    G, ledger = law().generator(steps=10, eta=1.0), Ledger()
    with Meter(G.networks, ledger):
        trace = drive(method, G, SCORE, 20)
    rounds = 20 if Need.PATH in method.needs else 20 * 10
    assert (ledger.nfe, ledger.nfe_backward) == (rows * rounds, 0)
    seen = torch.cat([p.at.points for p in trace.proposals])
    assert len(seen.unique(dim=0)) == len(seen)


def test_paths_call_the_score_where_they_choose_alone():
    trace = drive(Paths(rows=8, keep=2, every=4), law().generator(steps=10, eta=1.0), SCORE, 10)
    assert [len(e.score) for e in trace.evaluations] == [0, 0, 0, 8, 0, 0, 0, 8, 0, 8]


def test_svdd_particles_do_not_see_each_other():
    """Spoiling one particle's scores leaves the others' points as they were."""

    def spoil(evaluation):
        rows = torch.arange(len(evaluation.score)) >= 8
        return replace(evaluation, score=torch.where(rows, -evaluation.score, evaluation.score))

    G, method = law().generator(steps=6, eta=1.0), SVDD(particles=3, children=4)
    plain, other = drive(method, G, SCORE, 5), drive(method, G, SCORE, 5, spoil=spoil)
    assert torch.equal(plain.state.walk.u[:8], other.state.walk.u[:8])
    assert not torch.equal(plain.state.walk.u[8:], other.state.walk.u[8:])


@pytest.mark.parametrize("name", ["svdd", "paths", "noises"])
def test_the_batch_of_the_run_does_not_change_what_is_proposed(name):
    G = law().generator(steps=8, eta=1.0)
    one, other = (zmax.maximize(G, SCORE, name, 80, seed=1, batch_size=b) for b in (3, 32))
    torch.testing.assert_close(one.best.u, other.best.u, rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", ["svdd", "paths", "noises"])
def test_what_a_run_returns_decodes_again(name):
    G = law().generator(steps=10, eta=1.0)
    r = zmax.maximize(G, SCORE, method=name, budget=120, seed=0)
    torch.testing.assert_close(G.decode({n: z[None] for n, z in r.best.z.items()})[0], r.best.sample, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("name", "problem"), [("svdd", "mixture"), ("paths", "mixture"), ("noises", "ring")])
def test_beats_best_of_n_at_equal_network_evaluations(name, problem):
    assert found(name, problem) > found("random", problem)


@pytest.mark.parametrize("name", ["svdd", "paths"])
def test_those_that_walk_need_a_path(name):
    with pytest.raises(CapabilityError, match="steers the path"):
        zmax.maximize(zmax.generator(torch.nn.Identity(), shape=(2,)), SCORE, method=name, budget=10)


def test_noises_need_none():
    G = zmax.generator(torch.nn.Identity(), shape=(16,), modality="vector")
    r = zmax.maximize(G, lambda x: -((x - 1) ** 2).sum(1), method="noises", budget=1000, seed=0)
    assert r.best.score > -4
    assert r.best.plausibility > 0.05


def test_a_search_that_no_longer_rises_begins_anew():
    G, flat = law().generator(steps=4, eta=1.0), quadratic_score(torch.zeros(2, 2), [0.0, 0.0])
    state = drive(Noises(patience=3), G, flat, 4).state
    assert (state.best, state.failures, state.angle) == (-math.inf, 0, Noises().angle)


@pytest.mark.parametrize(
    ("kind", "argument"),
    [
        (SVDD, {"children": 1}),
        (SVDD, {"temperature": -1.0}),
        (Paths, {"keep": 5}),
        (Paths, {"keep": 16}),
        (Noises, {"shrink": 1.5}),
    ],
)
def test_arguments_are_checked_at_the_door(kind, argument):
    with pytest.raises(InputError, match=next(iter(argument))):
        kind(**argument)
