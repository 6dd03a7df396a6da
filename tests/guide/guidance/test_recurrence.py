"""Steps taken again keep the law of the forward process; smoothing, cuts and mixtures are as stated."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

import zmax
from zmax.core.proposal import Evaluation
from zmax.guide import DPS, LGDMC, MPGD, TFG, FreeDoM
from zmax.guide.guidance.tfg import Ladder
from zmax.testing import gaussian_mixture, quadratic_score
from zmax.testing.driver import drive, proceed

STEPS, ROWS, WIDTH = 6, 20_000, 0.4
PLAIN = 1e12
"""A temperature at which guidance does nothing."""


def normal(steps=STEPS):
    """The path of N(0, 0.4 I) in two dimensions, on which every step is linear."""
    return gaussian_mixture([[0.0, 0.0]], [(WIDTH * torch.eye(2)).tolist()], [1.0]).generator(steps=steps, eta=1.0)


FLAT = quadratic_score(torch.zeros(2, 2), [0.0, 0.0])


def levels(G, step):
    t = G.space.path.times[step : step + 1]
    return float(G.schedule.alpha(t)), float(G.schedule.sigma(t))


@pytest.mark.parametrize("recurrence", [2, 3])
def test_a_step_taken_again_sets_out_from_where_the_forward_process_leads(recurrence):
    """The variance of x_t after coming back from x_s is (alpha_t / alpha_s)^2 v_s + sigma_t^2 - (alpha_t sigma_s /
    alpha_s)^2, that of x_s after the step is m C m^T + c^2 with C the covariance of x_t and the preview before it and
    m = (a + b (1 + w) J, -b w), all the way and for every repeat."""
    G, method = normal(), FreeDoM(rows=ROWS, temperature=PLAIN, recurrence=recurrence)
    state = drive(method, G, FLAT, 0).state
    C = torch.tensor([[float(state.walk.x.double().var(0).mean()), 0.0], [0.0, 0.0]]).double()
    error = 4 * math.sqrt(2 / (2 * ROWS))
    for step in range(STEPS - 1):
        (alpha, sigma), (alpha_s, sigma_s) = levels(G, step), levels(G, step + 1)
        a, b, c = G.space.path.factors(step)
        pull = alpha * WIDTH / (alpha**2 * WIDTH + sigma**2)
        w = G.space.path.weights[step]
        m = torch.tensor([a + b * (1 + w) * pull, -b * w]).double()
        for turn in range(recurrence):
            v = float(m @ C @ m) + c**2
            state = proceed(method, G, FLAT, state, 1).state
            if turn + 1 < recurrence:
                kept = alpha / alpha_s
                v = kept**2 * v + sigma**2 - (kept * sigma_s) ** 2
                C = torch.tensor([[v, kept * float(m @ C[:, 1])], [kept * float(m @ C[:, 1]), float(C[1, 1])]]).double()
                assert state.walk.step == step
            x = state.walk.x.double()
            assert float(x.square().mean()) == pytest.approx(v, rel=error), (step, turn)
        mixed = pull * float(m @ C[:, 0])
        C = torch.tensor([[v, mixed], [mixed, pull**2 * float(C[0, 0])]]).double()
    assert state.walk.step == STEPS - 1


def test_the_noises_of_a_step_taken_again_lead_to_where_it_is():
    """What a guided path ends in decodes from its noises, at a temperature and with their lengths kept."""
    G = normal()
    for given, atol in (({"temperature": 0.5}, 1e-5), ({"strength": 0.5}, 1e-5)):
        method = FreeDoM(rows=5, recurrence=3, **given)
        trace = drive(method, G, quadratic_score(torch.eye(2), [1.0, 0.5]), (STEPS - 1) * 3 + 1)
        u = trace.proposals[-1].u
        torch.testing.assert_close(G.decode(G.space.latents(u)), trace.evaluations[-1].samples, rtol=0, atol=atol)


@pytest.mark.parametrize("given", [{"temperature": 1e3, "clip": 9.0}, {"strength": 0.5}], ids=["temperature", "none"])
def test_smoothing_takes_the_mean_gradient_over_noises_of_the_right_size(given):
    """For S = -|x|^4 that mean is -4 (|x|^2 + 4 r^2) x in two dimensions, with r^2 = sigma^2 / (alpha^2 + sigma^2)."""
    G, method = normal(), LGDMC(rows=40, smooth=1000, **given)
    S = zmax.score(lambda x: -x.square().sum(1).square(), differentiable=True, name="quartic")
    state = drive(method, G, S, 3).state  # somewhere on the way
    told = proceed(method, G, S, state, 1).evaluations[0]
    alpha, sigma = levels(G, 3)
    x, size = told.samples.double(), sigma**2 / (alpha**2 + sigma**2)
    pull = alpha * WIDTH / (alpha**2 * WIDTH + sigma**2)
    wanted = -4 * pull * (x.square().sum(1, keepdim=True) + 4 * size) * x
    share = float((told.grad.double() * wanted).sum() / wanted.square().sum())
    assert share == pytest.approx(1, abs=0.1)


def moved(method, S):
    """Return the first step's noise less that of the plain walk."""
    G = normal()
    rounds = (method.mu < 1) + (method.mu > 0) * method.iterations
    plain = TFG(rows=method.rows, temperature=PLAIN, mu=method.mu, iterations=method.iterations)
    here = G.space.path.columns(1)
    return [drive(m, G, S, rounds).state.walk.u[:, here].double() for m in (method, plain)]


