"""Previews: what they show, what they cost, gradients against finite differences, and rows that fail alone."""

import pytest
import torch

import zmax
from zmax.core.budget import Budget, Ledger
from zmax.core.errors import InputError, ProposalError
from zmax.core.proposal import PathPoints, Proposal, Unscored, Value
from zmax.core.rng import stream
from zmax.run.evaluator import Evaluator
from zmax.run.meter import Meter
from zmax.testing import gaussian_mixture, quadratic_score
from zmax.testing.driver import drive

SCORE = quadratic_score([[1.0, 0.2], [0.2, 0.5]], [0.5, -0.3])


def generator():
    covs = [[[0.3, 0.1], [0.1, 0.2]], [[0.5, -0.2], [-0.2, 0.4]]]
    return gaussian_mixture([[-1.0, 0.5], [1.5, -0.5]], covs, [0.4, 0.6]).generator(steps=20, eta=1.0)


def points(*, scored=True, final=False, ahead=0, **wanted):
    x = torch.randn(4, 2, generator=stream(0), dtype=torch.float64)
    at = PathPoints(x, torch.full((4,), 0.4, dtype=torch.float64), x.float() if final else None, ahead)
    return Proposal(at, Value(samples=True, **wanted) if scored else Unscored())


def evaluated(proposal, *, score=SCORE, model=None):
    G, ledger = model or generator(), Ledger()
    with Meter(G.networks, ledger):
        batch = Evaluator(G, score, ledger, Budget(score_calls=1000)).evaluate(proposal)
    return batch, ledger


def test_a_preview_is_the_denoised_point_and_costs_one_evaluation():
    proposal = points()
    batch, ledger = evaluated(proposal)
    torch.testing.assert_close(batch.shown, generator().denoise(proposal.at.x, proposal.at.t))
    torch.testing.assert_close(batch.score, SCORE(batch.shown))
    assert (ledger.nfe, ledger.nfe_backward, ledger.score_calls, ledger.decodes, batch.u) == (4, 0, 4, 0, None)


@pytest.mark.parametrize(("by", "backward"), [("point", 4), ("sample", 0)])
def test_gradients_agree_with_finite_differences(by, backward):
    proposal = points(grad=by)
    batch, ledger = evaluated(proposal)
    G, h = generator(), 1e-5
    way = torch.randn(4, 2, generator=stream(1), dtype=torch.float64)

    def value(shift):
        if by == "point":
            return SCORE(G.denoise(proposal.at.x + shift, proposal.at.t))
        return SCORE(G.denoise(proposal.at.x, proposal.at.t) + shift)

    slope = (value(h * way) - value(-h * way)) / (2 * h)
    torch.testing.assert_close((batch.grad.double() * way).sum(1), slope, rtol=1e-4, atol=1e-5)
    assert ledger.nfe_backward == backward


def test_an_unscored_preview_asks_the_score_nothing():
    batch, ledger = evaluated(points(scored=False))
    assert (len(batch.score), ledger.score_calls, ledger.nfe) == (0, 0, 4)
    assert batch.shown.shape == (4, 2)


def test_steps_ahead_come_nearer_to_where_the_flow_leads():
    proposal = points()
    ends = [evaluated(points(ahead=k))[0].samples for k in (0, 4, 200)]
    assert float((ends[1] - ends[2]).norm()) < float((ends[0] - ends[2]).norm())
    batch, ledger = evaluated(points(ahead=4))
    assert ledger.nfe == 4 * 5
    torch.testing.assert_close(batch.shown, generator().denoise(proposal.at.x, proposal.at.t))


def test_blur_averages_the_exponential_of_the_score():
    blur = 0.3 * torch.randn(4, 8, 2, generator=stream(2), dtype=torch.float64)
    batch, ledger = evaluated(points(blur=blur, temperature=0.5))
    each = torch.stack([SCORE(batch.shown + blur[:, j]) for j in range(8)], 1)
    torch.testing.assert_close(batch.score, 0.5 * (each / 0.5).exp().mean(1).log())
    assert (ledger.score_calls, ledger.nfe) == (32, 4)


