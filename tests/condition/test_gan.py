"""A GAN that is told the score: labels are ranks, the generator's slope is the discriminator's, several are refused."""

from dataclasses import replace

import pytest
import torch
from torch.nn.functional import softplus

import zmax
from zmax.condition import GAN
from zmax.condition.gan import ALONE, ranks, requests
from zmax.core.errors import CapabilityError
from zmax.core.proposal import Evaluation
from zmax.core.quantiles import Quantiles
from zmax.core.rng import stream
from zmax.core.state import dump, restore
from zmax.core.tuner import Lesson, Models
from zmax.finetune.weights import child_told
from zmax.generators.mapped import linear
from zmax.natural.vicinal import Vicinal

NOTHING = Evaluation(torch.zeros(0, dtype=torch.float64), torch.zeros(0, dtype=torch.bool), None, range(0))


def models(names=("S",)):
    rng = stream(3)
    network = torch.nn.Sequential(linear(2, 16, rng), torch.nn.Tanh(), linear(16, 2, rng))
    parent = zmax.generator(network, shape=(2,), prior="normal", differentiable=True, modality="vector")
    u = torch.randn(300, 2, generator=rng)
    with torch.no_grad():
        x = parent.decode(parent.space.latents(u))
    score = x[:, :1].double().expand(-1, len(names))
    child = child_told(parent, Quantiles.fit(score), names)
    return Models(child.generator, parent, lesson=Lesson(x, score, u)), child


def test_labels_are_ranks_and_requests_their_inverse():
    score = torch.randn(500, 1, generator=stream(0), dtype=torch.float64).exp()
    law = Quantiles.fit(score)
    label = ranks(law, score)
    assert torch.allclose(label, score[:, 0].argsort().argsort().float() / 500, atol=0.01)
    assert torch.allclose(requests(law, label), score.float(), rtol=0.05, atol=0.01)


def test_the_discriminator_learns_alone_at_first_and_its_slope_is_what_the_generator_descends():
    both, child = models()
    method = GAN(steps=100, batch=16)
    state = method.init(both.child, stream(1))
    state, rollout = method.rollout(state, both, NOTHING)
    assert rollout is None
    state, rollout = method.rollout(replace(state, steps=int(ALONE * 100)), both, NOTHING)
    films = [weight for name, weight in child.weights.items() if ".film." in name]
    found = torch.autograd.grad(method.loss(both, rollout).sum(), films)
    critic = Vicinal.of(state.critic)
    made = both.child.asked(rollout["score"]).decode(rollout["noise"])
    label = ranks(both.child.ask.law, rollout["score"])
    direct = torch.autograd.grad(softplus(-critic(made, label)).sum(), films)
    assert sum(float(slope.norm()) for slope in found) > 0
    for one, other in zip(found, direct, strict=True):
        assert torch.allclose(one, other, rtol=1e-2, atol=1e-4)


def test_the_state_comes_back():
    both, _ = models()
    method = GAN(steps=100, batch=8)
    state, _ = method.rollout(method.init(both.child, stream(1)), both, NOTHING)
    again = restore(method.init(both.child, stream(2)), dump(state))
    one, other = (method.rollout(s, both, NOTHING)[0] for s in (state, again))
    assert all(torch.equal(value, other.critic[name]) for name, value in one.critic.items())


def test_several_scores_are_refused():
    both, _ = models(("S", "T"))
    with pytest.raises(CapabilityError, match="noise-map"):
        GAN().init(both.child, stream(0))
