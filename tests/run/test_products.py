"""Jacobian products through the loop: what they return, what they cost, and that replay repeats them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import pytest
import torch

import zmax
from zmax.core.budget import Budget, Ledger
from zmax.core.errors import CapabilityError, ProposalError
from zmax.core.proposal import Latents, PathPoints, Proposal, Pullback, Pushforward, SamplesAt, Value
from zmax.core.rng import stream
from zmax.core.state import STATIC
from zmax.core.strategy import Need, Strategy
from zmax.run import rounds as loop
from zmax.run.evaluator import Evaluator
from zmax.run.meter import Meter
from zmax.testing import gaussian_mixture, linear_gaussian

W = torch.randn(5, 7, generator=stream(0, "W")).double()


@pytest.fixture
def linear():
    return linear_gaussian(W).generator()


def evaluator(generator, ledger):
    return Evaluator(generator, zmax.score(lambda x: x[:, 0], name="s"), ledger, Budget(score_calls=100))


def test_products_are_those_of_the_matrix(linear):
    ledger, u = Ledger(), torch.randn(4, 7, generator=stream(1))
    cotangent, tangent = torch.randn(4, 5, generator=stream(2)), torch.randn(4, 7, generator=stream(3))
    with Meter(linear.networks, ledger):
        pulled = evaluator(linear, ledger).evaluate(Proposal(Latents(u), Pullback(cotangent)), slice(0, 4))
        pushed = evaluator(linear, ledger).evaluate(Proposal(Latents(u), Pushforward(tangent)), slice(1, 3))
    torch.testing.assert_close(pulled.grad, (cotangent.double() @ W).float())
    torch.testing.assert_close(pushed.grad, (tangent[1:3].double() @ W.T).float())
    assert (ledger.score_calls, ledger.score_grads, ledger.decodes) == (0, 0, 6)
    assert (ledger.nfe, ledger.nfe_backward) == (6, 8)


def test_products_of_a_curved_decoder_match_finite_differences():
    G = zmax.load_generator("avatars-vae")
    u, v = G.space.sample(2, stream(4)), G.space.sample(2, stream(5))
    c = torch.randn(2, 3, 16, 16, generator=stream(6))
    judge = evaluator(G, Ledger())
    pushed = judge.evaluate(Proposal(Latents(u), Pushforward(v)), slice(0, 2)).grad
    pulled = judge.evaluate(Proposal(Latents(u), Pullback(c)), slice(0, 2)).grad
    torch.testing.assert_close((pushed * c).sum((1, 2, 3)), (pulled * v).sum(1), rtol=1e-3, atol=1e-4)
    with torch.no_grad():
        h = 1e-2
        slope = (G.decode(u + h * v) - G.decode(u - h * v)) / (2 * h)
    assert float((slope - pushed).norm() / slope.norm()) < 0.02


def test_a_cotangent_of_another_shape_is_refused(linear):
    with pytest.raises(ProposalError, match="cotangents"):
        evaluator(linear, Ledger()).evaluate(
            Proposal(Latents(torch.zeros(2, 7)), Pullback(torch.zeros(2, 4))), slice(0, 2)
        )


@dataclass(frozen=True)
class WalkState:
    """Where it is, what it is about to ask, and what came back."""

    u: torch.Tensor
    turn: int
    x: torch.Tensor
    space: zmax.Space = field(metadata=STATIC)


class Walk(Strategy[WalkState]):
    """Scores points, perturbs their samples, pulls the difference back, and moves: every kind of proposal in turn."""

    needs = frozenset({Need.JACOBIAN})

    def __init__(self, *, batch: int = 3) -> None:
        self.batch = batch

    def init(self, space, rng):
        return WalkState(space.sample(self.batch, rng), 0, torch.zeros(0), space)

    def ask(self, state):
        if state.turn == 0:
            return Proposal(Latents(state.u), Value(samples=True))
        if state.turn == 1:
            return Proposal(SamplesAt(state.x + 50), Value(samples=True))
        return Proposal(Latents(state.u), Pullback(state.x))

    def tell(self, state, evaluation):
        if state.turn == 0:
            return replace(state, turn=1, x=evaluation.samples)
        if state.turn == 1:
            assert torch.equal(evaluation.samples, state.x + 50)
            return replace(state, turn=2)
        assert len(evaluation.score) == 0
        return replace(state, turn=0, u=state.space.retract(state.u + 0.1 * evaluation.grad))


def test_previews_are_history_but_never_the_best(linear):
    r = zmax.maximize(linear, lambda x: x[:, 0], Walk(), 100)
    assert r.history.score[~r.history.final].min() > 30
    assert r.best.score < 30
    assert r.history.best_so_far()[-1] == pytest.approx(r.best.score)
    assert list(r.history.id) == list(range(98))
    assert set(r.history.to_pandas().columns) >= {"final"}


def test_a_run_with_products_replays_bit_for_bit(linear, tmp_path, monkeypatch):
    S = zmax.score(lambda x: x[:, 0], name="s")
    straight = zmax.maximize(linear, S, Walk(), 300, batch_size=2)

    class Stop:
        def __init__(self, after):
            self.left = after

        def started(self, spec):
            pass

        def updated(self, snapshot):
            self.left -= 1
            if not self.left:
                raise RuntimeError("killed")

        def finished(self, reason):
            pass

    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 1e9)
    for after in (20, 31, 52):
        folder = tmp_path / str(after)
        with pytest.raises(RuntimeError, match="killed"):
            zmax.maximize(linear, S, Walk(), 300, batch_size=2, out=folder, progress=Stop(after))
        resumed = zmax.resume(folder, linear, S, method=Walk())
        assert np.array_equal(straight.history.score, resumed.history.score)
        for name in ("score_calls", "decodes", "nfe", "nfe_backward"):
            assert getattr(resumed.ledger, name) == getattr(straight.ledger, name), name


def test_a_method_that_pulls_back_needs_a_differentiable_generator():
    blind = zmax.generator(lambda z: z.numpy(), shape=(4,), differentiable=False, name="blind")
    with pytest.raises(CapabilityError, match="blind"):
        zmax.maximize(blind, lambda x: x[:, 0], Walk(), 100)


def test_products_at_path_points_are_those_of_the_denoiser():
    """J^T c and J v with J = d E[x_0 | x_t] / d x_t, for one Gaussian alpha C (alpha^2 C + sigma^2 I)^-1."""
    cov = torch.tensor([[0.5, 0.2], [0.2, 0.3]]).double()
    G = gaussian_mixture(torch.zeros(1, 2), cov[None], torch.ones(1)).generator(steps=8)
    x, c = torch.randn(3, 2, generator=stream(7)).double(), torch.randn(3, 2, generator=stream(8)).double()
    t = torch.full((3,), 0.4, dtype=torch.float64)
    alpha, sigma = G.schedule.alpha(t)[0], G.schedule.sigma(t)[0]
    jacobian = alpha * cov @ torch.linalg.inv(alpha**2 * cov + sigma**2 * torch.eye(2).double())
    judge = evaluator(G, ledger := Ledger())
    with Meter(G.networks, ledger):
        pulled = judge.evaluate(Proposal(PathPoints(x, t), Pullback(c)))
        pushed = judge.evaluate(Proposal(PathPoints(x, t), Pushforward(c)))
    torch.testing.assert_close(pulled.grad, (c @ jacobian).float())
    torch.testing.assert_close(pushed.grad, (c @ jacobian.T).float())
    assert (len(pulled.score), ledger.previews, ledger.decodes, ledger.nfe_backward) == (0, 6, 0, 3 + 6)


def test_a_product_that_raises_fails_its_own_rows_alone(linear):
    def fragile(z):
        if bool((z[:, 0] > 1).any()):
            raise ValueError("too far out")
        return 2 * z

    G, u = zmax.generator(fragile, shape=(7,)), torch.zeros(4, 7)
    u[2, 0] = 2.0
    batch = evaluator(G, Ledger()).evaluate(Proposal(Latents(u), Pullback(torch.ones(4, 7))))
    assert set(batch.failures) == {2}
    assert torch.equal(batch.grad, 2 * (torch.arange(4) != 2).float()[:, None].expand(4, 7))
