"""Gradient-free posterior samplers against laws in closed form."""

from __future__ import annotations

import math

import pytest
import torch

from zmax.core.errors import InputError
from zmax.core.rng import stream
from zmax.core.space import Space
from zmax.search import ISIR, PCN, Elliptical, Tempering
from zmax.search.posterior.tempering import inverse
from zmax.testing import gaussian_mixture, linear_gaussian, quadratic_score

SAMPLERS = {
    "elliptical": lambda t: Elliptical(temperature=t, chains=256),
    "pcn": lambda t: PCN(temperature=t, chains=256),
    "isir": lambda t: ISIR(temperature=t, chains=256, candidates=4, local=4),
    "i-SIR alone": lambda t: ISIR(temperature=t, chains=256, candidates=4, local=0),
    "tempering": lambda t: Tempering(temperature=t, ladders=160, rungs=3),
}
BOTH_MODES = ("elliptical", "isir", "i-SIR alone", "tempering")


def drawn(bench, name, function, dim, calls, temperature=1.0, seed=0):
    method = SAMPLERS[name](temperature)
    population = method.draws(bench.climb(method, function, dim=dim, calls=calls, seed=seed).state)
    assert math.isclose(float(population.log_weight.exp().sum()), 1, rel_tol=1e-9)
    return population


@pytest.mark.parametrize("temperature", [0.5, 2.0])
@pytest.mark.parametrize("name", SAMPLERS)
def test_mean_and_covariance_of_a_tilted_gaussian(bench, name, temperature):
    """On G(u) = W u + b with a quadratic score the tilted law is a Gaussian; errors in its standard deviations."""
    W = torch.tensor([[1.0, 0.5, 0.0], [0.0, 0.8, 0.4], [0.3, 0.0, 1.2]]).double()
    law, score = linear_gaussian(W, [0.2, 0.0, -0.5]), quadratic_score(torch.eye(3), [1.0, -0.5, 0.8])
    exact = law.tilt(score, temperature)
    u = drawn(bench, name, lambda u: score(u @ W.T + law.bias), 3, 30_000, temperature).u.double()
    white = torch.linalg.solve(exact.factor, (u - exact.mean).T).T
    assert float(white.mean(0).abs().max()) < 0.12
    assert float((torch.cov(white.T) - torch.eye(3)).abs().max()) < 0.16


@pytest.mark.parametrize("name", SAMPLERS)
def test_without_a_score_the_law_is_the_prior(bench, name):
    u = drawn(bench, name, lambda u: u[:, 0] * 0, 4, 20_000).u.double()
    assert float(u.mean(0).abs().max()) < 0.12
    assert float((torch.cov(u.T) - torch.eye(4)).abs().max()) < 0.16


@pytest.mark.parametrize("name", BOTH_MODES)
def test_both_modes_have_their_weights(bench, name):
    """S is such that the tilted law is a given mixture, 0.8 to 0.2, of modes seven standard deviations apart."""
    law = gaussian_mixture([[1.0, 0.0], [-1.1, 0.3]], 0.3**2 * torch.eye(2).expand(2, 2, 2), [0.8, 0.2])
    prior = Space.of((2,)).log_prob
    population = drawn(bench, name, lambda u: law.log_prob(u) - prior(u), 2, 40_000)
    assert float((population.u[:, 0] > 0).double().mean()) == pytest.approx(0.8, abs=0.07)


def test_a_search_on_an_ellipse_counts_once_however_long_it_takes(bench):
    """Half of the prior is a plateau, the other half so rough that searches there take many calls."""

    def function(u):
        return torch.where(u[:, 0] > 0, 0.0, 2 * torch.cos(40 * u[:, 0]))

    grid = torch.linspace(-6, 6, 200_001, dtype=torch.float64)[:, None]
    weight = (function(grid) - grid[:, 0].square() / 2).exp()
    exact = float(weight[grid[:, 0] > 0].sum() / weight.sum())
    right = float((drawn(bench, "elliptical", function, 1, 60_000).u[:, 0] > 0).double().mean())
    assert right == pytest.approx(exact, abs=0.03)


@pytest.mark.parametrize("dim", [2, 2000])
def test_pcn_steps_do_not_shrink_with_the_dimension(bench, dim):
    """With a score that sees one coordinate, the step settles at the same value in 2 and in 2000 dimensions."""
    run = bench.climb(PCN(temperature=0.02, chains=64), lambda u: -u[:, 0].square() / 2, dim=dim, calls=64 * 150)
    assert run.state.step == pytest.approx(0.6, abs=0.15)


def test_swaps_become_equally_likely_across_the_ladder(bench):
    method = Tempering(temperature=0.01, ladders=64, rungs=4)
    state = bench.climb(method, lambda u: -u.square().sum(1) / 2, dim=4, calls=256 * 100).state
    rates = []
    for _ in range(20):
        state = method.tell(state, bench.evaluate(method, lambda u: -u.square().sum(1) / 2, state.u))
        rates.append(state.swaps)
    mean = torch.stack(rates).mean(0)
    assert float(mean.max() - mean.min()) < 0.12
    b = inverse(state.gaps)
    assert bool((b.diff() < 0).all())
    assert (float(b[0]), float(b[-1])) == (1, 0)


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_chain_whose_first_point_failed_is_redrawn_and_failures_are_never_kept(bench, name):
    """Where S fails the law has no mass: half of the prior fails, the other half is drawn from."""
    method = SAMPLERS[name](1.0)
    state = method.init(Space.of((2,)), stream(0))
    for _ in range(120):
        u = method.ask(state).u
        state = method.tell(state, bench.told(u, torch.zeros(len(u)), ok=u[:, 0] > 0))
    population = method.draws(state)
    assert bool((population.u[:, 0] > 0).all())
    assert bool(state.chains.alive.all())
    assert float(population.u[:, 0].double().mean()) == pytest.approx((2 / math.pi) ** 0.5, abs=0.06)


@pytest.mark.parametrize("name", SAMPLERS)
def test_annealed_samplers_settle_on_the_higher_of_two_modes(bench, name):
    law = gaussian_mixture([[1.2, 0.0], [-1.2, 0.3]], 0.2**2 * torch.eye(2).expand(2, 2, 2), [0.6, 0.4])
    top = float(law.log_prob(law.argmax()[None]))
    method = SAMPLERS[name](None)
    run = bench.climb(method, law.log_prob, dim=2, calls=10_000)
    assert run.best > top - 0.1  # the lower mode is 0.4 below
    assert method.draws(run.state) is None


@pytest.mark.parametrize("make", [Elliptical, PCN, ISIR, Tempering])
@pytest.mark.parametrize("bad", [{"temperature": 0.0}, {"temperature": -1.0}, {"temperature": math.inf}])
def test_a_temperature_is_positive(make, bad):
    with pytest.raises(InputError, match="temperature"):
        make(**bad)


@pytest.mark.parametrize(
    ("make", "bad"),
    [
        (Elliptical, {"chains": 0}),
        (PCN, {"step": 1.5}),
        (PCN, {"acceptance": 0.0}),
        (ISIR, {"candidates": 0}),
        (ISIR, {"local": -1}),
        (Tempering, {"rungs": 1}),
    ],
)
def test_bad_arguments_are_refused_by_name(make, bad):
    with pytest.raises(InputError, match=f"{make.__name__}\\({next(iter(bad))}="):
        make(**bad)
