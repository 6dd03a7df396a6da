"""LBFGS: the recursion is the BFGS formula, quadratics are solved superlinearly, on the shell the known maximum."""

from __future__ import annotations

import pytest
import torch

from zmax.core.errors import InputError
from zmax.core.priors import shell
from zmax.core.rng import stream
from zmax.search import Gradient
from zmax.search.ascent.lbfgs import LBFGS, two_loops
from zmax.testing import linear_gaussian, quadratic_score


def waves(u):
    return u @ torch.linspace(-1, 2, u.shape[1], dtype=u.dtype) + 3 * torch.sin(2 * u).sum(1)


def quadratic(dim, condition, seed=0):
    """Return a concave quadratic with its maximum 0 somewhere, and of that condition number."""
    rng = stream(seed, "quadratic", dim)
    q, _ = torch.linalg.qr(torch.randn(dim, dim, generator=rng).double())
    hessian = q @ torch.diag(torch.logspace(0, torch.log10(torch.tensor(condition)), dim).double()) @ q.T
    top = torch.randn(dim, generator=rng).double()
    return lambda u: -torch.einsum("ni,ij,nj->n", u - top, hessian, u - top) / 2


def test_two_loops_are_the_bfgs_formula():
    """H = V^T H V + rho s s^T, from oldest to newest."""
    rng = stream(0, "pairs")
    s, g = torch.randn(2, 3, 5, generator=rng).double(), torch.randn(2, 5, generator=rng).double()
    curvature = torch.randn(5, 5, generator=rng).double()
    y = s @ (curvature @ curvature.T + torch.eye(5))
    got = two_loops(g, s, y)
    for row in range(2):
        h = (s[row, -1] @ y[row, -1]) / (y[row, -1] @ y[row, -1]) * torch.eye(5).double()
        for si, yi in zip(s[row], y[row], strict=True):
            rho = 1 / (si @ yi)
            v = torch.eye(5) - rho * torch.outer(yi, si)
            h = v.T @ h @ v + rho * torch.outer(si, si)
        assert torch.allclose(got[row], h @ g[row])


def test_pairs_that_are_zero_take_no_part():
    rng = stream(1, "pairs")
    s, y, g = torch.zeros(1, 4, 3).double(), torch.zeros(1, 4, 3).double(), torch.randn(1, 3, generator=rng).double()
    assert torch.equal(two_loops(g, s, y), g)
    s[0, -1], y[0, -1] = torch.tensor([1.0, 0, 0]), torch.tensor([2.0, 0, 0])
    assert torch.allclose(two_loops(g, s, y), g / 2)


@pytest.mark.parametrize("condition", [10.0, 1000.0])
def test_a_quadratic_is_solved_in_a_few_rounds(bench, condition):
    """With as many pairs as dimensions, 1e-7 of the first error is left after 6 rounds a dimension."""
    function = quadratic(8, condition)
    newton = LBFGS(retract=False, batch=1, memory=8)
    run = bench.climb(newton, function, dim=8, calls=48)
    assert run.best > 1e-7 * float(function(run.path[0].double()))
    assert run.best > bench.climb(Gradient(retract=False, batch=1), function, dim=8, calls=48).best / 100


def test_convergence_is_superlinear(bench):
    """The error left after each further six rounds falls by a factor that itself falls."""
    function = quadratic(6, 100.0)
    run = bench.climb(LBFGS(retract=False, batch=1, memory=20), function, dim=6, calls=60, target=-1e-9)
    errors = torch.stack([-function(u.double()) for u in run.path]).flatten().cummin(0).values
    after = errors[5::6]
    factors = after[1:] / after[:-1]
    assert run.reached
    assert bool((factors[1:] < factors[:-1]).all())
    assert float(factors[-1]) < 0.01


@pytest.mark.parametrize("seed", range(3))
def test_the_maximum_on_the_rim_of_the_shell_is_reached(bench, seed):
    """Its unconstrained maximum lies outside, so the best typical point is the best in the ball."""
    rng = stream(seed, "rim")
    w, a = torch.randn(16, 24, generator=rng).double() / 5, torch.randn(16, 16, generator=rng).double() / 8
    law, score = linear_gaussian(w), quadratic_score(a @ a.T, 3 * torch.randn(16, generator=rng).double())
    decode, (low, high) = law.generator().decode, shell(24, 0.5)
    best = law.tilt(score).argmax_in_ball(high)
    assert float(best.norm()) > low
    top = float(score(decode(best[None])).detach())
    run = bench.climb(LBFGS(batch=2), lambda u: score(decode(u)), dim=24, calls=300, seed=seed)
    start = float(score(decode(run.path[0])).detach().max())
    assert top - 1e-4 * (top - start) <= run.best <= top + 1e-5 * abs(top)


def test_accepted_scores_never_fall(bench):
    """Curvature is negative in many places here."""
    method = LBFGS(batch=4)
    state = bench.climb(method, waves, dim=24, calls=4).state
    for _ in range(40):
        before, state = state, method.tell(state, bench.evaluate(method, waves, method.ask(state).u))
        same_chain = state.start == before.start
        assert bool((state.score >= before.score)[same_chain].all())


def test_a_failed_step_is_shortened_and_the_chain_stays(bench):
    method = LBFGS(batch=2)
    state = bench.climb(method, waves, dim=24, calls=6).state
    good = bench.evaluate(method, waves, state.candidate)
    ok = torch.tensor([False, True])
    after = method.tell(state, bench.told(state.candidate, good.score, ok=ok, grad=good.grad * ok[:, None]))
    assert torch.equal(after.u[0], state.u[0])
    assert float(after.length[0]) < float(state.length[0])
    assert torch.equal(after.candidate[1], method.tell(state, good).candidate[1])


@pytest.mark.parametrize("factor", [2.0**-40, 2.0**40])
def test_the_scale_of_the_score_does_not_matter(bench, factor):
    plain = bench.climb(LBFGS(), waves, dim=24, calls=400)
    scaled = bench.climb(LBFGS(), lambda u: factor * waves(u), dim=24, calls=400)
    assert all(torch.equal(a, b) for a, b in zip(plain.path, scaled.path, strict=True))


@pytest.mark.parametrize("bad", [{"step": 0.0}, {"memory": 0}, {"batch": 0}])
def test_bad_arguments_are_refused_by_name(bad):
    with pytest.raises(InputError, match=f"LBFGS\\({next(iter(bad))}="):
        LBFGS(**bad)
