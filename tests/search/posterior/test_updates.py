"""One move of each sampler, worked out by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from zmax.core.rng import stream
from zmax.core.space import Space
from zmax.search import HMC, ISIR, DGflow, Elliptical, Langevin, Tempering
from zmax.search.posterior.mcmc import Heat, Reservoir, adapted
from zmax.search.posterior.tempering import inverse
from zmax.testing import linear_gaussian, quadratic_score
from zmax.testing.driver import drive, evaluate

N = 20_000


def started(method, bench, dim=2, score=0.0):
    """Return the state after a first round in which every chain went to its prior draw."""
    state = method.init(Space.of((dim,)), stream(0))
    u = method.ask(state).u
    grad = torch.zeros(len(u), dim).double()
    return method.tell(state, bench.told(u, torch.full((len(u),), score), grad=grad))


def test_a_slice_lies_below_the_score_by_an_exponential_of_the_temperature(bench):
    """y = S + T ln U: its depth below S has mean T."""
    for temperature in (0.5, 3.0):
        state = started(Elliptical(temperature=temperature, chains=N), bench, score=7.0)
        depth = 7.0 - state.level
        assert bool((depth >= 0).all())
        assert float(depth.mean()) == pytest.approx(temperature, rel=4 / math.sqrt(N))


def test_a_bracket_begins_as_the_whole_circle_and_shrinks_to_the_angle_refused(bench):
    method = Elliptical(temperature=1.0, chains=400)
    state = started(method, bench)
    torch.testing.assert_close(state.high - state.low, torch.full((400,), 2 * math.pi).double())
    assert float(state.angle.min()) >= 0.0
    for _ in range(4):
        after = method.tell(state, bench.told(state.u, torch.full((400,), -1e9)))
        low = torch.where(state.angle < 0, state.angle, state.low)
        high = torch.where(state.angle < 0, state.high, state.angle)
        torch.testing.assert_close(after.low, low)
        torch.testing.assert_close(after.high, high)
        assert bool(((after.angle > low) & (after.angle < high)).all())
        u = state.chains.u.double() * after.angle.cos()[:, None] + state.nu.double() * after.angle.sin()[:, None]
        torch.testing.assert_close(after.u.double(), u, rtol=1e-4, atol=1e-5)
        state = after


def test_a_point_found_in_the_last_sliver_of_an_ellipse_counts_as_found(bench):
    """Between -1e-9 and 0 nothing is left to try, and the chain begins a new ellipse from there."""
    state = started(method := Elliptical(temperature=1.0, chains=4), bench)
    sliver = torch.full((4,), -1e-9).double()
    after = method.tell(replace(state, low=sliver, angle=0 * sliver), bench.told(state.u, torch.full((4,), 9.0)))
    assert torch.equal(after.chains.u, state.u)
    assert not bool((after.nu == state.nu).any())
    torch.testing.assert_close(after.high - after.low, torch.full((4,), 2 * math.pi).double())


def test_a_global_move_goes_to_each_candidate_by_its_weight(bench):
    """At T = 2 with scores 0 (where it is), 2 and -2: probabilities 1, e, 1/e over their sum."""
    method = ISIR(temperature=2.0, chains=N, candidates=2, local=0)
    state = started(method, bench)
    told = bench.told(state.u, torch.tensor([2.0, -2.0]).repeat(N))
    after = method.tell(state, told)
    candidates = state.u.reshape(N, 2, 2)
    places = (state.chains.u, candidates[:, 0], candidates[:, 1])
    found = [float((after.chains.u == place).all(1).double().mean()) for place in places]
    chances = [w / (1 + math.e + 1 / math.e) for w in (1, math.e, 1 / math.e)]
    assert all(abs(f - p) < 4 * math.sqrt(p * (1 - p) / N) for f, p in zip(found, chances, strict=True)), found


def test_local_moves_follow_a_global_one_as_many_as_asked(bench):
    method = ISIR(temperature=1.0, chains=3, candidates=4, local=2)
    state, sizes = method.init(Space.of((2,)), stream(0)), []
    for _ in range(7):
        u = method.ask(state).u
        sizes.append(len(u))
        state = method.tell(state, bench.told(u, torch.zeros(len(u))))
    assert sizes == [12, 3, 3, 12, 3, 3, 12]


def test_neighbours_swap_by_the_ratio_of_their_temperatures(bench):
    """Scores s below the colder rung's are swapped up with probability exp(-(b - b') s); better ones always."""
    n = 4000
    method = Tempering(temperature=1.0, ladders=n, rungs=3)
    state = started(method, bench, dim=1)
    b = inverse(state.gaps).tolist()
    assert b == pytest.approx([1.0, 0.5, 0.0], abs=0.3)
    for turn, pair in ((0, (0, 1)), (1, (1, 2))):
        chance = math.exp(-(2.0, 1.0)[turn] * (b[turn] - b[turn + 1]))
        score = torch.zeros(3 * n).double()
        score[pair[1] * n : (pair[1] + 1) * n] = -2.0 if turn == 0 else -1.0
        u = torch.arange(3.0).repeat_interleave(n)[:, None]
        here = replace(state, chains=replace(state.chains, u=u, score=score), turn=turn, u=u)
        after = method.tell(here, bench.told(u, torch.full((3 * n,), -math.inf), ok=torch.zeros(3 * n).bool()))
        rung = after.chains.u.reshape(3, n)
        swapped = float((rung[pair[0]] == pair[1]).double().mean())
        assert swapped == pytest.approx(chance, abs=4 * math.sqrt(chance * (1 - chance) / n))
        still = 3 - sum(pair)
        assert bool((rung[still] == still).all())
        assert after.turn == 1 - turn
    flipped = replace(here, chains=replace(here.chains, score=-here.chains.score), turn=1)
    after = method.tell(flipped, bench.told(u, torch.full((3 * n,), -math.inf), ok=torch.zeros(3 * n).bool()))
    assert bool((after.chains.u.reshape(3, n)[1] == 2).all())  # a better state always goes to the colder rung


def test_the_ladder_begins_in_halves_and_moves_towards_where_swaps_are_rare(bench):
    """b = 1, 1/2, 1/4, 0; a gap that is swapped across more often than the mean grows."""
    method = Tempering(temperature=1.0, ladders=500, rungs=4)
    state = started(method, bench, dim=1)
    first = method.init(Space.of((1,)), stream(0))
    assert inverse(first.gaps).tolist() == pytest.approx([1.0, 0.5, 0.25, 0.0])
    score = torch.cat([torch.zeros(1000), torch.full((1000,), -50.0)]).double()  # rungs 0 and 1 swap, 2 and 3 do too
    here = replace(
        state, chains=replace(state.chains, score=score), swaps=torch.tensor([0.0, 0.1, 0.0]).double(), turn=1
    )
    after = method.tell(here, bench.told(state.u, torch.full((2000,), -math.inf), ok=torch.zeros(2000).bool()))
    assert float(after.swaps[1]) < 0.01  # exp(-50 / 4)
    again = method.tell(
        replace(here, turn=0), bench.told(state.u, torch.full((2000,), -math.inf), ok=torch.zeros(2000).bool())
    )
    assert again.swaps.tolist() == pytest.approx([1.0, 0.1, 1.0])
    change = again.gaps - here.gaps
    assert float(change[0]) > 0 > float(change[1])
    assert float(change.sum()) == pytest.approx(0.0, abs=1e-9)


def test_langevin_is_proposed_a_step_up_the_tilted_law_and_noise(bench):
    """m = u + h^2 / 2 (g / T - u), and noise of standard deviation h; own steps lie around h."""
    G, S = linear_gaussian(torch.eye(2)).generator(), quadratic_score(b=[3.0, -1.0])
    method = Langevin(temperature=2.0, chains=N, step=0.4)
    state = drive(method, G, S, 1).state
    h = state.step
    mean = state.chains.u.double() + h**2 / 2 * (torch.tensor([1.5, -0.5]).double() - state.chains.u.double())
    noise = state.u.double() - mean
    assert float(noise.mean(0).abs().max()) < 4 * h / math.sqrt(N)
    assert float(noise.std()) == pytest.approx(h, rel=4 / math.sqrt(4 * N))
    wide = drive(Langevin(temperature=2.0, chains=N, step=0.4, spread=9.0), G, S, 1).state
    sizes = (wide.own / wide.step).log()
    assert float(sizes.mean()) == pytest.approx(0.0, abs=4 * math.log(9) / math.sqrt(12 * N))
    assert float(sizes.max()) == pytest.approx(math.log(3), rel=1e-2)


def test_a_langevin_drift_is_no_longer_than_the_clip_times_the_noise(bench):
    G, S = linear_gaussian(torch.eye(2)).generator(), quadratic_score(b=[1e6, 0.0])
    state = drive(Langevin(temperature=1.0, chains=N, step=0.1, clip=1.5), G, S, 1).state
    drift = (state.u.double() - state.chains.u.double()).mean(0)
    assert float(drift[0]) == pytest.approx(1.5 * state.step * math.sqrt(2), rel=0.02)


def test_a_trajectory_is_leapfrog_with_the_priors_motion_exact(bench):
    """With a constant slope g at T = 2: half a kick, a rotation, a whole kick, a rotation; the end decides by dH."""
    G, S = linear_gaussian(torch.eye(2)).generator(), quadratic_score(b=[3.0, -1.0])
    method = HMC(temperature=2.0, chains=50, step=0.2, length=1.0, clip=9.0)
    state = drive(method, G, S, 1).state
    h, kick = state.step, state.step / 2 * torch.tensor([1.5, -0.5]).double()
    q, first = state.q, state.chains.u.double()
    p = (q - first * math.cos(h)) / math.sin(h)  # after the opening half kick
    torch.testing.assert_close(state.p, p * math.cos(h) - first * math.sin(h), rtol=1e-4, atol=1e-4)
    opening = p - kick
    torch.testing.assert_close(
        state.energy, (first.square().sum(1) + opening.square().sum(1)) / 2, rtol=1e-4, atol=1e-4
    )
    after = method.tell(state, evaluate(method.ask(state), G, S))
    assert after.left == state.left - 1
    p = state.p + 2 * kick
    torch.testing.assert_close(after.q, q * math.cos(h) + p * math.sin(h), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(after.p, p * math.cos(h) - q * math.sin(h), rtol=1e-4, atol=1e-4)


def test_a_kick_is_no_longer_than_the_clip_times_the_momentum(bench):
    G, S = linear_gaussian(torch.eye(2)).generator(), quadratic_score(b=[1e6, 0.0])
    state = drive(HMC(temperature=1.0, chains=N, step=0.2, clip=0.5), G, S, 1).state
    h = state.step
    opening = (state.q - state.chains.u.double() * math.cos(h)) / math.sin(h)
    assert float(opening.mean(0)[0]) == pytest.approx(0.5 * math.sqrt(2), abs=4 / math.sqrt(N))


def test_lengths_of_trajectories_vary_by_half(bench):
    """Times are uniform on [1/2, 3/2] of the length: 10 steps of a tenth take from 5 to 15."""
    G, S = linear_gaussian(torch.eye(2)).generator(), quadratic_score(b=[0.0, 0.0])
    lefts = [drive(HMC(temperature=1.0, chains=2, step=0.1, length=1.0), G, S, 1, seed=s).state for s in range(150)]
    steps = torch.tensor([state.left * state.step for state in lefts])
    assert 0.4 < float(steps.min()) < 0.65
    assert 1.35 < float(steps.max()) < 1.65
    assert float(steps.std()) == pytest.approx(1 / math.sqrt(12), rel=0.2)


def test_a_flow_keeps_a_point_after_its_steps_and_adds_noise_of_its_variance(bench):
    """After n steps the n + 1st call scores the end; noise has variance 2 eta gamma; a drift is cut to c sqrt(d)."""
    method = DGflow(batch=N, steps=2, step=0.5, noise=0.04, divergence="KL", clip=0.1)
    state, kept = method.init(Space.of((2,)), stream(0)), []
    for _ in range(6):
        still = bench.told(state.u, torch.zeros(N), grad=torch.zeros(N, 2).double())
        after = method.tell(state, still)
        if int(after.age[0]):
            noise = (after.u - state.u).double()
            assert float(noise.var()) == pytest.approx(2 * 0.5 * 0.04, rel=4 / math.sqrt(N))
        population = method.draws(after)
        kept.append(0 if population is None else len(population.u) // N)
        state = after
    assert kept == [0, 0, 1, 1, 1, 2]
    steep = torch.zeros(N, 2).double()
    steep[:, 0] = 1e6
    after = method.tell(state, bench.told(state.u, torch.zeros(N), grad=steep))
    assert float((after.u - state.u).double()[:, 0].mean()) == pytest.approx(0.1 * math.sqrt(2), abs=0.01)


def test_annealing_falls_from_the_middle_spread_by_a_thousand_in_32_rounds_then_96(bench):
    """s is half of what the middle 68 % span: of 0, 1, ..., 100 that is 34."""
    heat = Heat(None).cooled(torch.arange(101.0))
    assert heat.temperature == pytest.approx(34.0)
    temperatures, starts = [], []
    for _ in range(32 + 96 + 1):
        temperatures.append(heat.temperature)
        starts.append(heat.starts)
        heat = heat.cooled(torch.zeros(2))
    assert temperatures[31] == pytest.approx(0.034)
    assert temperatures[32] == pytest.approx(34.0)
    assert temperatures[32 + 95] == pytest.approx(0.034)
    assert [k for k, yes in enumerate(starts) if yes] == [32, 128]
    wild = Heat(None).cooled(torch.cat([torch.arange(101.0), torch.tensor([1e9, -1e9])]))
    assert wild.temperature == pytest.approx(34.0, rel=0.05)


def test_the_step_follows_acceptance_by_a_gain_that_falls_as_a_power():
    """log h rises by (1 + k)^-0.6 (a - a*) at a fixed temperature, by half of (a - a*) when annealing."""
    for k in (0, 9, 99):
        step = adapted(0.5, torch.tensor([0.7, 0.9]), 0.3, Heat(1.0, round=k))
        assert step == pytest.approx(0.5 * math.exp(0.5 * (1 + k) ** -0.6))
    assert adapted(0.5, torch.tensor([0.8]), 0.3, Heat(None, spread=1.0, round=7)) == pytest.approx(
        0.5 * math.exp(0.25)
    )
    assert adapted(2e-6, torch.tensor([0.0]), 1.0, Heat(None, spread=1.0)) > 1e-6


def test_a_reservoir_thins_by_two_and_goes_on_evenly():
    kept = Reservoir()
    for k in range(700):
        kept = kept.add(torch.full((16, 2), float(k)), torch.zeros(16))
    when = kept.population(discard=0.0).u[::16, 0]
    assert set(when.diff().tolist()) == {4.0}
    assert kept.every == 4
    failed = Reservoir().add(torch.zeros(2, 1), torch.tensor([-math.inf, 1.0]), torch.tensor([True, True]))
    assert failed.population().score.tolist() == [1.0]
