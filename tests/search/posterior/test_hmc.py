"""HMC: exact, of second order in the step, and blind to the prior's dimension."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import pytest
import torch

import zmax
from zmax.core.errors import InputError
from zmax.core.rng import stream
from zmax.search import HMC
from zmax.testing import linear_gaussian, quadratic_score
from zmax.testing.driver import drive, evaluate

LAW = linear_gaussian([[1.0, 0.3, 0.0], [0.0, 0.5, -0.4]], [0.2, -0.1])
SCORE = quadratic_score(A=[[2.0, 0.5], [0.5, 3.0]], b=[2.0, -1.0])


def drawn(method, law, score, rounds, seed=0):
    """Where the chains' last trajectories began, which is independent from chain to chain."""
    return drive(method, law.generator(), score, rounds, seed).state.chains.u.double()


@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_draws_have_the_exact_mean_and_covariance(temperature):
    tilted = LAW.tilt(SCORE, temperature)
    u = drawn(HMC(temperature=temperature, chains=16_000), LAW, SCORE, 60)
    assert float((u.mean(0) - tilted.mean).abs().max()) < 0.03
    assert float((u.T.cov() - tilted.cov).abs().max()) < 0.04


def test_clipping_the_kick_leaves_the_law_exact():
    tilted = LAW.tilt(SCORE, 0.5)
    u = drawn(HMC(temperature=0.5, chains=16_000, clip=0.1), LAW, SCORE, 100)
    assert float((u.mean(0) - tilted.mean).abs().max()) < 0.03
    assert float((u.T.cov() - tilted.cov).abs().max()) < 0.04


def errors(step, time):
    """Return |dH| of trajectories of a given time, from the same starts and momenta whatever the step."""
    method, G = HMC(temperature=1.0, chains=64, step=step, length=10.0), LAW.generator()
    state = drive(method, G, SCORE, 1).state
    u, p = state.chains.u.double(), torch.randn(64, 3, generator=stream(7), dtype=torch.float64)
    state = replace(state, q=u, p=p, left=1)
    score = SCORE(G.decode(u))
    start = (u.square().sum(1) + p.square().sum(1)) / 2 - score
    state = method._stepped(state, state.grad, whole_kick=False)
    for k in range(round(time / step)):
        evaluation = evaluate(zmax.Proposal(zmax.Latents(state.q), zmax.Value(grad="point")), G, SCORE)
        if k + 1 < round(time / step):
            state = method._stepped(state, evaluation.grad.double(), whole_kick=True)
    p = state.p + method._kick(state, evaluation.grad.double())
    end = (state.q.square().sum(1) + p.square().sum(1)) / 2 - SCORE(G.decode(state.q))
    return (end - start).abs().detach()


def test_the_error_of_the_energy_is_of_second_order():
    sizes = [float(errors(step, 1.6).mean()) for step in (0.2, 0.1, 0.05)]
    orders = [math.log2(a / b) for a, b in itertools.pairwise(sizes)]
    assert min(orders) > 1.85
    assert max(orders) < 2.15


def test_without_a_score_the_energy_is_exact_and_every_move_is_made():
    law, still = linear_gaussian(torch.eye(200)), quadratic_score(A=torch.zeros(200, 200))
    method = HMC(temperature=1.0, chains=8)
    state = drive(method, law.generator(), still, 1).state
    moves = ends = 0
    for _ in range(40):
        before = state
        state = method.tell(state, evaluate(method.ask(state), law.generator(), still))
        if state.chains.heat.round > before.chains.heat.round:
            ends, moves = ends + 8, moves + int((state.chains.u != before.chains.u).any(1).sum())
    assert ends >= 80
    assert moves == ends


def test_acceptance_does_not_fall_with_the_dimension_of_the_prior():
    """The score sees one coordinate; the adapted step is the same with 2 coordinates as with 500."""

    def step(dim):
        w = torch.zeros(1, dim)
        w[0, 0] = 1.0
        method = HMC(temperature=0.02, chains=64)
        law, score = linear_gaussian(w), quadratic_score(A=[[1.0]], b=[1.0])
        return drive(method, law.generator(), score, 250).state.step

    assert abs(step(500) / step(2) - 1) < 0.15


def test_trajectories_have_a_jittered_length():
    method = HMC(temperature=1.0, chains=4, step=0.1, length=1.0)
    state, lengths = drive(method, LAW.generator(), SCORE, 1).state, []
    for _ in range(200):
        before = state
        state = method.tell(state, evaluate(method.ask(state), LAW.generator(), SCORE))
        if state.chains.heat.round > before.chains.heat.round:
            lengths.append(state.left * state.step)
    assert min(lengths) < 0.75
    assert max(lengths) > 1.25


def test_a_failure_on_the_way_ends_the_trajectory_where_it_began():
    method = HMC(temperature=1.0, chains=6, step=0.05)
    G = LAW.generator()
    state = drive(method, G, SCORE, 1).state
    start, first = state.chains.u, True
    while state.chains.heat.round == 1:
        evaluation = evaluate(method.ask(state), G, SCORE)
        if first:
            bad = torch.arange(6) == 2
            evaluation = replace(
                evaluation,
                ok=~bad,
                score=evaluation.score.masked_fill(bad, -math.inf),
                grad=evaluation.grad * ~bad[:, None],
            )
        first, state = False, method.tell(state, evaluation)
    assert torch.equal(state.chains.u[2], start[2])
    assert bool((state.chains.u != start).any(1)[[0, 1, 3, 4, 5]].any())


@pytest.mark.parametrize("seed", range(3))
def test_annealed_it_finds_the_maximiser(bench, seed):
    c = torch.randn(8, generator=stream(seed, "target"))
    run = bench.climb(HMC(), lambda u: -(u - c).square().sum(1) / 2, dim=8, calls=3000, seed=seed, target=-0.1)
    assert run.reached, f"stopped at {run.best}"


def test_arguments_are_checked():
    for bad in ({"step": 0.0}, {"acceptance": 1.5}, {"chains": 0}, {"length": -1.0}, {"leapfrogs": 0}):
        with pytest.raises(InputError):
            HMC(**bad)
