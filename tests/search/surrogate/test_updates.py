"""What model-based searches do with a round: radii, memories, climbs and walls, worked out by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch.distributions import MultivariateNormal

from zmax.core.priors import shell
from zmax.core.rng import stream
from zmax.core.space import Space
from zmax.kit.process import Process
from zmax.search import Surrogate, Trust, Turbo
from zmax.search.surrogate.ascent import Ascent, climbed
from zmax.search.surrogate.kernel import Field
from zmax.search.surrogate.region import Region
from zmax.search.surrogate.trust import fitted
from zmax.testing import linear_gaussian, quadratic_score
from zmax.testing.driver import drive, proceed

DIM = 60
MIDDLE = sum(shell(DIM, 0.5)) / 2


def axis(*parts):
    out = torch.zeros(1, DIM, dtype=torch.float64)
    for i, part in enumerate(parts):
        out[0, i + 1] = part
    return out


def test_a_climb_turns_by_polak_and_ribiere_and_steps_longer_or_nearer():
    """In the middle of the shell, where retraction takes nothing: directions and steps as the equation has them."""
    space, none = Space.of((DIM,)), torch.zeros(1, DIM, dtype=torch.float64)
    start = MIDDLE * torch.nn.functional.one_hot(torch.tensor([0]), DIM).float()
    at = Ascent.begin(start, torch.tensor([1e-3]).double())

    def take(at, value, slope):
        return climbed(space, at, torch.tensor([value]).double(), slope, none)

    def way(at):
        return torch.nn.functional.normalize(at.way)[0, 1:3].tolist()

    first = take(at, 0.0, axis(1.0))
    torch.testing.assert_close(first.trial.double() - start.double(), axis(1e-3 * DIM**0.5), rtol=1e-2, atol=1e-5)
    worse = take(first, -1.0, axis(9.0))
    assert (float(worse.value), float(worse.step)) == (0.0, pytest.approx(0.4e-3))
    assert way(worse) == pytest.approx([1.0, 0.0], abs=1e-3)
    better = take(first, 1.0, axis(1.0, 1.0))  # (g' - g) g' / g g = 1: the old way counts once
    assert (float(better.value), float(better.step)) == (1.0, pytest.approx(1.6e-3))
    assert way(better) == pytest.approx([2 / 5**0.5, 1 / 5**0.5], abs=1e-3)
    back = take(first, 1.0, axis(0.5, 0.25))  # (g' - g) g' < 0: the old way is forgotten
    assert way(back) == pytest.approx([2 / 5**0.5, 1 / 5**0.5], abs=1e-3)
    away = take(first, 1.0, axis(-1.0, 0.1))  # twice the old way would lead down
    assert way(away) == pytest.approx([-1 / 1.01**0.5, 0.1 / 1.01**0.5], abs=1e-3)


def test_the_trusted_distance_halves_without_gain_and_begins_again():
    """On a flat score: 1, 1/2, ..., 1/32, and 1 again where 1/64 would be below 0.02; views of the scores alternate."""
    flat = quadratic_score(torch.zeros(4, 4), torch.zeros(4))
    method, seen = Surrogate(batch=2, first=6, steps=1), []
    state = drive(method, linear_gaussian(torch.eye(4)).generator(), flat, 1).state
    for _ in range(8):
        seen.append((state.radius, state.clipped))
        state = proceed(method, linear_gaussian(torch.eye(4)).generator(), flat, state, 3).state
    assert [r for r, _ in seen] == [1, 0.5, 0.25, 0.125, 0.0625, 0.03125, 1, 0.5]
    assert [c for _, c in seen] == [False, True] * 4


@pytest.mark.parametrize("row", range(4))
def test_the_trusted_distance_becomes_that_of_the_local_chain_that_wins(row):
    """The second and the fourth chain roam anywhere, which says nothing of a distance."""
    flat, G = quadratic_score(torch.zeros(4, 4), torch.zeros(4)), linear_gaussian(torch.eye(4)).generator()
    method, score = Surrogate(batch=4, first=6, steps=1), torch.eye(4).double()[row]
    state = drive(method, G, flat, 3).state
    after = proceed(method, G, flat, state, 1, spoil=lambda e: replace(e, score=score)).state
    assert state.model.reach[[0, 2]].unique().numel() == 2
    assert after.radius == (state.radius if row % 2 else float(state.model.reach[row]))


def test_one_of_two_roaming_chains_sets_out_towards_the_better_points():
    slope = torch.eye(20)[0].double()
    G, method = linear_gaussian(torch.eye(20)).generator(), Surrogate(batch=4, first=64, steps=1)
    starts = torch.stack([drive(method, G, quadratic_score(b=slope), 1, seed=seed).state.asked for seed in range(16)])
    assert float(starts[:, 1, 0].mean()) < 0.8
    assert float(starts[:, 3, 0].mean()) > 1.2


def test_a_process_chooses_its_kernel_anew_once_a_quarter_more_is_known():
    x = torch.randn(50, 3, generator=stream(0)).double()
    y = torch.sin(2 * x).sum(1)
    process = Process.blank().told(x[:40], y[:40])
    assert process.chosen == 40
    assert process.told(x[:49], y[:49]).chosen == 40
    assert process.told(x, y).chosen == 50


def test_a_field_is_the_bound_less_ten_squared_excesses_over_the_reach():
    x = torch.randn(20, 3, generator=stream(1)).double()
    process = Process.blank().told(x, torch.sin(x).sum(1))
    home, at = process.features(x[:1]), torch.randn(1, 3, generator=stream(2)).double() * 3
    mean, deviation = process.predict(process.features(at))
    distance = float((process.features(at) - home).norm())
    field = Field(process, torch.tensor([2.0]).double(), home, torch.tensor([distance / 3]).double())
    assert float(field.value(at)) == pytest.approx(float(mean + 2 * deviation) - 10 * 2**2, rel=1e-6)


def test_a_region_is_a_ball_around_home_cut_by_the_shell():
    region = Region(torch.tensor([1.0, 0.0]).double(), 0.5, 0.9, 1.1)
    for x, wanted in (([1.0, 0.2], [1.0, 0.2]), ([0.4, 0.8], [0.7, 0.4]), ([2.0, 0.0], [1.1, 0.0])):
        there = torch.tensor(wanted).double()
        there = there * min(max(float(there.norm()), 0.9), 1.1) / float(there.norm())
        torch.testing.assert_close(region.inside(torch.tensor(x).double()), there)


def rounds(method, bench, levels, dim=12):
    """Tell every round that score, a little less row by row; yield the radius after each."""
    state = method.init(Space.of((dim,)), stream(0))
    for level in levels:
        u = method.ask(state).u
        state = method.tell(state, bench.told(u, level - 1e-3 * torch.arange(len(u)).double()))
        yield state


def test_turbo_widens_after_two_rounds_of_gain_and_narrows_after_three_without(bench):
    better = [state.radius for state in rounds(Turbo(batch=2), bench, [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0])]
    assert better == pytest.approx([0.8, 0.8, 1.2, 1.2, 1.6, 1.6, 1.6])
    worse = [state.radius for state in rounds(Turbo(batch=2), bench, [0.0] + [-1.0 * k for k in range(1, 8)])]
    assert worse == pytest.approx([0.8, 0.8, 0.8, 0.8 / 1.5, 0.8 / 1.5, 0.8 / 1.5, 0.8 / 2.25, 0.8 / 2.25])
    *_, state = rounds(Turbo(batch=2, radius=0.07), bench, [0.0, -1.0, -2.0, -3.0])
    assert state.radius == 0.07  # 0.07 / 1.5 is spent


def test_turbo_forgets_the_points_farthest_from_its_centre(bench):
    method = Turbo(batch=2, memory=32)
    state = method.init(Space.of((6,)), stream(0))
    u = torch.randn(40, 6, generator=stream(1))
    score = -(u - u[7]).square().sum(1).double()
    after = method.tell(replace(state, u=u), bench.told(u, score))
    nearest = (u - u[7]).square().sum(1).argsort()[:32].sort().values
    assert torch.equal(after.points, u[nearest])


def test_turbo_follows_the_posterior_mean_rather_than_a_lucky_score(bench):
    """Many scores of a slope with noise, and one lucky row far down it: the next points lie up the slope."""
    method, rng = Turbo(batch=4, radius=0.3), stream(3)
    state = method.init(Space.of((8,)), rng)
    u = Space.of((8,)).retract(torch.randn(200, 8, generator=rng))
    score = u[:, 0].double() + 0.5 * torch.randn(200, generator=rng).double()
    low = int(u[:, 0].argmin())
    score[low] = float(score.max()) + 0.2
    after = method.tell(replace(state, u=u), bench.told(u, score))
    assert float(after.u[:, 0].min()) > 0.5


def test_trust_widens_by_a_fifth_after_a_gain_and_shrinks_by_fifteen_hundredths_without(bench):
    method = Trust(population=2, radius=1.0)
    falling = [state.radius for state in rounds(method, bench, [0.0, -1.0, -2.0, -3.0])]
    assert falling == pytest.approx([1.0, 0.85, 0.7225, 0.614125])
    mixed = [state.radius for state in rounds(method, bench, [0.0, -1.0, -2.0, 5.0, 6.0, 7.0])]
    assert mixed == pytest.approx([1.0, 0.85, 0.7225, 0.867, 1.0, 1.0])
    *_, state = rounds(Trust(population=2, radius=0.0021), bench, [0.0, -1.0])
    assert (state.round, state.radius, len(state.score)) == (0, 0.0021, 0)


def test_trust_scores_the_maximiser_itself_and_points_around_it(bench):
    *_, state = rounds(Trust(population=5, radius=0.5, spread=0.2), bench, [0.0, 1.0], dim=4000)
    distance = (state.u[1:] - state.u[0]).norm(dim=1)
    torch.testing.assert_close(distance, torch.full((4,), 0.2 * 0.5 * math.sqrt(4000)), rtol=0.1, atol=0)


def test_turbo_counts_the_scores_it_was_told_failures_left_out(bench):
    method = Turbo(batch=4)
    state, ok = method.init(Space.of((6,)), stream(0)), torch.arange(4) != 1
    first = method.tell(state, bench.told(state.u, state.u[:, 0].double()))
    after = method.tell(first, bench.told(first.u, first.u[:, 0].double(), ok=ok))
    assert (first.told, after.told) == (len(state.u), len(state.u) + 3)
    assert first.fitted == len(state.u)


@pytest.mark.parametrize("length", [0.5, 2.0])
def test_the_evidence_of_trust_is_the_likelihood_at_the_best_mean_and_variance(length):
    u = torch.randn(12, 5, generator=stream(0)).double()
    gram, y = u @ u.T / 5, torch.randn(12, generator=stream(1)).double()
    squares = torch.cdist(u, u).square() / 5
    for nugget in (1e-2, 1.0):
        covariance = torch.exp(-squares / (2 * length**2)) + nugget * torch.eye(12).double()
        ones, solved = torch.ones(12).double(), torch.linalg.inv(covariance)
        rest = y - (ones @ solved @ y) / (ones @ solved @ ones)
        variance = float(rest @ solved @ rest) / 12
        law = MultivariateNormal(torch.zeros(12).double(), variance * covariance)
        constant = 12 / 2 * (1 + math.log(2 * math.pi))
        assert fitted(gram, y, length, nugget).evidence == pytest.approx(float(law.log_prob(rest)) + constant, abs=1e-6)


def test_trust_keeps_the_better_half_and_the_latest(bench):
    method, dim = Trust(population=4, memory=16), 5
    state = method.init(Space.of((dim,)), stream(0))
    u = torch.randn(40, dim, generator=stream(1))
    score = torch.randperm(40, generator=stream(2)).double()
    after = method.tell(replace(state, u=u), bench.told(u, score))
    best = score[:32].argsort(descending=True)[:8]
    kept = torch.cat([best.sort().values, torch.arange(32, 40)])
    assert torch.equal(after.points, u[kept])
    assert torch.equal(after.score, score[kept])
