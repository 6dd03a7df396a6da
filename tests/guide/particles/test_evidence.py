"""Weights of particles: a pass's weights have the mean that the pass reports, potentials and shifts are as stated."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from zmax.core.rng import stream
from zmax.guide import DAS, SVDD, TDS, FKSteering
from zmax.kit.weights import effective_size, log_mean, residual, systematic
from zmax.testing import gaussian_mixture, quadratic_score
from zmax.testing.driver import drive, proceed

SCORE = quadratic_score([[1.0, 0.0], [0.0, 0.5]], [0.8, -0.4])
STEPS, N = 8, 6


def model():
    law = gaussian_mixture([[-1.5, 0.0], [1.5, 0.5]], [(0.2 * torch.eye(2)).tolist()] * 2, [0.5, 0.5])
    return law.generator(steps=STEPS, eta=1.0)


KINDS = {
    "fk": FKSteering(temperature=0.2, particles=N),
    "fk, residual": FKSteering(temperature=0.2, particles=N, resampling="residual"),
    "tds": TDS(temperature=0.2, particles=N),
    "das": DAS(temperature=0.2, particles=N, threshold=0.9),
    "svdd": SVDD(temperature=0.2, particles=3, children=2),
}


@pytest.mark.parametrize("name", KINDS)
def test_the_weights_of_a_pass_have_the_mean_that_it_reports(name):
    """What resampling evens out is carried on: over the ends of each pass the mean weight is its evidence."""
    done = drive(KINDS[name], model(), SCORE, 5 * STEPS).state.done
    assert len(done.log_z) == 5
    for k, log_z in enumerate(done.log_z.tolist()):
        assert log_mean(done.log_weight[k * N : (k + 1) * N]) == pytest.approx(log_z, abs=1e-9)
    assert float(done.log_z.std()) > 0.01


def test_a_pass_that_never_resamples_weighs_its_ends_by_their_scores():
    """Whatever the potentials on the way, the weight of an unsteered end is exp(S / T)."""
    for potential in ("diff", "max", "add"):
        method = FKSteering(temperature=2.0, particles=N, potential=potential, threshold=1e-9)
        done = drive(method, model(), SCORE, STEPS).state.done
        torch.testing.assert_close(done.log_weight, done.score / 2.0)


def test_a_steered_pass_that_never_resamples_corrects_its_weights_by_the_law_of_its_noises():
    """The weight is exp(S / T) N(xi; 0, I) / N(xi; delta, I): noises less their shifts are those of the plain walk."""
    method = TDS(temperature=2.0, particles=N, threshold=1e-9)
    done = drive(method, model(), SCORE, STEPS).state.done
    plain = drive(TDS(temperature=1e12, particles=N, threshold=1e-9), model(), SCORE, STEPS).state.done
    steered, fresh = done.u.double(), plain.u.double()
    ratio = (fresh.square().sum(1) - steered.square().sum(1)) / 2
    torch.testing.assert_close(done.log_weight, done.score / 2.0 + ratio, rtol=1e-4, atol=1e-3)
    assert float(ratio.abs().max()) > 0.1


def potentials(potential, previews, rounds):
    """Return the log product of potentials after so many scores, by its definition."""
    if potential == "diff" or rounds == STEPS:
        return previews[rounds - 1]
    best = [max(previews[: k + 1]) if potential == "max" else sum(previews[: k + 1]) for k in range(rounds)]
    return sum(best)


@pytest.mark.parametrize("potential", ["diff", "max", "add"])
def test_potentials_are_those_of_the_paper(potential):
    """V_i for one particle whose previews score 1, -2, 3, ...: at T = 2, without tempering and resampling."""
    told = [1.0, -2.0, 3.0, 0.5, 4.0, -1.0, 2.0]
    method = FKSteering(temperature=2.0, particles=2, potential=potential, tempering=0.0, threshold=1e-9)
    state = drive(method, model(), SCORE, 0).state
    for k, score in enumerate(told):
        same = torch.full((2,), score)
        state = proceed(method, model(), SCORE, state, 1, spoil=lambda e, s=same: replace(e, score=s)).state
        wanted = potentials(potential, [s / 2.0 for s in told], k + 1)
        assert state.potential.tolist() == pytest.approx([wanted] * 2)
        assert state.log_weight.tolist() == pytest.approx([wanted] * 2)


@pytest.mark.parametrize("power", [1.0, 2.0])
def test_tempering_is_a_power_of_the_signals_share(power):
    """lambda = (alpha^2 / (alpha^2 + sigma^2))^p multiplies a preview's score, and is 1 at the end."""
    G = model()
    method = FKSteering(temperature=1.0, particles=2, tempering=power, threshold=1e-9)
    state = drive(method, G, SCORE, 0).state
    times = G.space.path.times
    for step in range(STEPS - 1):
        state = proceed(method, G, SCORE, state, 1, spoil=lambda e: replace(e, score=e.score * 0 + 3.0)).state
        alpha, sigma = (float(f(times[step : step + 1])) for f in (G.schedule.alpha, G.schedule.sigma))
        heat = (alpha**2 / (alpha**2 + sigma**2)) ** power
        assert state.potential.tolist() == pytest.approx([3.0 * heat] * 2, rel=1e-5)


