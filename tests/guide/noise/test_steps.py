"""DNO's step and the bounds it follows, worked out by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from zmax.core.rng import stream
from zmax.core.space import Block, Space
from zmax.guide import DNO
from zmax.guide.noise.concentration import covariance_bound, mean_bound, noise_log_bound, tail_bound
from zmax.testing import gaussian_mixture, quadratic_score
from zmax.testing.driver import drive, proceed


def model():
    law = gaussian_mixture([[-1.5, 0.0], [1.5, 0.5]], [(0.2 * torch.eye(2)).tolist()] * 2, [0.5, 0.5])
    return law.generator(steps=20, eta=1.0)


SCORE = quadratic_score([[1.0, 0.0], [0.0, 0.5]], [0.8, -0.4])


def test_the_sum_of_the_slopes_is_cut_to_three_lengths_of_the_scores():
    """Far off the prior the pull is many times the score's slope: the first direction is a tenth of length 3."""
    method = DNO(batch=3, gamma=1.0)
    state = drive(method, model(), SCORE, 0).state
    far = replace(state, u=state.u + 2.0)
    after = proceed(method, model(), SCORE, far, 1).state
    torch.testing.assert_close(after.way.norm(dim=1), torch.full((3,), 0.3).double())
    free = proceed(DNO(batch=3, gamma=1e-9), model(), SCORE, far, 1).state
    torch.testing.assert_close(free.way.norm(dim=1), torch.full((3,), 0.1).double())


def test_directions_are_averaged_and_steps_are_eta_root_d_long():
    """w <- 0.9 w + 0.1 g with unit g, and u <- u + eta sqrt(d) w / |w| where nothing is retracted."""
    method = DNO(batch=2, gamma=1e-12, retract=False, step=0.04)
    state = drive(method, model(), SCORE, 0).state
    way = torch.zeros_like(state.way)
    for _ in range(4):
        trace = proceed(method, model(), SCORE, state, 1)
        g = torch.nn.functional.normalize(trace.evaluations[0].grad.double())
        way = 0.9 * way + 0.1 * g
        torch.testing.assert_close(trace.state.way, way, rtol=1e-5, atol=1e-7)
        moved = state.u.double() + 0.04 * math.sqrt(state.u.shape[1]) * torch.nn.functional.normalize(way)
        torch.testing.assert_close(trace.state.u.double(), moved, rtol=1e-5, atol=1e-5)
        state = trace.state


def test_a_slope_that_pulls_back_counts_gamma_times():
    """With a linear part alone the direction is n + gamma z, n of length 1 and z the bound's slope."""
    method = DNO(batch=1, gamma=0.05, orders=1)
    G = model()
    state = drive(method, G, SCORE, 0).state
    far = replace(state, u=state.u + 0.3)
    trace = proceed(method, G, SCORE, far, 1)
    generator = far.rng.generator()
    orders = [[torch.randperm(b.size, generator=generator)] for b in G.space.blocks]
    leaf = far.u.double().requires_grad_()
    (slope,) = torch.autograd.grad(noise_log_bound(G.space, leaf, 4, orders).sum(), leaf)
    g = torch.nn.functional.normalize(trace.evaluations[0].grad.double()) + 0.05 * slope
    assert float(slope.norm()) > 1
    g = g * min(1.0, 3.0 / float(g.norm()))
    torch.testing.assert_close(trace.state.way, 0.1 * g, rtol=1e-5, atol=1e-7)


def test_the_bounds_in_numbers():
    """exp(-m M^2 / (2k)) for a mean of length M, exp(-m / 2 (sqrt(1 + M) - 1 - sqrt(k / m))^2) for a covariance."""
    assert tail_bound(torch.tensor([0.6, 3.0])).tolist() == pytest.approx([0.0, math.log(2) - 3.0])
    z = torch.full((1, 50, 2), 0.6, dtype=torch.float64)
    assert float(mean_bound(z)) == pytest.approx(math.log(2) - 50 * 0.72 / 4)
    wide = 3.0 * torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]]).repeat(25, 1)[None].double()
    exponent = 50 * (math.sqrt(1 + 8) - 1 - math.sqrt(2 / 100)) ** 2  # z z^T / m is 9 I, which is off by 8
    assert float(covariance_bound(wide)) == pytest.approx(math.log(2) - exponent)


def test_the_bound_of_a_block_is_the_sum_of_its_parts_and_the_mean_over_orders():
    space, rng = Space.of((40,)), stream(0, "orders")
    u = 1.7 * space.sample(3, rng).double() + 0.4
    orders = [torch.randperm(40, generator=rng) for _ in range(3)]
    rows = [covariance_bound(u[:, order].reshape(3, 10, 4)) for order in orders]
    wanted = (
        tail_bound(space.deviation(u).square() / 2).sum(1)
        + mean_bound(u[:, :, None])
        + covariance_bound(u.reshape(3, 10, 4))
        + sum(rows) / 3
    )
    torch.testing.assert_close(noise_log_bound(space, u, 4, [orders]), wanted)
    assert bool((wanted < -5).all())


def test_what_lies_between_the_noises_of_a_path_counts_too():
    """Each standard score z adds log min(1, 2 exp(-z^2 / 2)); that of a direction which all steps share weighs most."""
    space = Space((Block("noise", (3, 8, 8), noise=True), Block("injected", (4, 3, 8, 8), noise=True, steps=True)))
    u, rng = space.sample(64, stream(1)).double(), stream(2, "orders")
    orders = [[torch.randperm(b.size, generator=rng)] for b in space.blocks]
    alike = u + 0.3 * u[:, :192].repeat(1, 5)
    wanted = (math.log(2) - space.deviation(alike).square() / 2).clamp(max=0.0).sum(1)
    moments = torch.zeros(64).double()
    for x, (order,) in zip(space.split(alike), orders, strict=True):
        rows = [covariance_bound(values.reshape(64, -1, 4)) for values in (x, x[:, order])]
        moments = moments + mean_bound(x[:, :, None]) + sum(rows)
    torch.testing.assert_close(noise_log_bound(space, alike, 4, orders), wanted + moments)
    assert float(wanted.median()) < min(-20.0, 5 * float(moments.median()))
