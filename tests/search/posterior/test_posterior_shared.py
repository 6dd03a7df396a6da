"""What the samplers share: draws kept, temperature, acceptance, adaptation."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from zmax.core.rng import Rng, stream
from zmax.core.space import Space
from zmax.search.posterior import mcmc
from zmax.search.posterior.mcmc import Chains, Heat, Reservoir, accepted, adapted, crank_nicolson, tilting


def filled(rounds, n=16, dim=2):
    kept = Reservoir()
    for k in range(rounds):
        kept = kept.add(torch.full((n, dim), float(k)), torch.zeros(n))
    return kept


@pytest.mark.parametrize("rounds", [1, 100, 256, 257, 2000])
def test_draws_are_thinned_evenly_and_bounded(rounds):
    kept = filled(rounds)
    when = kept.population(discard=0.0).u[::16, 0]
    assert when.tolist() == list(range(0, rounds, kept.every))
    assert len(when) * 16 <= mcmc.POINTS
    assert rounds <= 256 or len(when) * 16 > mcmc.POINTS / 2


def test_large_points_are_kept_in_bounded_memory():
    kept = filled(100, n=16, dim=100_000)
    assert sum(part.numel() for part in kept.u) <= mcmc.VALUES + 8 * 16 * 100_000


def test_the_first_share_of_the_rounds_is_discarded():
    assert float(filled(100).population(discard=0.5).u.min()) == 50
    assert Reservoir().population() is None


def test_only_finite_scores_and_complete_transitions_are_kept():
    score = torch.tensor([0.0, -math.inf, 1.0, 2.0])
    rows = torch.tensor([True, True, False, True])
    population = Reservoir().add(torch.arange(4.0)[:, None], score, rows).population()
    assert population.u[:, 0].tolist() == [0, 3]
    assert population.score.tolist() == [0, 2]


def test_annealing_runs_from_the_spread_of_the_first_scores_to_a_small_share_of_it_and_starts_again():
    heat, temperatures, starts = Heat(None), [], []
    assert heat.temperature == math.inf
    heat = heat.cooled(torch.tensor([0.0, math.nan, 1.0, 2.0, -math.inf]))
    spread = heat.spread
    assert 0.5 < spread < 1
    for _ in range(mcmc.CYCLE + mcmc.GROWTH * mcmc.CYCLE):
        temperatures.append(heat.temperature)
        starts.append(heat.starts)
        heat = heat.cooled(torch.zeros(3))
    first, second = temperatures[: mcmc.CYCLE], temperatures[mcmc.CYCLE :]
    for cycle in (first, second):
        assert cycle[0] == pytest.approx(spread)
        assert cycle[-1] == pytest.approx(spread * mcmc.COLDEST)
        ratios = torch.tensor(cycle).log().diff()
        assert float(ratios.std()) == pytest.approx(0, abs=1e-5)
    assert [k for k, yes in enumerate(starts) if yes] == [mcmc.CYCLE]


def test_scores_that_are_all_equal_leave_the_temperature_infinite():
    assert Heat(None).cooled(torch.ones(5)).temperature == math.inf


def test_a_fixed_temperature_stays_and_its_adaptation_dies_out():
    heat, gains = Heat(0.7), []
    for _ in range(3000):
        gains.append(heat.gain)
        heat = heat.cooled(torch.ones(4))
    assert heat.temperature == 0.7
    assert gains[-1] < 0.01
    assert sum(gains) > 50  # but can go any distance


def test_a_new_cycle_leaves_no_chain_with_a_point():
    chains = Chains.start(3, Space.of((2,)), stream(0), None)
    score = torch.arange(3.0).double()
    for _ in range(mcmc.CYCLE):
        chains = replace(chains, score=score).told(score)
        assert bool(chains.alive.all())
    chains = chains.told(score)
    assert not bool(chains.alive.any())
    assert chains.kept.population() is None


def test_acceptance_follows_the_ratio_and_takes_no_failure():
    old = torch.tensor([0.0, 0.0, -math.inf, -math.inf, 0.0]).double()
    new = torch.tensor([-2.0, 3.0, -1e30, -math.inf, -math.inf]).double()
    ratio = tilting(old, new, 2.0)
    assert ratio.tolist() == [-1, 1.5, math.inf, -math.inf, -math.inf]
    yes, probability, _ = accepted(ratio.repeat_interleave(20_000), Rng.of(stream(0)))
    shares = yes.double().reshape(5, -1).mean(1).tolist()
    assert shares == pytest.approx([math.exp(-1), 1, 1, 0, 0], abs=0.012)
    assert probability[::20_000].tolist() == pytest.approx([math.exp(-1), 1, 1, 0, 0])
    assert not bool(accepted(torch.tensor([math.nan]), Rng.of(stream(0)))[0])


def test_crank_nicolson_keeps_the_prior_and_proposes_prior_draws_to_chains_without_a_point():
    chains = Chains.start(40_000, Space.of((2,)), stream(0), 1.0)
    first, chains = crank_nicolson(chains, 0.1)
    assert float(first.std()) == pytest.approx(1, abs=0.01)
    chains = replace(chains, u=first, score=torch.zeros(40_000).double()).told(torch.zeros(40_000))
    second, _ = crank_nicolson(chains, 0.6)
    assert float(second.std()) == pytest.approx(1, abs=0.01)
    assert float((first * second).mean()) == pytest.approx(0.8, abs=0.02)


def test_the_step_moves_towards_the_acceptance_wanted():
    heat = Heat(1.0)
    assert adapted(0.5, torch.tensor([0.9]), 0.3, heat) > 0.5
    assert adapted(0.5, torch.tensor([0.1]), 0.3, heat) < 0.5
    assert adapted(0.5, torch.tensor([]), 0.3, heat) == 0.5
    assert adapted(0.9, torch.tensor([1.0]), 0.3, heat, most=1.0) == 1.0
