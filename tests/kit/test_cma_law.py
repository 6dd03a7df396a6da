"""CMA's update is that of Hansen's tutorial, written out with matrices; its weights are pycma's, its rates known."""

from __future__ import annotations

import math

import pytest
import torch

from zmax.core.rng import stream
from zmax.kit.cma_law import Law, constants, decomposed, fresh, learned, parents, spent


def law(round_=1, path=0.0, cov=((4.0, 1.0), (1.0, 2.0))):
    """Return a law in two dimensions whose decomposition is that of its covariance."""
    c = torch.tensor(cov, dtype=torch.float64)
    values, basis = torch.linalg.eigh(c)
    start = torch.tensor([path, 0.0], dtype=torch.float64)
    return Law(torch.tensor([1.0, -2.0]).double(), 0.5, c, basis, values.sqrt(), start, start / 2, round_)


def by_the_book(state, y, w, k):
    """Equations (41) to (47) in two dimensions, with C^-1/2 as a matrix and every sum as a loop."""
    root = torch.linalg.inv(state.basis @ torch.diag(state.axes) @ state.basis.T)
    y_w = sum(w[i] * y[i] for i in range(len(w)) if w[i] > 0)
    p_sigma = (1 - k.c_sigma) * state.path_sigma
    p_sigma = p_sigma + math.sqrt(k.c_sigma * (2 - k.c_sigma) * k.mu_eff) * root @ y_w
    stalled = p_sigma.norm() / math.sqrt(1 - (1 - k.c_sigma) ** (2 * state.round)) >= (1.4 + 2 / 3) * k.chi
    h = 0.0 if stalled else 1.0
    p_c = (1 - k.c_c) * state.path_c + h * math.sqrt(k.c_c * (2 - k.c_c) * k.mu_eff) * y_w
    cov = (1 + k.c_1 * (1 - h) * k.c_c * (2 - k.c_c) - k.c_1 - k.c_mu * float(w.sum())) * state.cov
    cov = cov + k.c_1 * torch.outer(p_c, p_c)
    for i in range(len(w)):
        scaled = w[i] if w[i] >= 0 else w[i] * 2 / (root @ y[i]).square().sum()
        cov = cov + k.c_mu * scaled * torch.outer(y[i], y[i])
    change = min(1.0, k.c_sigma / k.d_sigma * (float(p_sigma.norm()) / k.chi - 1))
    return state.mean + state.sigma * y_w, state.sigma * math.exp(change), cov, p_sigma, p_c, h


@pytest.mark.parametrize("round_", [1, 3, 40])
def test_the_update_is_that_of_the_tutorial(round_):
    """With short and long paths, so that the stall flag falls both ways, also where a young path's bias tips it."""
    k, flags = constants(2, 7), set()
    for path in torch.linspace(0.0, 9.0, 19).tolist():
        state = law(round_, path)
        y = (
            torch.randn(7, 2, generator=stream(round_, round(10 * path)), dtype=torch.float64)
            @ (state.basis * state.axes).T
        )
        squares = torch.stack([row @ torch.linalg.solve(state.cov, row) for row in y])
        w = k.weights if round_ > 1 else parents(k, -torch.arange(7.0), torch.arange(7) < 5)
        after = learned(state, y, squares, w, k)
        mean, sigma, cov, p_sigma, p_c, h = by_the_book(state, y, w, k)
        flags.add(h)
        torch.testing.assert_close(after.mean, mean)
        assert after.sigma == pytest.approx(sigma)
        torch.testing.assert_close(after.cov, cov)
        torch.testing.assert_close(after.path_sigma, p_sigma)
        torch.testing.assert_close(after.path_c, p_c)
        assert after.round == round_ + 1
    assert flags == {0.0, 1.0}


def test_one_round_grows_sigma_by_e_at_most():
    k = constants(2, 7)
    far = torch.full((7, 2), 1e3, dtype=torch.float64)
    after = learned(law(), far, torch.full((7,), 1e6).double(), k.weights, k)
    assert after.sigma == pytest.approx(0.5 * math.e)


