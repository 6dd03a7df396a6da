"""Descending the score itself: its gradient in closed form, what a learned log-ratio is worth, truncation."""

from __future__ import annotations

import pytest
import torch

import zmax
from zmax.core.errors import CapabilityError, InputError
from zmax.core.proposal import Evaluation
from zmax.core.rng import stream
from zmax.core.tuner import Models
from zmax.finetune import AlignProp, Direct, DRaFT, Ranked
from zmax.finetune.weights import child_of
from zmax.natural.drift import Drift
from zmax.run.train import capped
from zmax.testing.trained import PointNetwork


def linear() -> zmax.Generator:
    network = torch.nn.Linear(3, 2)
    with torch.no_grad():
        network.weight.copy_(torch.tensor([[1.0, 0.5, 0.0], [0.0, 1.0, -1.0]]))
        network.bias.zero_()
    return zmax.generator(network, shape=(3,), modality="vector")


def flow(steps: int = 4) -> zmax.Generator:
    network = PointNetwork(2, 8, stream(0, "test"))
    return zmax.diffusion(network, shape=(2,), schedule="rectified-flow", steps=steps, parametrisation="velocity")


def told(samples: torch.Tensor, score: torch.Tensor, grad: torch.Tensor) -> Evaluation:
    return Evaluation(score, torch.isfinite(score), None, range(len(score)), grad, samples=samples)


def test_the_loss_has_the_gradient_of_the_score_through_the_decoder():
    G, tuner = linear(), Direct(batch=16, temperature=2.0, keep=0.0)
    child = child_of(G)
    models = Models(child.generator, G)
    state, proposal = tuner.collect(tuner.init(child.generator, stream(0)), models)
    x = child.generator.decode(child.generator.space.latents(proposal.u)).detach().requires_grad_()
    score = -(x - 1).square().sum(1)
    (grad,) = torch.autograd.grad(score.sum(), x)
    _, rollout = tuner.rollout(state, models, told(x.detach(), score.detach(), grad))
    tuner.loss(models, rollout).sum().backward()
    found = {name: weight.grad.clone() for name, weight in child.weights.items()}
    for weight in child.weights.values():
        weight.grad = None
    x = child.generator.decode(child.generator.space.latents(proposal.u))
    ((x - 1).square().sum() / 2.0).backward()
    for name, weight in child.weights.items():
        assert torch.allclose(found[name], weight.grad, atol=1e-5)


def test_a_row_of_the_loss_does_not_depend_on_the_others():
    G, tuner = linear(), Direct(batch=8, temperature=1.0, keep=0.0)
    models = Models(G, G)
    state, proposal = tuner.collect(tuner.init(G, stream(0)), models)
    x = G.decode(G.space.latents(proposal.u)).detach()
    _, rollout = tuner.rollout(state, models, told(x, x[:, 0], torch.ones_like(x)))
    whole = tuner.loss(models, rollout)
    assert torch.allclose(whole[2:5], tuner.loss(models, rollout.at(torch.arange(2, 5))), atol=1e-6)


def test_failed_samples_are_left_out():
    G, tuner = linear(), Direct(batch=4, temperature=1.0, keep=0.0)
    models = Models(G, G)
    state, proposal = tuner.collect(tuner.init(G, stream(0)), models)
    score = torch.tensor([1.0, -torch.inf, 2.0, -torch.inf])
    shown = [*G.decode(G.space.latents(proposal.u)).detach()]
    shown[1] = shown[3] = None
    _, rollout = tuner.rollout(state, models, told(shown, score, torch.ones(4, 2)))
    assert torch.equal(rollout["u"], proposal.u[[0, 2]])


def test_nothing_is_gained_above_a_ceiling():
    score, grad = torch.tensor([1.0, 3.0, -torch.inf]), torch.ones(3, 2)
    found = capped(told(torch.zeros(3, 2), score, grad), 2.0)
    assert found.score.tolist() == [1.0, 2.0, -torch.inf]
    assert found.grad[:, 0].tolist() == [1.0, 0.0, 1.0]
    assert capped(found, None) is found


