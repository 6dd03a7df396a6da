"""Noise optimisation: bounds and their slopes, known optima, plausible noises, scale, failures, independent rows."""

import math
from dataclasses import replace

import pytest
import torch

import zmax
from zmax.core.errors import CapabilityError, InputError
from zmax.core.priors import shell
from zmax.core.rng import stream
from zmax.core.space import Block, Space
from zmax.generators.diffusion.generator import with_memory
from zmax.guide import DNO
from zmax.guide.noise.concentration import covariance_bound, mean_bound, noise_log_bound
from zmax.testing import StrategyConformance, gaussian_mixture, quadratic_score
from zmax.testing.driver import drive, proceed

EYE = torch.eye(2)
SCORE = quadratic_score([[1.0, 0.0], [0.0, 0.5]], [0.8, -0.4])
PICTURE = Space((Block("noise", (3, 16, 16), noise=True), Block("injected", (4, 3, 16, 16), noise=True, steps=True)))
VECTOR = Space((Block("noise", (300,), noise=True), Block("injected", (4, 300), noise=True, steps=True)))


def law():
    return gaussian_mixture([[-1.5, 0.0], [1.5, 0.5]], [(0.2 * EYE).tolist()] * 2, [0.5, 0.5])


def wide(d=64, unit=1.0):
    """Return a Gaussian of d coordinates as a diffusion model, and a linear score."""
    slope = torch.linspace(-1, 2, d, dtype=torch.float64)
    p = gaussian_mixture(torch.zeros(1, d), torch.diag(torch.linspace(0.5, 1.5, d))[None], [1.0])
    return p.generator(steps=5, eta=1.0), quadratic_score(b=(unit * slope / slope.norm()).tolist())


class TestDNO(StrategyConformance):
    rounds = 40

    def make(self):
        return DNO(batch=3)

    def problem(self):
        return law().generator(steps=8, eta=1.0), SCORE


def log_bound(space, u, width=4, seed=0):
    rng = stream(seed, "orders")
    orders = [[torch.randperm(b.size, generator=rng) for _ in range(3)] for b in space.blocks]
    return noise_log_bound(space, u, width, orders)


@pytest.mark.parametrize("k", [1, 2, 4])
def test_the_bounds_hold_and_say_nothing_of_most_draws(k):
    """P(value <= log a) <= a for noise, by the inequality; and most values are 0."""
    z = torch.randn(20_000, 60, k, generator=stream(k, "bounds"))
    for bound in (mean_bound, covariance_bound):
        value = bound(z)
        assert bool((value <= 0).all())
        assert float((value == 0).float().mean()) > 0.7
        for level in (0.5, 0.1, 0.01):
            assert float((value <= math.log(level)).float().mean()) <= level + 4 * (level / len(z)) ** 0.5


@pytest.mark.parametrize("space", [PICTURE, VECTOR], ids=["picture", "vector"])
def test_draws_of_the_prior_are_left_alone_and_others_pushed_back(space):
    u = space.sample(64, stream(0)).double()
    tests = space.deviation(u).shape[1]
    assert float(log_bound(space, u).median()) > -0.25 * tests  # of N(0, 1) each has a mean of -0.18
    pairs = u.clone()
    pairs[:, 1::2] = 0.7 * pairs[:, ::2] + 0.51**0.5 * pairs[:, 1::2]
    unlikely = {"shifted": u + 0.3, "scaled": 1.6 * u, "shrunk": 0.4 * u, "correlated": pairs}
    for name, odd in unlikely.items():
        leaf = odd.clone().requires_grad_()
        value = log_bound(space, leaf)
        (slope,) = torch.autograd.grad(value.sum(), leaf)
        assert float(value.detach().median()) < -8, name
        back = log_bound(space, odd + 1e-3 * slope)
        assert bool((back > value).all()), name
        if name in ("scaled", "shrunk"):
            assert bool(((slope * odd).sum(1).sign() == (-1 if name == "scaled" else 1)).all())
    leaf = (u + 0.3).requires_grad_()
    assert float(torch.autograd.grad(log_bound(space, leaf).sum(), leaf)[0].mean()) < 0


@pytest.mark.parametrize("space", [PICTURE, VECTOR], ids=["picture", "vector"])
def test_the_slope_of_the_bound_is_that_of_finite_differences(space):
    u = (1.5 * space.sample(2, stream(1)).double() + 0.3).requires_grad_()
    (slope,) = torch.autograd.grad(log_bound(space, u).sum(), u)
    v, h = torch.randn(2, space.dim, generator=stream(2), dtype=torch.float64), 1e-5
    with torch.no_grad():
        difference = (log_bound(space, u + h * v) - log_bound(space, u - h * v)) / (2 * h)
    torch.testing.assert_close((slope * v).sum(1), difference, rtol=1e-5, atol=1e-6)


def test_a_block_smaller_than_a_row_is_bounded_in_rows_of_its_size():
    space = Space.of((3,))
    assert bool((log_bound(space, torch.full((1, 3), 9.0)) < -1).all())


def test_a_linear_score_of_a_gaussian_is_climbed_to_its_maximum_on_the_shell():
    """G is affine in the noises, so the maximum on the shells is S(G(0)) + sum_b r_b |slope_b|."""
    G, S = wide()
    u = torch.zeros(1, G.space.dim, requires_grad=True)
    value = S(G.decode(G.space.latents(u)))
    (slope,) = torch.autograd.grad(value.sum(), u)
    parts = slope.split([b.size for b in G.space.blocks], dim=1)
    top = float(value.detach()) + sum(float(p.norm()) * shell(p.shape[1], 0.5)[1] for p in parts)
    free = drive(DNO(gamma=1e-9), G, S, 120).best
    assert 0.98 * top <= free <= top * (1 + 1e-5)