def test_a_row_that_fails_leaves_the_others_alone():
    def picky(x):
        if bool((x == bad).any()):
            raise ValueError("not this one")
        return x.sum(1)

    good = evaluated(points())[0]
    bad = good.shown[1, 0]
    batch, _ = evaluated(points(), score=zmax.score(picky, name="picky"))
    assert list(batch.failures) == [1]
    torch.testing.assert_close(batch.score[[0, 2, 3]], good.shown[[0, 2, 3]].sum(1))
    assert batch.shown.shape == (4, 2)


def test_a_generator_without_a_path_says_so():
    G = zmax.generator(torch.nn.Identity(), shape=(2,), modality="vector")
    with pytest.raises(ProposalError, match="no path"):
        evaluated(points(scored=False), model=G)


def test_rows_that_fail_bring_gradients_of_the_same_shape_as_the_others():
    flow = zmax.load_generator("avatars-flow:4").stochastic()
    x = torch.randn(2, 3, 16, 16, generator=stream(3))
    proposal = Proposal(PathPoints(x, torch.full((2,), 0.5)), Value(grad="point"))

    def down(samples):
        raise ValueError("down")

    evaluator = Evaluator(flow, zmax.score(down, name="down", differentiable=True), Ledger(), Budget(score_calls=1000))
    for rows in (slice(0, 2), slice(1, 2)):
        batch = evaluator.evaluate(proposal, rows)
        assert torch.equal(batch.grad, torch.zeros_like(x[rows]))


def test_smoothed_previews_overrun_the_score_calls_by_less_than_one_row():
    law = zmax.testing.gaussian_mixture([[0.0, 0.0]], [[[1.0, 0.0], [0.0, 1.0]]], [1.0])
    S = zmax.testing.quadratic_score(b=[1.0, 0.0])
    r = zmax.maximize(law.generator(steps=8, eta=1.0), S, zmax.guide.TFG(rows=5, smooth=3), budget=100, seed=0)
    assert 100 <= r.ledger.score_calls < 103


def test_a_timed_score_is_told_when_a_preview_is_and_zero_for_samples():
    seen = []

    def judge(samples, t):
        seen.append(t)
        return samples.sum(1) - t

    S = zmax.score(judge, timed=True, differentiable=False)
    plain, _ = evaluated(points(), score=S)
    evaluated(points(ahead=1), score=S)
    torch.testing.assert_close(plain.score, plain.shown.sum(1) - 0.4)
    mixed, _ = evaluated(points(), score=2 * S + zmax.score(lambda x: x[:, 0], differentiable=False, name="first"))
    torch.testing.assert_close(mixed.score, 2 * plain.score + plain.shown[:, 0])
    evaluated(points(final=True), score=S)
    assert [float(t[0]) for t in seen] == pytest.approx([0.4, 0.2, 0.4, 0.0])
    G = generator()
    r = zmax.maximize(G, S, "fk", 80, seed=0)
    torch.testing.assert_close(float(r.best.sample.sum()), r.best.score)
    arrays = zmax.score(lambda x, t: x.sum(1) - t, timed=True, numpy=True)
    torch.testing.assert_close(evaluated(points(), score=arrays)[0].score, plain.score)
    with pytest.raises(InputError, match="per_sample"):
        zmax.score(judge, timed=True, per_sample=True)


@pytest.mark.parametrize(
    "method", [zmax.guide.FKSteering(particles=4, ahead=2), zmax.guide.Paths(rows=4, keep=2, ahead=2)]
)
def test_sharper_previews_cost_their_steps_and_the_last_does_not(method):
    ledger = drive(method, generator(), SCORE, 20).ledger
    assert ledger.nfe == 4 * (19 * 3 + 1)
