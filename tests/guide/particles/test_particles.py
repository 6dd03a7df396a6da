"""Particles: exact tilted laws, unbiased evidence, whole re-indexing, honest costs, and samples that decode again."""

import math
from dataclasses import replace

import pytest
import torch

import zmax
from tests.support.paths import Walked, Weighted
from zmax.core.budget import Ledger
from zmax.core.errors import CapabilityError, InputError
from zmax.core.rng import stream
from zmax.core.strategy import Need
from zmax.guide import DAS, TDS, FKSteering
from zmax.guide.particles.smc import Ends
from zmax.kit.rows import join, take
from zmax.kit.weights import effective_size, log_mean, residual, systematic
from zmax.run.meter import Meter
from zmax.testing import gaussian_mixture, quadratic_score
from zmax.testing.driver import drive

EYE = torch.eye(2)


def law():
    return gaussian_mixture([[-1.5, 0.0], [1.5, 0.5]], [(0.2 * EYE).tolist()] * 2, [0.5, 0.5])


SCORE = quadratic_score([[1.0, 0.0], [0.0, 0.5]], [0.8, -0.4])


class TestFK(Walked):
    def make(self):
        return FKSteering(particles=4)


class TestFKAtATemperature(Weighted):
    rounds = 16

    def make(self):
        return FKSteering(particles=48, temperature=1.0, potential="max", every=3)


class TestDAS(Walked):
    def make(self):
        return DAS(particles=4)


class TestTDSAtATemperature(Weighted):
    rounds = 16

    def make(self):
        return TDS(particles=48, temperature=1.0, resampling="residual")


METHODS = {
    "fk": FKSteering(temperature=1.0, particles=64),
    "fk, every third": FKSteering(temperature=1.0, particles=64, every=3),
    "fk, max": FKSteering(temperature=1.0, particles=64, potential="max"),
    "tds": TDS(temperature=1.0, particles=64, resampling="residual"),
    "das": DAS(temperature=1.0, particles=64),
}


@pytest.mark.parametrize("name", METHODS)
def test_evidence_is_unbiased_and_the_weighted_ends_have_the_tilted_moments(name):
    """Against the sampler's own law, known from many plain decodes, so that its steps' error plays no part."""
    G = law().generator(steps=20, eta=1.0)
    x = G.decode(G.space.latents(G.space.sample(40_000, stream(0, "plain"))))
    weight = SCORE(x).exp()
    passes = 40
    done = drive(METHODS[name], G, SCORE, 20 * passes).state.done
    z = done.log_z.exp()
    assert len(z) == passes
    error = math.hypot(float(z.std()) / passes**0.5, float(weight.std()) / 200)
    assert abs(float(z.mean() - weight.mean())) < 4 * error
    population = done.population()
    ends, share = G.decode(G.space.latents(population.u)), population.log_weight.exp()
    mean, truth = (share[:, None] * ends).sum(0), (weight[:, None] * x).sum(0) / weight.sum()
    torch.testing.assert_close(mean, truth, rtol=0, atol=0.12)


def test_tempering_lowers_the_spread_of_the_evidence():
    G = law().generator(steps=20, eta=1.0)
    spread = [
        float(drive(kind(temperature=0.3, particles=64), G, SCORE, 400).state.done.log_z.std()) for kind in (TDS, DAS)
    ]
    assert spread[1] < spread[0]


@pytest.mark.parametrize("method", [FKSteering(particles=8, every=2), DAS(particles=8)], ids=["fk", "das"])
def test_one_network_evaluation_a_particle_and_step_and_at_most_one_backward(method):
    G, ledger = law().generator(steps=10, eta=1.0), Ledger()
    with Meter(G.networks, ledger):
        drive(method, G, SCORE, 20)
    assert ledger.nfe == 8 * 20
    assert ledger.nfe_backward == (8 * 20 if Need.GRADIENT in method.needs else 0)


@pytest.mark.parametrize("name", ["fk", "das"])
def test_what_a_run_returns_decodes_again(name):
    G = law().generator(steps=10, eta=1.0)
    r = zmax.maximize(G, SCORE, method=name, budget=800, seed=0)
    back = G.decode(G.space.latents(r.best.u[None]))[0]
    torch.testing.assert_close(back, r.best.sample, rtol=0, atol=1e-5)
    assert float(SCORE(back[None])) == pytest.approx(r.best.score, abs=1e-5)


def test_a_deterministic_flow_is_steered_on_its_stochastic_path():
    G = law().generator(steps=10, eta=0.0, schedule="rectified-flow")
    r = zmax.maximize(G, SCORE, method="das", budget=800, seed=0)
    plain = zmax.maximize(G, SCORE, method="random", budget=80, seed=0)  # the same network evaluations
    assert set(r.best.z) == {"noise", "injected"}
    assert r.best.score > plain.best.score - 0.05


