from __future__ import annotations

import pytest
import torch
from torch import nn

import zmax
from tests.run.toys import Flaky, first, identity, sphere
from zmax.core.budget import Budget, Ledger
from zmax.core.proposal import Latents, Proposal, SamplesAt, Value
from zmax.run.evaluator import Evaluator


def points(n: int, dim: int = 8) -> torch.Tensor:
    return torch.randn(n, dim, generator=torch.Generator().manual_seed(n))


def evaluate(generator, score, u, *, grad=False):
    ledger = Ledger()
    evaluator = Evaluator(generator, zmax.score(score), ledger, Budget(score_calls=1000))
    return evaluator.evaluate(Proposal(Latents(u), Value(grad="point" if grad else ""))), ledger


@pytest.mark.parametrize("how", ["nan", "inf", "-inf", "raise"])
def test_a_bad_sample_is_recorded_and_takes_nothing_along(how):
    u = points(12)
    u[:, 0] = torch.linspace(-1, 0.5, 12)
    u[3, 0], u[7, 0] = 2.0, 3.0
    batch, ledger = evaluate(identity(), Flaky(how), u)
    assert set(batch.failures) == {3, 7}
    assert ledger.failures == 2
    good = [i for i in range(12) if i not in (3, 7)]
    assert torch.equal(batch.score[good], u[good, 0])
    assert (batch.score[[3, 7]] == float("-inf")).all()
    assert all(("too high" if how == "raise" else how) in reason for reason in batch.failures.values())


def test_a_score_that_always_raises_is_given_up_after_a_few_rows():
    score = Flaky("raise", above=float("-inf"))
    batch, ledger = evaluate(identity(), score, points(32))
    assert len(batch.failures) == ledger.failures == 32
    assert score.calls == 32 + 16  # the batch, then sixteen samples alone
    assert "not tried" in batch.failures[31]


def test_every_score_call_is_charged_even_when_it_is_wasted():
    score = Flaky("raise", above=1.0)
    u = points(6)
    u[:, 0] = torch.tensor([0.0, 2.0, 0.0, 0.0, 0.0, 0.0])
    _, ledger = evaluate(identity(), score, u)
    assert ledger.score_calls == score.calls == 12


def test_wrong_length_is_named_with_both_shapes():
    batch, _ = evaluate(identity(), lambda x: x[:1, 0].expand(2), points(4))
    assert all("(2,)" in reason or "expected" in reason for reason in batch.failures.values())
    assert len(batch.failures) == 4


def test_gradient_is_that_of_each_sample_alone_and_zero_where_it_failed():
    u = points(5)
    u[2] = float("nan")
    batch, ledger = evaluate(identity(), sphere, u, grad=True)
    good = [0, 1, 3, 4]
    assert torch.allclose(batch.grad[good], -2 * (u[good] - 1))
    assert (batch.grad[2] == 0).all()
    assert 2 in batch.failures
    assert ledger.score_grads == 5


def test_a_gradient_that_is_not_finite_is_zeroed_and_counted():
    u = points(3)
    u[1, 0] = 0.0
    batch, ledger = evaluate(identity(), zmax.score(lambda x: x[:, 0].abs().sqrt(), differentiable=True), u, grad=True)
    assert ledger.bad_gradients == 1
    assert (batch.grad[1] == 0).all()
    assert not batch.failures


def test_samples_are_scored_as_they_are_and_differentiated_in_any_chunking():
    x = points(6)
    evaluator = Evaluator(identity(), zmax.score(sphere), Ledger(), Budget(score_calls=1000))
    for grad in ("point", "sample"):
        proposal = Proposal(SamplesAt(x), Value(grad=grad))
        whole = evaluator.evaluate(proposal)
        parts = [evaluator.evaluate(proposal, slice(i, i + 2)) for i in (0, 2, 4)]
        assert torch.allclose(whole.grad, -2 * (x - 1), atol=1e-5)
        assert torch.equal(torch.cat([p.grad for p in parts]), whole.grad)
        assert whole.u is None
    assert evaluator.ledger.decodes == 0


def test_the_gradient_past_the_decoder_is_that_by_the_sample():
    G, u = zmax.generator(nn.Linear(8, 3), shape=(8,)), points(4)
    batch = Evaluator(G, zmax.score(sphere), Ledger(), Budget(score_calls=1000)).evaluate(
        Proposal(Latents(u), Value(grad="sample", samples=True))
    )
    assert torch.allclose(batch.grad, -2 * (batch.shown - 1), atol=1e-5)
    assert torch.allclose(batch.shown, G.decode(u).detach())


def test_a_batch_without_a_graph_has_zero_gradients_and_says_so():
    detached = zmax.score(lambda x: x.detach()[:, 0], differentiable=True)
    batch, ledger = evaluate(identity(), detached, points(2), grad=True)
    assert (batch.grad == 0).all()
    assert ledger.bad_gradients == 2
    assert not batch.failures


@pytest.mark.filterwarnings("ignore:the score .lambda. writes")
def test_work_in_place_harms_no_one():
    u = points(4)
    before = u.clone()
    batch, _ = evaluate(zmax.generator(lambda z: z.mul_(0.1), shape=(8,)), lambda x: x.mul_(2)[:, 0], u)
    assert torch.equal(u, before)
    assert torch.equal(batch.u, before)


def test_scores_keep_their_double_precision():
    batch, _ = evaluate(identity(), lambda x: 1e8 + x[:, 0].double(), points(50))
    assert len(batch.score.unique()) == 50


def test_isolating_bad_samples_stops_with_the_budget():
    ledger = Ledger()
    score = Flaky("raise", above=-9.0)
    evaluator = Evaluator(identity(), zmax.score(score), ledger, Budget(score_calls=14))
    batch = evaluator.evaluate(Proposal(Latents(points(12))))
    assert ledger.score_calls == score.calls == 14
    assert "budget ended" in batch.failures[11]


def test_parts_of_a_combined_score_come_from_one_call_each():
    calls = []

    def counted(x):
        calls.append(len(x))
        return x[:, 1]

    both = 2.0 * zmax.score(first, name="a") + zmax.score(counted, name="b") * zmax.score(first, name="c")
    u = points(4)
    batch, _ = evaluate(identity(), both, u)
    assert calls == [4]
    assert torch.allclose(batch.score, (2 * u[:, 0] + u[:, 1] * u[:, 0]).double())
    assert torch.equal(batch.parts["b"], u[:, 1].double())


def test_a_generator_that_returns_the_wrong_number_of_samples_is_rescued_row_by_row_and_that_is_said():
    broken = zmax.generator(lambda z: z[:1], shape=(8,), name="broken")
    u = points(3)
    with pytest.warns(UserWarning, match=r"batches fail \(.*samples of 'broken'.*rows go one by one"):
        batch, ledger = evaluate(broken, first, u)
    assert torch.equal(batch.score, u[:, 0].double())
    assert ledger.decodes == 6


def test_evaluating_leaves_no_graph_behind():
    layer = nn.Linear(8, 8)
    batch, _ = evaluate(zmax.generator(layer, shape=(8,)), sphere, points(4), grad=True)
    assert not batch.samples.requires_grad
    assert all(p.grad is None for p in layer.parameters())
