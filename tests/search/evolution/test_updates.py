"""One round of SNES, of the evolution on the sphere and of zeroth-order ascent, worked out by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from zmax.core.priors import shell
from zmax.core.rng import stream
from zmax.core.space import Space
from zmax.search import CMA, ES, SNES, SPSA, SphereCMA
from zmax.search.ascent.differences import pairs
from zmax.search.evolution.snes import utilities

FOUR = [0.4804227, 0.0195773, -0.25, -0.25]
"""ln 3 and ln 1.5 over their sum, less a quarter; the worse half weighs minus a quarter."""


def begun(method, dim, rounds, bench, seed=0):
    state = method.init(Space.of((dim,)), stream(seed))
    for _ in range(rounds):
        u = method.ask(state).u
        state = method.tell(state, bench.told(u, u[:, 0].double()))
    return state


def test_utilities_are_those_of_the_paper():
    assert utilities(4).tolist() == pytest.approx(FOUR, abs=1e-6)
    assert utilities(2).tolist() == pytest.approx([0.5, -0.5])


def test_snes_follows_the_natural_gradient(bench):
    """mu + sigma sum w s and sigma exp(eta / 2 sum w (s^2 - 1)) with eta = (3 + ln 3) / (5 sqrt 3), row by row."""
    s = torch.tensor([[1.0, 0.0, -2.0], [0.5, 1.0, 0.0], [-1.0, 2.0, 0.5], [0.0, -1.0, 1.0]])
    mean, sigma = torch.tensor([1.0, -1.0, 0.5]), torch.tensor([0.5, 2.0, 1.0])
    method = SNES(population=5, retract=False)
    state = replace(begun(method, 3, 1, bench), mean=mean, sigma=sigma, s=s)
    after = method.tell(state, bench.told(torch.zeros(5, 3), torch.tensor([2.0, 9.0, -1.0, 4.0, 99.0])))
    w = dict(zip((1, 3, 0, 2), FOUR, strict=True))  # the last row is the mean, and no draw
    for j in range(3):
        slope = sum(w[i] * float(s[i, j]) for i in range(4))
        bend = sum(w[i] * (float(s[i, j]) ** 2 - 1) for i in range(4))
        eta = (3 + math.log(3)) / (5 * math.sqrt(3))
        assert float(after.mean[j]) == pytest.approx(float(mean[j] + sigma[j] * slope), abs=1e-6)
        assert float(after.sigma[j]) == pytest.approx(float(sigma[j]) * math.exp(eta / 2 * bend), rel=1e-6)


@pytest.mark.parametrize("kind", [SNES, SphereCMA], ids=["snes", "sphere-cma"])
def test_the_search_starts_at_the_weighted_mean_of_the_better_half(bench, kind):
    """Of prior draws z with weights (0.73, 0.27, 0, 0, 0): the ranks' utilities plus 1 / n."""
    method = kind(population=5)
    state = begun(method, 4, 0, bench)
    z = state.s if kind is SNES else state.z
    after = method.tell(state, bench.told(z, torch.tensor([0.0, 5.0, 1.0, 9.0, 2.0])))
    raw = [math.log(3.5) - math.log(k) for k in (1, 2, 3)]
    start = sum(share / sum(raw) * z[row] for share, row in zip(raw, (3, 1, 4), strict=True))
    cosine = torch.nn.functional.cosine_similarity(after.mean, start, dim=0)
    assert float(cosine) == pytest.approx(1, abs=1e-6)


def test_snes_scores_its_mean_and_draws_around_it(bench):
    method = SNES(population=5, retract=False)
    state = begun(method, 3, 3, bench)
    torch.testing.assert_close(state.u[-1], state.mean)
    torch.testing.assert_close(state.u[:-1], state.mean + state.sigma * state.s)


def test_cma_draws_from_its_law_and_scores_its_mean(bench):
    """u = m + sigma y with y = C^1/2 z, whose Mahalanobis norms are those that are kept."""
    method = CMA(population=5, retract=False)
    state = begun(method, 6, 6, bench)
    torch.testing.assert_close(state.u[-1].double(), state.mean, rtol=0, atol=1e-6)
    torch.testing.assert_close(state.u[:-1].double(), state.mean + state.sigma * state.y, rtol=0, atol=1e-5)
    law = state.basis @ torch.diag(state.axes.square()) @ state.basis.T
    torch.testing.assert_close(state.squares, (state.y * torch.linalg.solve(law, state.y.T).T).sum(1))
    draws = []
    for _ in range(400):
        state = redrawn(method, state, bench)
        draws.append(state.y)
    draws = torch.cat(draws)
    torch.testing.assert_close(draws.T.cov(), law, rtol=0, atol=0.1 * float(law.diagonal().max()))


def redrawn(method, state, bench):
    """Return the state after a round of failures, which leaves the law and draws anew."""
    n = len(state.u)
    return method.tell(state, bench.told(state.u, torch.zeros(n), ok=torch.zeros(n).bool()))