@pytest.mark.parametrize("name", ["fk", "das"])
def test_annealed_particles_beat_best_of_n_at_equal_network_evaluations(name):
    G, S = law().generator(steps=10, eta=1.0), quadratic_score([[2.0, 0.0], [0.0, 2.0]], [5.0, -3.0])
    budget = zmax.Budget(nfe=16 * 10 * 3 + 40)
    gains = [
        zmax.maximize(G, S, method=name, budget=budget, seed=s).best.score
        - zmax.maximize(G, S, method="random", budget=budget, seed=s).best.score
        for s in range(4)
    ]
    assert sum(g > 0 for g in gains) >= 3, gains


def test_resampling_moves_all_that_belongs_to_a_particle():
    G = law().generator(steps=10, eta=1.0)
    cloud = drive(DAS(temperature=0.3, particles=6), G, SCORE, 4).state
    rows = torch.tensor([5, 5, 0, 1, 1, 3])
    moved = take(cloud, rows)
    for name in ("log_weight", "potential", "memory", "twist"):
        torch.testing.assert_close(getattr(moved, name), getattr(cloud, name)[rows], equal_nan=True)
    torch.testing.assert_close(moved.walk.x, cloud.walk.x[rows])
    torch.testing.assert_close(moved.walk.u, cloud.walk.u[rows])


def test_weights_are_taken_in_the_log_domain():
    low = torch.tensor([-1e5, -1e5 - math.log(3.0), -math.inf], dtype=torch.float64)
    assert effective_size(low) == pytest.approx(16 / 10)
    assert log_mean(low) == pytest.approx(-1e5 + math.log(4 / 9))
    for draw in (systematic, residual):
        rows = draw(low, 4000, stream(0))
        share = torch.bincount(rows, minlength=3) / 4000
        torch.testing.assert_close(share, torch.tensor([0.75, 0.25, 0.0]), rtol=0, atol=0.02)
        assert torch.equal(rows, draw(low + 7e4, 4000, stream(0)))


@pytest.mark.parametrize("draw", [systematic, residual])
def test_resampling_is_unbiased(draw):
    log_weight, rng = torch.tensor([0.5, 0.3, 0.15, 0.05]).log(), stream(1)
    counts = sum(torch.bincount(draw(log_weight, 5, rng), minlength=4) for _ in range(4000))
    torch.testing.assert_close(counts / 20_000, log_weight.exp(), rtol=0, atol=0.01)


def test_passes_count_by_what_they_found_the_evidence_to_be():
    one, zero = torch.ones(2, dtype=torch.float64), torch.zeros(2, dtype=torch.float64)
    first = Ends(torch.zeros(2, 3), one, zero, torch.tensor([0.0], dtype=torch.float64))
    second = Ends(torch.ones(2, 3), one, zero + math.log(3), torch.tensor([math.log(3)], dtype=torch.float64))
    population = join(first, second).population()
    torch.testing.assert_close(population.log_weight.exp(), torch.tensor([1, 1, 3, 3], dtype=torch.float64) / 8)
    assert float(population.log_z) == pytest.approx(math.log(2))


def test_a_dead_particle_is_replaced_and_a_dead_cloud_begins_anew():
    def kill(rows):
        return lambda e: replace(e, ok=e.ok & ~rows, score=e.score.masked_fill(rows, -math.inf))

    G, method = law().generator(steps=10, eta=1.0), FKSteering(temperature=1.0, particles=4)
    some = drive(method, G, SCORE, 3, spoil=kill(torch.tensor([True, False, False, False]))).state
    assert bool(torch.isfinite(some.walk.x).all())
    every = drive(method, G, SCORE, 3, spoil=kill(torch.ones(4, dtype=torch.bool))).state
    assert every.walk.step == 0


def test_methods_that_steer_a_path_say_so():
    with pytest.raises(CapabilityError, match="steers the path"):
        zmax.maximize(zmax.generator(torch.nn.Identity(), shape=(2,)), SCORE, method="fk", budget=10)
    with pytest.raises(InputError, match="potential"):
        FKSteering(potential="sum")
    with pytest.raises(InputError, match="tempering"):
        DAS(tempering=-1.0)


def test_a_run_goes_on_bit_for_bit(tmp_path):
    G = law().generator(steps=10, eta=1.0)
    whole = zmax.maximize(G, SCORE, method="das", budget=600, seed=3)
    zmax.maximize(G, SCORE, method="das", budget=250, seed=3, out=tmp_path / "run")
    rest = zmax.resume(tmp_path / "run", generator=G, score=SCORE, budget=600)
    assert torch.equal(whole.best.u, rest.best.u)
    assert whole.best.score == rest.best.score
    assert len(whole.history) == len(rest.history)
