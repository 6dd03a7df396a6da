"""Preconditioned: the sketch is W^T W where G is W u, ill-conditioned decoders are inverted in few rounds."""

from __future__ import annotations

import pytest
import torch

from zmax.core.errors import InputError
from zmax.core.proposal import Pullback, Pushforward
from zmax.core.rng import stream
from zmax.search.ascent.lbfgs import LBFGS
from zmax.search.ascent.preconditioned import Preconditioned, averaged, inverse_gain, nystrom
from zmax.testing import linear_gaussian, quadratic_score
from zmax.testing.driver import drive, evaluate, proceed

DIM = 32


def steep(seed=0):
    """Return W with singular values from 1000 to 1, and the score of inverting W u* for a prior draw u*."""
    rng = stream(seed, "steep")
    q, _ = torch.linalg.qr(torch.randn(DIM, DIM, generator=rng).double())
    values = torch.ones(DIM).double()
    values[:12] = torch.logspace(3, 0.5, 12)
    law = linear_gaussian(torch.diag(values) @ q.T)
    wanted = law.matrix @ torch.randn(DIM, generator=rng).double()
    return law, quadratic_score(torch.eye(DIM), wanted), float(wanted @ wanted) / 2


def started(method, law, score):
    state, generator = method.init(law.generator().space, stream(0, "method")), law.generator()
    kinds = []
    while state.stage < 2:
        kinds.append(type(method.ask(state)))
        state = method.tell(state, evaluate(method.ask(state), generator, score))
    return state, kinds


@pytest.mark.parametrize("points", [1, 3])
def test_the_sketch_of_a_linear_decoder_is_its_metric(points):
    rng = stream(1, "low rank")
    w = torch.randn(10, DIM, generator=rng).double()
    law, score = linear_gaussian(w), quadratic_score(torch.eye(10))
    state, kinds = started(Preconditioned(rank=12, points=points, damping=1e-3), law, score)
    assert kinds == [Pushforward, Pullback]
    values = torch.linalg.eigvalsh(w.T @ w).flip(0)[:10]
    basis = state.chains.basis
    assert torch.allclose(basis.T @ basis, torch.eye(10).double(), atol=1e-5)
    assert torch.allclose(state.chains.gain, inverse_gain(values, 1e-3), rtol=1e-4)
    metric = basis @ torch.diag(values) @ basis.T
    assert torch.allclose(metric, w.T @ w, rtol=1e-4, atol=1e-4 * float(values[0]))


def test_nystrom_is_exact_for_a_matrix_of_the_rank_of_the_probes():
    rng = stream(2, "nystrom")
    root, probes = (torch.randn(DIM, k, generator=rng).double() for k in (5, 8))
    basis, values = nystrom(torch.linalg.qr(probes).Q, root @ root.T @ torch.linalg.qr(probes).Q)
    assert len(values) == 5
    assert torch.allclose(basis @ torch.diag(values) @ basis.T, root @ root.T)


def test_points_where_a_product_failed_do_not_count():
    probes = torch.eye(4).double()[:, :2]
    products = torch.arange(16.0).double().reshape(4, 4)  # two points, two probes each
    kept, image = averaged(probes, products, torch.tensor([True, True, False, True]))
    assert torch.equal(kept, probes)
    assert torch.equal(image, products[:2].T)
    assert averaged(probes, products, torch.zeros(4, dtype=torch.bool))[0].shape == (4, 0)


@pytest.mark.parametrize("seed", range(2))
def test_an_ill_conditioned_decoder_is_inverted_in_far_fewer_rounds(seed):
    """Until a millionth of the first error is left, plain L-BFGS takes more than three times the rounds."""
    law, score, top = steep(seed)

    def rounds(method, most):
        trace = drive(method, law.generator(), score, most, seed)
        best, first = -float("inf"), None
        for i, evaluation in enumerate(trace.evaluations):
            best = max([best, *evaluation.score.tolist()])
            first = top - best if first is None and best > -float("inf") else first
            if first is not None and top - best <= 1e-6 * first:
                return i
        return most

    ours = rounds(Preconditioned(batch=1, retract=False), 50)
    assert ours < 50
    assert rounds(LBFGS(batch=1, retract=False), 3 * ours) == 3 * ours


def test_when_the_products_fail_it_is_plain_lbfgs():
    law, score, _ = steep()
    method, plain = Preconditioned(batch=2), LBFGS(batch=2)
    state = method.init(law.generator().space, stream(0, "method"))

    def spoilt(evaluation):
        return type(evaluation)(
            evaluation.score, torch.zeros_like(evaluation.ok), evaluation.plausibility, range(0), evaluation.grad * 0
        )

    state = proceed(method, law.generator(), score, state, 1, spoil=spoilt).state
    ours = proceed(method, law.generator(), score, state, 10)
    theirs = proceed(plain, law.generator(), score, plain.init(law.generator().space, stream(0, "method")), 10)
    for a, b in zip(ours.proposals, theirs.proposals, strict=True):
        assert torch.equal(a.u, b.u)


@pytest.mark.parametrize("bad", [{"rank": 0}, {"points": 0}, {"damping": 0.0}, {"step": -1.0}, {"batch": 0}])
def test_bad_arguments_are_refused_by_name(bad):
    with pytest.raises(InputError, match=f"Preconditioned\\({next(iter(bad))}="):
        Preconditioned(**bad)