def test_scores_are_asked_every_so_many_steps_and_at_the_end():
    trace = drive(FKSteering(particles=2, every=3), model(), SCORE, STEPS)
    assert [len(e.score) for e in trace.evaluations] == [0, 0, 2, 0, 0, 2, 0, 2]


def test_the_shift_is_the_steps_noise_times_the_slope_cut_to_the_clip():
    """One particle's next noise less that of the plain walk is c grad V, or clip sqrt(d) long where that is longer."""
    G = model()

    def noises(**kw):
        method = TDS(particles=2, threshold=1e-9, **kw)
        state = drive(method, G, SCORE, 0).state
        seen = []
        for _ in range(STEPS - 1):
            trace = proceed(method, G, SCORE, state, 1)
            seen.append((trace.state.walk.u.double(), trace.evaluations[0].grad.double()))
            state = trace.state
        return seen

    plain, gentle, cold = noises(temperature=1e12), noises(temperature=50.0), noises(temperature=1e-6, clip=0.5)
    for step in range(STEPS - 1):
        here, c = G.space.path.columns(step + 1), G.space.path.factors(step)[2]
        shift = (gentle[step][0] - plain[step][0])[:, here]
        torch.testing.assert_close(shift, c * gentle[step][1] / 50.0, rtol=1e-3, atol=1e-6)
        length = (cold[step][0] - plain[step][0])[:, here].norm(dim=1)
        torch.testing.assert_close(length, torch.full((2,), 0.5 * 2**0.5).double(), rtol=1e-3, atol=0)


@pytest.mark.parametrize(("threshold", "resampled"), [(0.45, False), (0.55, True)])
def test_particles_are_resampled_below_the_share_of_effective_ones(threshold, resampled):
    """Weights (1, 1, 0, 0) have an effective size of 2 of 4."""
    method = FKSteering(temperature=1.0, particles=4, tempering=0.0, threshold=threshold)
    told = torch.tensor([0.0, 0.0, -50.0, -50.0])
    start = drive(method, model(), SCORE, 0).state
    state = proceed(method, model(), SCORE, start, 1, spoil=lambda e: replace(e, score=told)).state
    alive = (state.walk.x[:, None] == state.walk.x[None]).all(-1).sum(1)
    assert bool(torch.equal(state.log_weight, torch.zeros(4).double())) is resampled
    assert state.log_mean == (pytest.approx(math.log(0.5)) if resampled else 0.0)
    assert bool((alive == 1).all())  # each goes on with a noise of its own


def test_annealing_holds_the_effective_size_that_its_step_allows():
    """The temperature falls until the size is the least allowed, which falls from all to the threshold on the way."""
    method = FKSteering(particles=64, threshold=0.5, tempering=0.0)
    G = model()
    state, inverse, risen = drive(method, G, SCORE, 0).state, 0.0, 0
    for step in range(STEPS):
        trace = proceed(method, G, SCORE, state, 1)
        alpha, sigma = (float(f(G.space.path.times[step : step + 1])) for f in (G.schedule.alpha, G.schedule.sigma))
        share = 1.0 if step == STEPS - 1 else alpha**2 / (alpha**2 + sigma**2)
        least = 64 * (1 - 0.5 * share**2)
        before, inverse = inverse, trace.state.inverse
        if step < STEPS - 1:
            gain = inverse * trace.evaluations[0].score.double() - state.potential
            size = effective_size(state.log_weight + gain)
            risen += inverse > before
            assert inverse >= before
            assert size == pytest.approx(least, abs=0.01) if inverse > before else size <= least + 0.01
        state = trace.state
    assert risen >= 3


