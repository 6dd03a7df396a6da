"""Langevin: exact with adjustment, off by a known amount without."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from zmax.core.errors import CapabilityError, InputError
from zmax.core.proposal import Proposal
from zmax.core.rng import stream
from zmax.search import DDLS, Langevin
from zmax.testing import linear_gaussian, quadratic_score
from zmax.testing.driver import drive, evaluate

MIXING = [[1.0, 0.3, 0.0], [0.0, 0.5, -0.4]]
LAW = linear_gaussian(MIXING, [0.2, -0.1])
SCORE = quadratic_score(A=[[2.0, 0.5], [0.5, 3.0]], b=[2.0, -1.0])
FLAT = linear_gaussian(torch.eye(2))
STILL = quadratic_score(A=torch.zeros(2, 2))


def drawn(method, law, score, rounds, seed=0):
    """The chains' last positions, which are independent."""
    return drive(method, law.generator(), score, rounds, seed).state.chains.u.double()


@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_adjusted_draws_have_the_exact_mean_and_covariance(temperature):
    tilted = LAW.tilt(SCORE, temperature)
    u = drawn(Langevin(temperature=temperature, chains=16_000), LAW, SCORE, 50)
    assert float((u.mean(0) - tilted.mean).abs().max()) < 0.03
    assert float((u.T.cov() - tilted.cov).abs().max()) < 0.04


def test_the_step_adapts_to_the_acceptance_wanted():
    method = Langevin(temperature=0.1, chains=128, acceptance=0.57)
    state = drive(method, LAW.generator(), SCORE, 150).state
    moves = 0
    for _ in range(50):
        before = state
        state = drive_one(method, state)
        moves += int((state.chains.u != before.chains.u).any(1).sum())
    assert abs(moves / 6400 - 0.57) < 0.05


def drive_one(method, state):
    return method.tell(state, evaluate(method.ask(state), LAW.generator(), SCORE))


@pytest.mark.parametrize("step", [0.4, 0.8, 1.2])
def test_unadjusted_draws_of_a_gaussian_have_the_variance_of_theory(step):
    """With drift -u the chain is AR(1) with coefficient 1 - h^2/2, so its variance is 1 / (1 - h^2/4)."""
    u = drawn(Langevin(temperature=1.0, chains=16_000, step=step, adjust=False), FLAT, STILL, 60)
    expected = 1 / (1 - step**2 / 4)
    assert abs(float(u.var(0).mean()) / expected - 1) < 0.03
    assert float(u.mean(0).abs().max()) < 0.05


def test_the_unadjusted_variance_depends_on_the_tilted_variance():
    """S = -A u^2 / 2 gives p* the variance v = 1 / (1 + A), and unadjusted draws v / (1 - h^2 / 4v)."""
    score, step = quadratic_score(A=3 * torch.eye(2)), 0.6
    u = drawn(Langevin(temperature=1.0, chains=16_000, step=step, adjust=False), FLAT, score, 40)
    assert abs(float(u.var(0).mean()) / (0.25 / (1 - step**2)) - 1) < 0.04


@pytest.mark.parametrize("clip", [0.1, 0.4])
def test_clipping_the_drift_leaves_the_law_exact(clip):
    tilted = LAW.tilt(SCORE, 0.5)
    u = drawn(Langevin(temperature=0.5, chains=16_000, clip=clip), LAW, SCORE, 50 if clip > 0.2 else 120)
    assert float((u.mean(0) - tilted.mean).abs().max()) < 0.03
    assert float((u.T.cov() - tilted.cov).abs().max()) < 0.04


@pytest.mark.parametrize("spread", [4.0, 64.0])
def test_steps_of_all_sizes_leave_the_law_exact(spread):
    tilted = LAW.tilt(SCORE, 0.5)
    method = Langevin(temperature=0.5, chains=16_000, spread=spread)
    state = drive(method, LAW.generator(), SCORE, 60).state
    u, sizes = state.chains.u.double(), state.own / state.step
    assert float((u.mean(0) - tilted.mean).abs().max()) < 0.03
    assert float((u.T.cov() - tilted.cov).abs().max()) < 0.04
    assert abs(float(sizes.min()) * spread**0.5 - 1) < 0.01
    assert abs(float(sizes.log().mean())) < 0.05 * math.log(spread)


def test_a_chain_does_not_see_the_gradients_of_others():
    method = Langevin(temperature=1.0, chains=4, adjust=False)
    state = drive(method, LAW.generator(), SCORE, 3).state
    told = evaluate(method.ask(state), LAW.generator(), SCORE)
    steep = replace(told, grad=told.grad.index_fill(0, torch.tensor([3]), 1e30))
    plain, other = method.tell(state, told), method.tell(state, steep)
    assert torch.equal(plain.u[:3], other.u[:3])
    assert not torch.equal(plain.u[3], other.u[3])
    assert bool(torch.isfinite(other.u).all())


@pytest.mark.parametrize("seed", range(3))
def test_annealed_it_finds_the_maximiser(bench, seed):
    c = torch.randn(8, generator=stream(seed, "target"))
    run = bench.climb(Langevin(), lambda u: -(u - c).square().sum(1) / 2, dim=8, calls=3000, seed=seed, target=-0.1)
    assert run.reached, f"stopped at {run.best}"


def test_ddls_draws_the_data_of_an_optimal_discriminator():
    """G's law is N(0, I), the data's N(a, V): the logit is quadratic, and draws at T = 1 are the data's."""
    v, a = torch.tensor([0.3, 0.7]).double(), torch.tensor([1.0, -0.5]).double()
    logit = quadratic_score(A=torch.diag(1 / v - 1), b=a / v)
    u = drawn(DDLS(chains=16_000, step=0.3), FLAT, logit, 50)
    assert float((u.mean(0) - a).abs().max()) < 0.03
    assert float((u.var(0) / v - 1).abs().max()) < 0.05


def test_ddls_without_adjustment_is_algorithm_1():
    """Noise of standard deviation h, drift h^2 / 2 times the gradient of -E(z) = S(z) - |z|^2 / 2."""
    method = DDLS(chains=4096, step=0.2, adjust=False)
    state = drive(method, FLAT.generator(), quadratic_score(b=[3.0, 0.0]), 1).state
    move = method.ask(state).u.double() - state.chains.u.double()
    drift = 0.02 * (torch.tensor([3.0, 0.0]).double() - state.chains.u.double())
    noise = move - drift
    assert abs(float(noise.std()) - 0.2) < 0.005
    assert float(noise.mean(0).abs().max()) < 4 * 0.2 / math.sqrt(4096)


def test_arguments_are_checked():
    for bad in ({"step": 0.0}, {"acceptance": 1.5}, {"chains": 0}, {"temperature": -1.0}, {"clip": math.nan}):
        with pytest.raises(InputError):
            Langevin(**bad)
    method = Langevin(chains=2)
    state = method.init(LAW.generator().space, stream(0))
    with pytest.raises(CapabilityError):
        method.tell(state, evaluate(Proposal(method.ask(state).at), LAW.generator(), SCORE))