def test_the_prior_keeps_moments_that_the_shell_lets_go():
    """A score of the mean of a noise: on the shell it could be all of it; held, it stays near what draws show."""
    G = gaussian_mixture(torch.zeros(1, 64), torch.eye(64)[None], [1.0]).generator(steps=5, eta=1.0)
    S = quadratic_score(b=[1.0] * 64)
    means = {}
    for gamma in (1e-9, 1.0, 10.0):
        u = drive(DNO(gamma=gamma, step=0.02), G, S, 80).proposals[-1].u
        means[gamma] = float(u[:, 64:].mean().abs()) * (u.shape[1] - 64) ** 0.5
    assert means[1e-9] > 10
    assert means[1.0] < 5
    assert means[10.0] < 3


def test_what_a_run_returns_decodes_again_and_the_batch_of_the_run_changes_nothing():
    G = law().generator(steps=6, eta=0.0)
    runs = [zmax.maximize(G, SCORE, DNO(batch=5), 60, seed=2, batch_size=b) for b in (2, 32)]
    torch.testing.assert_close(runs[0].best.u, runs[1].best.u, rtol=0, atol=1e-4)
    back = G.stochastic().decode({n: z[None] for n, z in runs[0].best.z.items()})[0]
    torch.testing.assert_close(back, runs[0].best.sample, rtol=0, atol=1e-5)


def test_rows_do_not_know_of_each_other():
    """Row 0 fails again and again; the others are left bit for bit."""
    G, method = law().generator(steps=6, eta=1.0), DNO(batch=4)

    def spoil(e):
        row = torch.arange(4) == 0
        grad = e.grad.masked_fill(row[:, None], 0.0)
        return replace(e, ok=~row, score=e.score.masked_fill(row, -math.inf), grad=grad, failures={0: "made to fail"})

    plain, spoilt = drive(method, G, SCORE, 12), drive(method, G, SCORE, 12, spoil=spoil)
    for a, b in zip(plain.proposals, spoilt.proposals, strict=True):
        assert torch.equal(a.u[1:], b.u[1:])
        assert bool(torch.isfinite(b.u).all())


def test_multiplying_the_score_changes_nothing_over_six_decades():
    """Powers of two, so that the scores themselves are exact multiples."""
    paths = []
    for unit in (2.0**-20, 1.0, 2.0**20):
        G, S = wide(16, unit)
        paths.append(torch.stack([p.u for p in drive(DNO(batch=2), G, S, 12).proposals]))
    assert bool(torch.isfinite(torch.stack(paths)).all())
    for path in paths:
        torch.testing.assert_close(path, paths[1], rtol=0, atol=1e-4)


def test_a_chain_that_stalls_halves_its_step_and_in_the_end_is_redrawn():
    G, flat = law().generator(steps=4, eta=1.0), quadratic_score(torch.zeros(2, 2), [0.0, 0.0])
    method = DNO(patience=2, gamma=1e-9)
    start = drive(method, G, flat, 0).state
    states = [proceed(method, G, flat, start, rounds).state for rounds in (3, 20)]
    assert float(states[0].step) == method.step / 2
    assert not torch.allclose(states[1].u, start.u, atol=0.5)
    assert bool((states[1].step >= method.step / 64).all())


def test_truncated_memory_survives_the_stochastic_path_and_serves_it():
    G = with_memory(law().generator(steps=6, eta=0.0), "truncated:2")
    assert G.stochastic().memory.jacobians == 2
    r = zmax.maximize(G, SCORE, "dno", 60, seed=0)
    assert r.ledger.nfe_backward < r.ledger.nfe / 2
    assert r.best.score > zmax.maximize(G, SCORE, "random", 60, seed=0).best.score - 0.05


@pytest.mark.parametrize("name", ["dno", "dno-hybrid"])
def test_it_beats_best_of_n_at_equal_network_evaluations(name):
    G, S = wide()
    budget = zmax.Budget(nfe=5 * 100)
    found, plain = (zmax.maximize(G, S, m, budget, seed=0).best.score for m in (name, "random"))
    assert found > plain + 0.5


@pytest.mark.parametrize("name", ["dno", "dno-hybrid"])
def test_those_that_move_all_noises_need_a_path(name):
    G = zmax.generator(torch.nn.Identity(), shape=(2,), differentiable=True)
    with pytest.raises(CapabilityError, match="steers the path"):
        zmax.maximize(G, SCORE, method=name, budget=10)


@pytest.mark.parametrize("bad", [{"step": 0.0}, {"gamma": -1.0}, {"width": 0}, {"orders": 0}, {"patience": 0}])
def test_bad_arguments_are_refused_by_name(bad):
    with pytest.raises(InputError, match=f"DNO\\({next(iter(bad))}="):
        DNO(**bad)


def test_a_penalty_around_it_leaves_it_on_the_path():
    G = law().generator(steps=6, eta=0.0)
    r = zmax.maximize(G, SCORE, "dno", 60, seed=0, guard="penalise")
    assert set(r.best.z) == {"noise", "injected"}