def test_the_drift_is_that_of_gaussians():
    law = zmax.testing.linear_gaussian(torch.eye(2))
    G, shift, rng = law.generator(), torch.tensor([1.0, 0.0]), stream(0, "drift")
    drift = Drift.of(None, Models(G, G), rng)
    for _ in range(30):
        drift.learned(torch.randn(64, 2, generator=rng) + shift, rng)
    slope = drift.slope(torch.randn(256, 2, generator=rng) / 2 + shift / 2)
    assert torch.allclose(slope.mean(0), shift, atol=0.3)  # log q/p is x[0] - 1/2
    again = Drift.of(drift.tensors(), Models(G, G), rng)
    assert torch.equal(again.slope(shift[None]), drift.slope(shift[None]))


def test_kept_to_the_parent_it_comes_to_the_tilted_law():
    G = linear()
    S = zmax.score(lambda x: x[:, 0], differentiable=True, name="first")
    settings = {"rate": 1e-2, "keep": "last", "looks": 1, "progress": False}
    t = zmax.finetune(G, S, Direct(temperature=1.0), 6000, **settings)
    u = G.space.sample(4000, stream(1, "test"))
    with torch.no_grad():
        x, y = G.decode(G.space.latents(u)), t.generator.decode(G.space.latents(u))
    exact = torch.tensor([1.25, 0.5])  # C b / T with C = W W^T
    assert torch.allclose(y.mean(0) - x.mean(0), exact, atol=0.35)
    assert torch.allclose(y.std(0), x.std(0), rtol=0.3)
    plain = zmax.finetune(
        G, S, Direct(temperature=1.0, keep=0.0), 6000, rate=1e-2, keep="last", looks=1, progress=False
    )
    assert plain.after.look.score > t.after.look.score + 0.3


def test_truncation_is_one_for_a_round_and_needs_steps():
    G, tuner = flow(), AlignProp(batch=6, temperature=1.0)
    models = Models(G, G)
    seen = set()
    state = tuner.init(G, stream(0))
    for _ in range(12):
        state, proposal = tuner.collect(state, models)
        x = G.decode(G.space.latents(proposal.u)).detach()
        state, rollout = tuner.rollout(state, models, told(x, x[:, 0], torch.ones_like(x)))
        assert len(rollout["last"].unique()) == 1
        seen |= set(rollout["last"].tolist())
    assert seen == {1, 2, 3, 4}
    with pytest.raises(CapabilityError, match="memory"):
        DRaFT().init(linear(), stream(0))
    with pytest.raises(InputError, match="keep"):
        Direct(keep=-1)


def test_ranked_draws_the_best_most_often_and_remembers_them():
    G, tuner = flow(), Ranked(batch=50, rows=2000, sharpness=0.02)
    models = Models(G, G)
    state, _ = tuner.collect(tuner.init(G, stream(0)), models)
    x_0 = state.fresh
    score = torch.arange(50.0)
    state, rollout = tuner.rollout(state, models, told(x_0, score, None))
    assert torch.equal(state.best[0][0], x_0[49])
    share = (rollout["x_0"] == x_0[49]).all(1).float().mean()
    weight = 1 / (1.0 + torch.arange(50.0))
    assert float(share) == pytest.approx(float(weight[0] / weight.sum()), abs=0.04)
    assert torch.allclose(
        rollout["x_t"],
        (1 - rollout["t"])[:, None].float() * rollout["x_0"] + rollout["t"][:, None].float() * rollout["noise"],
        atol=1e-5,
    )
    state, _ = tuner.collect(state, models)
    state, _ = tuner.rollout(state, models, told(state.fresh, score - 100, None))
    assert torch.equal(state.best[0][0], x_0[49])
    assert len(state.best[0]) == 100