@pytest.mark.parametrize(("d", "n"), [(2, 7), (2, 101), (10, 15), (100, 31)])
def test_the_weights_are_those_of_pycma(d, n):
    cma = pytest.importorskip("cma.recombination_weights")
    k, peer = constants(d, n), cma.RecombinationWeights(n)
    peer.finalize_negative_weights(d, k.c_1, k.c_mu)
    assert k.mu_eff == pytest.approx(peer.mueff)
    assert k.weights.tolist() == pytest.approx(list(peer), abs=1e-9)


def test_the_rates_are_those_of_table_1():
    """Worked out by hand for d = 10 and a population of 10, of mu_eff 3.167."""
    k = constants(10, 10)
    rates = {"mu_eff": 3.1673, "c_sigma": 0.28444, "d_sigma": 1.28444, "c_c": 0.29499, "c_1": 0.015283}
    for name, value in {**rates, "c_mu": 0.023552, "chi": 3.0847}.items():
        assert getattr(k, name) == pytest.approx(value, rel=2e-4), name


def test_failed_rows_have_no_weight_and_the_others_still_sum_to_one():
    k, ok = constants(4, 8), torch.tensor([True, True, True, False, True, False, False, False])
    w = parents(k, -torch.arange(8.0), ok)
    assert float(w.clamp_min(0).sum()) == pytest.approx(1)
    assert bool(w[~ok].eq(0).all())
    assert float(w[0] / w[1]) == pytest.approx(float(k.weights[0] / k.weights[1]))
    assert float(w[4]) == float(k.weights[4])  # negative ones stay as they are


def test_ties_share_what_their_ranks_earn():
    """So that the order in which equal points were drawn moves nothing."""
    k, ok = constants(4, 8), torch.ones(8, dtype=torch.bool)
    score = torch.tensor([3.0, 2.0, 2.0, 2.0, 1.0, 0.0, 0.0, -1.0])
    w = parents(k, score, ok)
    assert float(w[1] / w[0]) == pytest.approx(float(k.weights[1:4].mean() / k.weights[0]))
    assert w[1] == w[2] == w[3]
    assert w[5] == w[6]
    assert float(w.clamp_min(0).sum()) == pytest.approx(1)
    flat = parents(k, torch.zeros(8), ok)
    assert len(flat.unique()) == 1


def test_the_covariance_is_decomposed_every_gap_rounds():
    stale = law(round_=6)
    turned = Law(**{**vars(stale), "cov": torch.diag(torch.tensor([9.0, 1.0]).double())})
    assert decomposed(turned, 4) is turned
    new = decomposed(turned, 3)
    torch.testing.assert_close(new.axes, torch.tensor([1.0, 3.0]).double())
    torch.testing.assert_close((new.basis * new.axes.square()) @ new.basis.T, turned.cov)
    for d in (2, 10, 100, 500):  # as soon as 2 % of it are new
        k = constants(d, 15)
        assert k.gap == 1 or (k.gap - 1) * (k.c_1 + k.c_mu) < 0.02 <= k.gap * (k.c_1 + k.c_mu)


def test_a_law_is_spent_where_single_precision_no_longer_tells_its_points_apart():
    """Too narrow relative to where it is, too wide, or of a condition number above 1e14."""
    near, far = torch.zeros(2), torch.full((2,), 1000.0)
    one = fresh(near, 1.0)
    narrow = Law(**{**vars(one), "sigma": 1e-4})
    assert not spent(one, near)
    assert not spent(narrow, near)
    assert spent(narrow, far)
    assert spent(Law(**{**vars(one), "sigma": 0.9e-6}), near)
    assert not spent(Law(**{**vars(one), "sigma": 1.1e-6}), near)
    assert spent(Law(**{**vars(one), "sigma": 1e7}), near)
    for ratio, over in ((0.9e-7, True), (1.1e-7, False)):
        thin = Law(**{**vars(one), "axes": torch.tensor([1.0, ratio]).double()})
        assert spent(thin, near) is over
