"""Zeroth: the estimate is unbiased, or the projection on the decoder's tangents; pulled back it is d S(G(u)) / d u."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from zmax.core.errors import InputError
from zmax.core.priors import shell
from zmax.core.proposal import Latents, Pullback, Pushforward, SamplesAt, Value
from zmax.core.rng import stream
from zmax.search import Zeroth
from zmax.search.ascent.zeroth import orthonormal
from zmax.testing import drive, linear_gaussian, quadratic_score
from zmax.testing.driver import evaluate


def linear_problem(m, d, seed=0):
    """G(u) = W u and S(x) = b^T x, so that the gradient in x is b and in u is W^T b."""
    rng = stream(seed, "zeroth")
    w, b = torch.randn(m, d, generator=rng).double(), torch.randn(m, generator=rng).double()
    law, score = linear_gaussian(w), quadratic_score(torch.zeros(m, m), b)
    return w, b, law, score


def until(kind, method, generator, score, state):
    """Go on until the method wants that."""
    while not isinstance((ask := method.ask(state)).want, kind) or isinstance(ask.at, SamplesAt):
        state = method.tell(state, evaluate(ask, generator, score))
    return state, ask


def test_the_pulled_back_gaussian_estimate_is_unbiased():
    """Its mean over 16,000 independent pairs is W^T b within 5 standard errors, coordinate by coordinate."""
    w, b, law, score = linear_problem(12, 5)
    method = Zeroth(batch=4000, pairs=4, directions="gaussian", sigma=0.5)
    state = method.init(law.generator().space, stream(1))
    _, ask = until(Pullback, method, law.generator(), score, state)
    pulled = evaluate(ask, law.generator(), score).grad.double()
    error = pulled.mean(0) - w.T @ b
    assert bool((error.abs() < 5 * pulled.std(0) / len(pulled) ** 0.5).all())


@pytest.mark.parametrize("pairs", [1, 3, 5, 7])
def test_the_tangent_estimate_is_the_projection_on_the_pushed_directions(pairs):
    """P b, with P the projector on the span of W v_i; with at least d pairs its pull-back is W^T b itself."""
    w, b, law, score = linear_problem(12, 5)
    method = Zeroth(batch=3, pairs=pairs)
    state = method.init(law.generator().space, stream(2))
    state, push = until(Pushforward, method, law.generator(), score, state)
    _, ask = until(Pullback, method, law.generator(), score, state)
    for i, v in enumerate(push.want.tangent.double().reshape(3, pairs, 5)):
        basis, _ = torch.linalg.qr((v @ w.T)[:5].T)
        assert torch.allclose(ask.want.cotangent[i].double(), basis @ (basis.T @ b), atol=2e-3)
    if pairs >= 5:
        pulled = evaluate(ask, law.generator(), score).grad.double()
        assert torch.allclose(pulled, (w.T @ b).expand(3, 5), rtol=1e-3, atol=1e-2)


def test_directions_are_orthogonal_of_unit_root_mean_square_and_surplus_ones_are_zero():
    tangents = torch.randn(2, 4, 3, 5, generator=stream(3))
    tangents[1, 2] = tangents[1, 0] - 2 * tangents[1, 1]
    e = orthonormal(tangents).flatten(2).double()
    assert torch.allclose(e[0] @ e[0].T, 15 * torch.eye(4).double(), atol=1e-4)
    assert torch.allclose(e[1] @ e[1].T, 15 * torch.diag(torch.tensor([1.0, 1, 1, 0])).double(), atol=1e-4)
    back = e[1].T @ e[1] / 15  # the projector leaves what it was made of
    assert torch.allclose(tangents[1].flatten(1).double() @ back, tangents[1].flatten(1).double(), atol=1e-4)


@pytest.mark.parametrize("directions", ["gaussian", "tangent"])
def test_a_linear_score_is_climbed_to_its_maximum_on_the_shell(directions):
    w, b, law, score = linear_problem(12, 10)
    top = float((w.T @ b).norm()) * shell(10, 0.5)[1]
    trace = drive(Zeroth(directions=directions), law.generator(), score, rounds=320)
    assert 0.98 * top <= trace.best <= top * (1 + 1e-6)


@pytest.mark.parametrize("directions", ["gaussian", "tangent"])
def test_a_step_costs_one_call_and_two_for_each_pair(directions):
    _, _, law, score = linear_problem(6, 4)
    trace = drive(Zeroth(batch=2, pairs=3, directions=directions), law.generator(), score, rounds=24)
    calls = dict.fromkeys((Latents, SamplesAt), 0)
    steps = sum(isinstance(proposal.want, Value) and isinstance(proposal.at, Latents) for proposal in trace.proposals)
    for proposal, evaluation in zip(trace.proposals, trace.evaluations, strict=True):
        calls[type(proposal.at)] += len(evaluation.score)
    assert calls == {Latents: 2 * steps, SamplesAt: 2 * steps * 6}


def test_a_failed_chain_is_redrawn_and_the_other_moves_as_if_alone():
    """The pairs of a failed sample say nothing; the other rows keep their order."""
    _, _, law, score = linear_problem(6, 4)
    method = Zeroth(batch=2, pairs=4)
    state = method.init(law.generator().space, stream(4))
    first = evaluate(method.ask(state), law.generator(), score)
    failed = replace(first, ok=torch.tensor([False, True]), score=torch.tensor([float("-inf"), first.score[1]]))
    start = state.ascent.u
    state = method.tell(state, failed)
    state, ask = until(Value, method, law.generator(), score, state)
    assert state.ascent.age.tolist() == [0, 1]
    assert not torch.allclose(ask.u[0], start[0])
    assert float(score(law.generator().decode(ask.u[1:])).detach()) > float(first.score[1])


@pytest.mark.parametrize("wrong", [{"pairs": 0}, {"sigma": 0.0}, {"directions": "random"}, {"step": -1.0}])
def test_arguments_are_checked(wrong):
    with pytest.raises(InputError):
        Zeroth(**wrong)