@pytest.mark.parametrize("mu", [0.0, 0.25, 1.0])
def test_at_a_strength_the_noise_turns_towards_the_mixture_of_unit_slopes(mu):
    """xi = |zeta| (zeta + gamma sqrt(k) d) / |...|, d the unit vector along (1 - mu) g_t / |g_t| + mu Delta / |Delta|.

    On N(0, w I) with a linear score both slopes point along b, so d is b / |b|."""
    S = quadratic_score(b=[0.6, -0.8])
    xi, zeta = moved(TFG(rows=7, strength=0.7, mu=mu), S)
    pushed = zeta + 0.7 * math.sqrt(2) * torch.tensor([0.6, -0.8]).double()
    wanted = pushed / pushed.norm(dim=1, keepdim=True) * zeta.norm(dim=1, keepdim=True)
    torch.testing.assert_close(xi, wanted, rtol=1e-4, atol=1e-4)


def test_unit_slopes_are_mixed_by_their_shares():
    """With |x_t - 1|^2-like scores the two slopes differ; mu weighs them: d solves the stated mixture."""
    G, S = normal(), quadratic_score([[1.0, 0.0], [0.0, 9.0]], [1.0, 2.0])
    slopes = {}
    for kind in (DPS, MPGD):
        trace = drive(kind(rows=5, strength=0.5), G, S, 1)
        slopes[kind] = trace.evaluations[0].grad.double()
    g, past = (torch.nn.functional.normalize(slopes[kind]) for kind in (DPS, MPGD))
    xi, zeta = moved(TFG(rows=5, strength=0.5, mu=0.2), S)
    d = torch.nn.functional.normalize(0.8 * g + 0.2 * past)
    pushed = zeta + 0.5 * math.sqrt(2) * d
    wanted = pushed / pushed.norm(dim=1, keepdim=True) * zeta.norm(dim=1, keepdim=True)
    torch.testing.assert_close(xi, wanted, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("mu", [0.0, 1.0])
@pytest.mark.parametrize("clip", [0.3, 1.0])
def test_at_a_low_temperature_each_noise_is_shifted_by_the_clip(mu, clip):
    xi, zeta = moved(TFG(rows=5, temperature=1e-9, mu=mu, clip=clip), quadratic_score(b=[0.6, -0.8]))
    wanted = clip * math.sqrt(2) * torch.tensor([0.6, -0.8]).double()
    torch.testing.assert_close(xi - zeta, wanted.expand(5, 2), rtol=1e-3, atol=1e-4)


def test_what_the_preview_moves_by_is_cut_to_the_longest_shift_as_well():
    """Three iterations at a low temperature move a preview no further than one noise of the clip's length can."""
    G, S = normal(), quadratic_score(torch.eye(2), [50.0, 0.0])
    state = drive(MPGD(rows=3, temperature=1e-9, iterations=3), G, S, 2).state
    _, b, c = G.space.path.factors(0)
    torch.testing.assert_close(state.moved.norm(dim=1), torch.full((3,), math.sqrt(2) * c / b).double())


def end(score, plausibility):
    n = len(score)
    return Evaluation(torch.tensor(score), torch.ones(n, dtype=torch.bool), torch.tensor(plausibility), range(n))


def test_strengths_run_from_a_twentieth_to_five_and_plausible_ones_come_first():
    """A strength whose ends are of plausibility 0.05 or more, by their median, beats any that is not."""
    tried = Ladder().strengths(5)
    torch.testing.assert_close(tried, torch.tensor([0.05, 0.158114, 0.5, 1.581139, 5.0]).double(), rtol=1e-5, atol=0)
    assert Ladder().strengths(1).tolist() == pytest.approx([0.5])
    for third, best in ((0.06, 2), (0.04, 1)):
        told = Ladder().told(end([0.0, 1.0, 2.0, 3.0, 4.0], [0.5, 0.5, third, 0.04, 0.01]))
        assert told.centre == pytest.approx(float(tried[best]))
    assert told.ratio == pytest.approx(math.sqrt(10.0))
    last = replace(told, ratio=1.09).told(end([0.0] * 5, [0.5] * 5))
    assert last.ratio == 1.0