def test_the_sphere_turns_its_centre_by_the_rate_and_the_angle_of_the_round(bench):
    """To exp_m(eta theta_t sum w t): from the second round on theta_t = 0.7 (1 + t / 2)^-0.6, t = 0, 1, ..."""
    method = SphereCMA(population=5)
    state = begun(method, 40, 1, bench)
    for t in range(4):
        u = state.u
        after = method.tell(state, bench.told(u, torch.tensor([2.0, 9.0, -1.0, 4.0, 99.0])))
        w = torch.tensor([FOUR[2], FOUR[0], FOUR[3], FOUR[1]])
        pull = w @ state.z
        tangent = pull - (pull @ state.mean) / 40 * state.mean
        angle = 2 * 0.7 * (1 + t / 2) ** -0.6 * float(tangent.norm()) / math.sqrt(40)
        assert math.acos(float(state.mean @ after.mean) / 40) == pytest.approx(angle, rel=1e-3)
        assert torch.equal(after.u[-1], after.mean)
        state = after


def test_the_sphere_starts_again_once_its_angle_is_a_thousandth(bench):
    method = SphereCMA(population=5, decay=2.0)
    rounds = 2 * (1000 ** (1 / 0.6) - 1) + 1  # where (1 + t / 2)^-0.6 = 0.001
    state = begun(method, 6, 1, bench)
    for offset, again in ((-2, False), (2, True)):
        late = replace(state, round=int(rounds) + offset)
        assert (method.tell(late, bench.told(late.u, late.u[:, 0])).round == 0) is again


def test_spsa_steps_by_its_gains(bench):
    """g / rms g times 0.3 (1 + t / 20)^-0.602 sqrt(d), before retraction; widths are 0.1 (1 + t)^-0.101."""
    method, dim = SPSA(pairs=1), 400
    state = begun(method, dim, 0, bench)
    square = 0.0
    for t in range(12):
        width = 0.1 * (1 + t) ** -0.101
        tried = torch.cat([state.centre + width * state.e, state.centre - width * state.e])
        torch.testing.assert_close(state.u, state.space.retract(tried))
        score = torch.tensor([1.0 + t % 3, 0.0])
        after = method.tell(state, bench.told(state.u, score))
        g = (1.0 + t % 3) / (2 * width) * state.e[0].double()
        memory = min(0.9, t / (t + 1))
        square = memory * square + (1 - memory) * float(g.square().sum())
        gain = 0.3 * (1 + t / 20) ** -0.602 * math.sqrt(dim)
        there = state.centre + (g * gain / math.sqrt(square)).float()
        torch.testing.assert_close(after.centre, state.space.retract(there[None])[0], rtol=1e-4, atol=1e-5)
        state = after


def test_a_pair_counts_if_both_halves_came_back(bench):
    ok = torch.tensor([True, True, False, True, False, True])
    plus, minus, both = pairs(bench.told(torch.zeros(6, 2), torch.arange(6.0), ok=ok), 3)
    assert both.tolist() == [True, False, False]
    assert (float(plus[0]), float(minus[0])) == (0.0, 3.0)


def test_es_tries_both_sides_of_its_centre_at_a_width_that_follows_the_step(bench):
    method = ES(pairs=3, patience=1)
    state = begun(method, 2000, 0, bench)
    for _ in range(3):
        u, width = state.u, 0.5 * float(state.chain.step[0]) / 0.2
        centre = state.chain.u
        raw = torch.cat([centre + width * state.e, centre - width * state.e, centre])
        torch.testing.assert_close(u, Space.of((2000,)).retract(raw))
        state = method.tell(state, bench.told(u, torch.zeros(7)))
    assert float(state.chain.step[0]) == 0.2 / 4


def test_es_takes_the_mean_over_the_pairs_that_came_back(bench):
    """Of three pairs of which one failed, the slope is the mean over two: ranks of four scores, over 2 k sigma."""
    method = ES(pairs=3)
    state = begun(method, 50, 0, bench)
    middle = sum(shell(50, 0.5)) / 2 * torch.nn.functional.normalize(state.chain.u)
    state = replace(state, chain=replace(state.chain, u=middle))  # where retraction takes nothing from a slope
    score = torch.tensor([3.0, 0.0, 5.0, 1.0, 9.0, 2.0, 0.0])
    ok = torch.tensor([True, False, True, True, True, True, True])
    after = method.tell(state, bench.told(state.u, score, ok=ok))
    # among 3, 5, 1, 2 the ranks are 1/6, 1/2, -1/2, -1/6
    slope = ((1 / 6 + 1 / 2) * state.e[0] + (1 / 2 + 1 / 6) * state.e[2]) / (2 * 2 * 0.5)
    torch.testing.assert_close(after.chain.first[0], 0.1 * slope.double(), rtol=1e-3, atol=1e-5)
