"""Each method reaches maxima that are known."""

from __future__ import annotations

import math

import pytest
import torch

from zmax.core.priors import shell
from zmax.core.rng import stream
from zmax.core.space import Block, Space
from zmax.search import CMA, ES, SNES, SPSA, Gradient, Random, SphereCMA, Trust
from zmax.testing import linear_gaussian, quadratic_score


@pytest.mark.parametrize("dim", [10, 20])
@pytest.mark.parametrize("name", ["sphere", "ellipsoid", "rosenbrock"])
def test_cma_reaches_the_maximum(bench, name, dim):
    run = bench.climb(CMA(retract=False), getattr(bench, name), dim=dim, calls=120_000, target=-1e-8)
    assert run.reached, f"stopped at {run.best}"


@pytest.mark.parametrize("dim", [10, 40])
@pytest.mark.parametrize("name", ["sphere", "ellipsoid"])
def test_snes_reaches_the_maximum(bench, name, dim):
    run = bench.climb(SNES(retract=False), getattr(bench, name), dim=dim, calls=40_000, target=-1e-8)
    assert run.reached, f"stopped at {run.best}"


@pytest.mark.parametrize("dim", [10, 40])
def test_gradient_reaches_the_maximum(bench, dim):
    run = bench.climb(Gradient(retract=False, batch=2), bench.sphere, dim=dim, calls=4000, target=-1e-4)
    assert run.reached, f"stopped at {run.best}"


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("method", [Gradient(), CMA(), SNES(), ES(), SPSA()], ids=lambda m: type(m).__name__)
def test_linear_score_is_maximised_along_the_pulled_back_direction(bench, method, seed):
    """On the shell, max of b^T W u is |W^T b| times the outer radius, at u parallel to W^T b."""
    rng = stream(seed, "linear law")
    w, b = torch.randn(16, 32, generator=rng).double(), torch.randn(16, generator=rng).double()
    law, score = linear_gaussian(w), quadratic_score(torch.zeros(16, 16), b)
    top = float((w.T @ b).norm()) * shell(32, 0.5)[1]
    decode = law.generator().decode
    run = bench.climb(method, lambda u: score(decode(u)), dim=32, calls=4000, seed=seed)
    assert 0.99 * top <= run.best <= top * (1 + 1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_sphere_cma_reaches_the_maximum_of_a_linear_score_on_the_sphere(bench, seed):
    """On the sphere, max of b^T u is |b| sqrt(d)."""
    b = torch.randn(32, generator=stream(seed, "linear law")).double()
    top = float(b.norm()) * math.sqrt(32)
    run = bench.climb(SphereCMA(), lambda u: u @ b, dim=32, calls=4000, seed=seed)
    assert 0.99 * top <= run.best <= top * (1 + 1e-6)


@pytest.mark.parametrize(
    "method",
    [Gradient(), CMA(), SNES(), SphereCMA(), ES(), SPSA(), Trust(), Random()],
    ids=lambda m: type(m).__name__,
)
def test_every_proposal_of_a_retracting_method_is_plausible(bench, method):
    """With several blocks each block stays on its own shell (a linear score pushes outwards)."""
    space = Space((Block("a", (20,)), Block("b", (3, 8))))
    pull = torch.randn(44, generator=stream(5)).double()
    run = bench.climb(method, lambda u: u @ pull, calls=1000, state=method.init(space, stream(0)))
    if not isinstance(method, Random):
        assert min(float(space.plausibility(u).min()) for u in run.path) >= 0.49
    assert float(space.plausibility(torch.cat(run.path)).max()) > 0.5


def test_random_is_the_maximum_of_n_normals(bench):
    """E max of N standard normals is the integral of x d Phi(x)^N; best-of-N meets it within 4 standard errors."""
    n, seeds = 512, 300
    x = torch.linspace(-2, 8, 20_001, dtype=torch.float64)
    rising = torch.special.ndtr(x) ** n
    expected = float(((x[1:] + x[:-1]) / 2 * rising.diff()).sum())
    unit = torch.full((4,), 0.5, dtype=torch.float64)
    bests = torch.tensor([bench.climb(Random(), lambda u: u @ unit, dim=4, calls=n, seed=s).best for s in range(seeds)])
    assert abs(float(bests.mean()) - expected) < 4 * float(bests.std()) / math.sqrt(seeds)


@pytest.mark.parametrize(("small", "large"), [(8, 64), (16, 32)])
def test_random_rounds_are_independent_draws_of_the_prior(bench, small, large):
    """No draw comes twice, and the norms have the law of the prior whatever the batch."""
    for batch in (small, large):
        run = bench.climb(Random(batch=batch), bench.sphere, dim=50, calls=2048)
        draws = torch.cat(run.path)
        assert len(draws.unique(dim=0)) == len(draws)
        error = float(draws.square().sum(1).mean()) - 50
        assert abs(error) < 4 * math.sqrt(2 * 50 / len(draws))
