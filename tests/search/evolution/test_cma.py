"""CMA: invariances, agreement with pycma, failures, restarts."""

from __future__ import annotations

import statistics
from dataclasses import replace

import pytest
import torch

from zmax.core.errors import InputError
from zmax.core.rng import stream
from zmax.core.space import Space
from zmax.search import CMA


def started(bench, method, function, dim, rounds, seed=0):
    state = method.init(Space.of((dim,)), stream(seed))
    for _ in range(rounds):
        state = method.tell(state, bench.evaluate(method, function, state.u))
    return state


@pytest.mark.parametrize("name", ["sphere", "ellipsoid", "rosenbrock"])
def test_evaluations_agree_with_pycma(bench, name):
    """Same start, sigma and population: median evaluations to 1e-8 within a factor 1.5 (d = 10, 5 seeds)."""
    cma = pytest.importorskip("cma")
    function, ours, theirs = getattr(bench, name), [], []
    for seed in range(5):
        method = CMA(retract=False, population=11, step=0.5)  # 10 draws and the mean
        start = started(bench, method, bench.sphere, 10, 1, seed)
        run = bench.climb(method, function, state=start, calls=40_000, target=-1e-8)
        ours.append((run.reached or 40_000) / 11 * 10)  # pycma does not score the mean
        options = {"popsize": 10, "seed": seed + 1, "verbose": -9, "ftarget": 1e-8, "maxfevals": 40_000}
        peer = cma.CMAEvolutionStrategy(start.mean.numpy(), 0.5, options)
        peer.optimize(lambda x, f=function: -float(f(torch.as_tensor(x)[None])[0]))
        theirs.append(peer.result.evaluations)
    ratio = statistics.median(ours) / statistics.median(theirs)
    assert 1 / 1.5 < ratio < 1.5, (ours, theirs)


def test_rotating_the_problem_rotates_the_path(bench):
    """With Q orthogonal: if S' = S(Q^T .) is told of Q-rotated draws, mean, C and proposals are Q-rotated, forever."""
    method, dim = CMA(retract=False), 12
    q, _ = torch.linalg.qr(torch.randn(dim, dim, generator=stream(8), dtype=torch.float64))
    plain = started(bench, method, bench.ellipsoid, dim, 5)
    turned = replace(
        plain,
        mean=q @ plain.mean,
        cov=q @ plain.cov @ q.T,
        basis=q @ plain.basis,
        path_sigma=q @ plain.path_sigma,
        path_c=q @ plain.path_c,
    )
    for _ in range(60):
        turned = replace(turned, y=plain.y @ q.T, squares=plain.squares)
        evaluation = bench.evaluate(method, bench.ellipsoid, plain.u)
        plain, turned = method.tell(plain, evaluation), method.tell(turned, evaluation)
        assert torch.allclose(turned.mean, q @ plain.mean, rtol=1e-6, atol=1e-9)
        assert torch.allclose(turned.cov, q @ plain.cov @ q.T, rtol=1e-6, atol=1e-7)
        assert turned.sigma == pytest.approx(plain.sigma, rel=1e-6)


def test_scaling_the_space_scales_the_path(bench):
    """S(u / 4) from 4 m with 4 sigma proposes 4 u: bit for bit, since 4 is a power of two."""
    method = CMA(retract=False)
    plain = started(bench, method, bench.rosenbrock, 12, 3)
    wide = replace(plain, mean=4 * plain.mean, sigma=4 * plain.sigma, u=4 * plain.u)
    one = bench.climb(method, bench.rosenbrock, state=plain, calls=1600)
    four = bench.climb(method, lambda u: bench.rosenbrock(u / 4), state=wide, calls=1600)
    assert all(torch.equal(4 * a, b) for a, b in zip(one.path, four.path, strict=True))


def test_covariance_learns_the_inverse_hessian(bench):
    """On a quadratic, C becomes proportional to H^-1; eigenvalues span 1e6 and match within a factor 10."""
    run = bench.climb(CMA(retract=False), bench.ellipsoid, dim=8, calls=8000, target=-1e-8)
    product = run.state.cov.diagonal() * 10 ** torch.linspace(0, 6, 8, dtype=torch.float64)
    assert float(product.max() / product.min()) < 10


def test_failed_rows_have_no_influence(bench):
    method = CMA(population=12)
    state = started(bench, method, bench.sphere, 8, 3)
    ok = torch.arange(12) % 3 != 1
    evaluation = bench.told(state.u, bench.sphere(state.u.double()), ok=ok)
    spoilt = replace(state, y=torch.where(ok[: len(state.y), None], state.y, 100.0), squares=state.squares)
    a, b = method.tell(state, evaluation), method.tell(spoilt, evaluation)
    assert torch.equal(a.mean, b.mean)
    assert torch.allclose(a.cov, b.cov, rtol=1e-12)
    assert a.sigma == b.sigma


@pytest.mark.parametrize("rounds", [0, 4])
def test_a_round_of_failures_leaves_the_law_and_redraws(bench, rounds):
    method = CMA()
    state = started(bench, method, bench.sphere, 8, rounds)
    n = len(state.u)
    failed = bench.told(state.u, torch.zeros(n), ok=torch.zeros(n, dtype=torch.bool))
    after = method.tell(state, failed)
    assert torch.equal(after.mean, state.mean)
    assert torch.equal(after.cov, state.cov)
    assert (after.sigma, after.round) == (state.sigma, state.round)
    assert not torch.equal(after.u, state.u)


@pytest.mark.parametrize("broken", [{"sigma": 1e-9}, {"sigma": 1e9}, {"axes": torch.logspace(0, -8, 8).double()}])
def test_a_spent_search_law_starts_again_from_the_prior(bench, broken):
    method = CMA()
    state = replace(started(bench, method, bench.sphere, 8, 4), **broken)
    state = replace(state, cov=state.basis @ torch.diag(state.axes.square()) @ state.basis.T)
    after = method.tell(state, bench.evaluate(method, bench.sphere, state.u))
    assert after.round == 0
    assert torch.equal(after.cov, torch.eye(8).double())


@pytest.mark.parametrize("bad", [{"step": 0.0}, {"step": float("inf")}, {"population": 4}, {"population": True}])
def test_bad_arguments_are_refused_by_name(bad):
    with pytest.raises(InputError, match=f"CMA\\({next(iter(bad))}="):
        CMA(**bad)
