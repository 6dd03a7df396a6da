"""One late step: its gradient in closed form, which steps are late, what a failure and a row are worth."""

from __future__ import annotations

import pytest
import torch

import zmax
from zmax.core.errors import InputError
from zmax.core.proposal import Evaluation
from zmax.core.rng import stream
from zmax.core.tuner import Models
from zmax.finetune import ReFL
from zmax.finetune.weights import child_of
from zmax.testing.trained import PointNetwork


def flow(steps: int = 8) -> zmax.Generator:
    network = PointNetwork(2, 8, stream(0, "test"))
    made = zmax.diffusion(network, shape=(2,), schedule="rectified-flow", steps=steps, parametrisation="velocity")
    return made.stochastic()


def told(score: torch.Tensor, grad: torch.Tensor) -> Evaluation:
    return Evaluation(score, torch.isfinite(score), None, range(len(score)), grad)


def scored(child: zmax.Generator, proposal) -> tuple[torch.Tensor, torch.Tensor]:
    """Return -|x_0 - 1|^2 of previews, with a graph to the weights, and its slope by them."""
    x_0 = child.denoise(proposal.at.x, proposal.at.t.to(proposal.at.x))
    return -(x_0 - 1).square().sum(1), -2 * (x_0 - 1).detach()


def test_the_loss_has_the_gradient_of_the_score_through_the_network_of_one_step():
    G, tuner = flow(), ReFL(batch=16, temperature=2.0)
    child = child_of(G)
    models = Models(child.generator, G)
    with torch.no_grad():
        state, proposal = tuner.collect(tuner.init(child.generator, stream(0)), models)
    score, slope = scored(child.generator, proposal)
    exact = torch.autograd.grad(-score.sum() / 2.0, list(child.weights.values()))
    _, rollout = tuner.rollout(state, models, told(score.detach(), slope))
    tuner.loss(models, rollout).sum().backward()
    for weight, grad in zip(child.weights.values(), exact, strict=True):
        assert torch.allclose(weight.grad, grad, atol=1e-5)
    assert all(check.ok for check in tuner.checks(models, rollout))


def test_one_step_among_the_last_quarter_is_drawn_for_a_round():
    G, tuner = flow(), ReFL(batch=4)
    models, seen = Models(G, G), set()
    state = tuner.init(G, stream(0))
    for _ in range(20):
        with torch.no_grad():
            state, proposal = tuner.collect(state, models)
        assert len(proposal.at.t.unique()) == 1
        assert proposal.u is None
        seen.add(float(proposal.at.t[0]))
    assert seen == {0.125, 0.25}


def test_points_are_those_of_paths_of_the_child():
    """Of standard normal data at any time: mean 0 and variance alpha^2 + sigma^2, by the exact denoiser."""
    law = zmax.testing.gaussian_mixture([[0.0, 0.0]], torch.eye(2)[None], [1.0])
    G = law.generator(steps=40, eta=1.0, schedule="rectified-flow").stochastic()
    with torch.no_grad():
        _, proposal = ReFL(batch=4000, late=0.05).collect(ReFL().init(G, stream(0)), Models(G, G))
    t = proposal.at.t[0]
    assert torch.allclose(proposal.at.x.double().var(0), ((1 - t) ** 2 + t**2).expand(2), rtol=0.1)


def test_rows_that_failed_are_left_out_and_rows_do_not_depend_on_each_other():
    G, tuner = flow(), ReFL(batch=6, temperature=1.0)
    models = Models(G, G)
    with torch.no_grad():
        state, proposal = tuner.collect(tuner.init(G, stream(0)), models)
    score, slope = scored(G, proposal)
    score = score.detach().masked_fill(torch.arange(6) == 2, -torch.inf)
    _, rollout = tuner.rollout(state, models, told(score, slope))
    assert torch.equal(rollout["x_t"], proposal.at.x[[0, 1, 3, 4, 5]])
    whole = tuner.loss(models, rollout)
    assert torch.allclose(whole[1:3], tuner.loss(models, rollout.at(torch.tensor([1, 2]))), atol=1e-6)
    assert tuner.rollout(state, models, told(score.fill_(-torch.inf), slope))[1] is None
    with pytest.raises(InputError, match="late"):
        ReFL(late=0.0)