def test_svdd_weighs_a_child_by_the_mean_of_its_siblings():
    """ln w = ln mean_k exp V_k less the parent's V: with scores s at T = 2 and no tempering."""
    method = SVDD(temperature=2.0, particles=1, children=3, tempering=0.0)
    state = drive(method, model(), SCORE, 0).state
    first, second = torch.tensor([1.0, 5.0, -3.0]), torch.tensor([0.0, 2.0, 4.0])
    one = proceed(method, model(), SCORE, state, 1, spoil=lambda e: replace(e, score=first)).state
    weight = math.log(sum(math.exp(s / 2) for s in first.tolist()) / 3)
    assert one.log_weight.tolist() == pytest.approx([weight])
    assert float(one.potential) in [s / 2 for s in first.tolist()]
    two = proceed(method, model(), SCORE, one, 1, spoil=lambda e: replace(e, score=second)).state
    weight += math.log(sum(math.exp(s / 2) for s in second.tolist()) / 3) - float(one.potential)
    assert two.log_weight.tolist() == pytest.approx([weight])


def test_svdd_without_a_temperature_goes_on_from_the_best_child():
    method = SVDD(particles=2, children=3)
    state = drive(method, model(), SCORE, 0).state
    told = torch.tensor([1.0, 5.0, -3.0, 2.0, 0.0, 9.0])
    after = proceed(method, model(), SCORE, state, 1, spoil=lambda e: replace(e, score=told)).state
    here = model().space.path.columns(0)
    assert torch.equal(after.walk.u[:, here], state.walk.u[[1, 1, 1, 5, 5, 5]][:, here])


def test_weights_and_draws_in_numbers():
    """Sizes and means of small weights; each row comes as often as its share, up to rounding."""
    w = torch.tensor([4.0, 2.0, 1.0, 1.0]).log()
    assert effective_size(w) == pytest.approx(64 / 22)
    assert log_mean(w) == pytest.approx(math.log(2.0))
    for seed in range(20):
        counts = torch.bincount(systematic(w, 9, stream(seed)), minlength=4)
        assert bool(((counts - 9 * w.exp() / 8).abs() < 1).all())
        counts = torch.bincount(residual(w, 9, stream(seed)), minlength=4)
        assert bool((counts >= torch.tensor([4, 2, 1, 1])).all())
    counts = sum(torch.bincount(systematic(w, 1, stream(seed)), minlength=4) for seed in range(2000)) / 2000
    torch.testing.assert_close(counts, w.exp() / 8, rtol=0, atol=4 * 0.5 / 2000**0.5)
    counts = sum(torch.bincount(residual(w, 6, stream(seed)), minlength=4) for seed in range(4000)) / 4000
    torch.testing.assert_close(counts, torch.tensor([3.0, 1.5, 0.75, 0.75]), rtol=0, atol=4 * 0.5 / 4000**0.5)


@pytest.mark.parametrize("name", ["fk", "das", "svdd"])
def test_a_pass_that_dies_on_the_way_counts_as_one_that_found_nothing(name):
    """Three passes, of which the second dies at its third step: the evidence is two thirds of the others' mean."""
    method, G = KINDS[name], model()

    def dying(evaluation):
        return replace(evaluation, score=evaluation.score * math.nan, ok=torch.zeros_like(evaluation.ok))

    state = drive(method, G, SCORE, STEPS).state
    state = proceed(method, G, SCORE, state, 2).state
    state = proceed(method, G, SCORE, state, 1, spoil=dying).state
    dead = method.draws(state)
    state = proceed(method, G, SCORE, state, STEPS).state
    log_z = state.done.log_z.tolist()
    assert len(log_z) == 3
    assert log_z[1] == -math.inf
    assert float(dead.log_z) == pytest.approx(log_z[0] - math.log(2))
    mean = (math.exp(log_z[0]) + math.exp(log_z[2])) / 3
    assert float(method.draws(state).log_z) == pytest.approx(math.log(mean))


NINE = gaussian_mixture(
    [[x, y] for x in (-4.0, 0.0, 4.0) for y in (-4.0, 0.0, 4.0)], [(0.3 * torch.eye(2)).tolist()] * 9, [1 / 9] * 9
)


@pytest.mark.parametrize("kind", [FKSteering, DAS])
@pytest.mark.parametrize("schedule", ["rectified-flow", "vp-linear"])
def test_ten_steps_are_enough_for_the_evidence_of_nine_modes(kind, schedule):
    """log Z is -1.440; particles on ancestral steps find -1.13 to -1.16 in ten steps."""
    S, method = quadratic_score([[0.02, 0.0], [0.0, 2.0]], [0.0, 0.0]), kind(temperature=1.0, particles=2000)
    G = NINE.generator(steps=10, eta=0.0, schedule=schedule).stochastic()
    found = method.draws(drive(method, G, S, 20).state)
    assert float(found.log_z) == pytest.approx(NINE.tilt(S).log_z, abs=0.17)
