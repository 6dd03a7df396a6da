"""Flows as priors: the map, what is plausible, and how they are trained; with zuko where it is installed."""

from __future__ import annotations

import sys

import pytest
import torch
from torch import nn
from torch.distributions import AffineTransform, Independent, Normal, TransformedDistribution

import zmax
from zmax.core.errors import MissingExtraError
from zmax.core.rng import stream
from zmax.core.space import Space
from zmax.generators.flow_prior import FlowPrior
from zmax.generators.mapped import Coupling


class Law:
    """What a flow of zuko returns, of an invertible map with its determinant."""

    def __init__(self, flow):
        self.flow = flow

    @property
    def transform(self):
        return Transform(self.flow)

    def log_prob(self, z):
        u, log_det = self.flow(z, back=True)
        return -(u.square().sum(1) + u.shape[1] * 1.8378770664) / 2 + log_det


class Transform:
    def __init__(self, flow):
        self.flow = flow

    def __call__(self, z):
        return self.flow(z, back=True)[0]

    def inv(self, u):
        return self.flow(u)[0]


class Flow(nn.Module):
    def __init__(self, k):
        super().__init__()
        self.map = Coupling(k)

    def forward(self):
        return Law(self.map)


class Exact(nn.Module):
    """z = 3 u + 1, by torch's own classes."""

    def forward(self):
        base = Independent(Normal(torch.zeros(2), torch.ones(2)), 1)
        law = TransformedDistribution(base, [AffineTransform(1.0, 3.0, event_dim=1)])
        law.transform = AffineTransform(1.0, 3.0, event_dim=1).inv
        return law


def draws(n, k, seed=0):
    return torch.randn(n, k, generator=stream(seed, "flow codes"))


def banana(n, seed=0):
    x = draws(n, 2, seed)
    return torch.stack([2 * x[:, 0], x[:, 1] * 0.4 + x[:, 0].square()], 1)


def test_the_map_is_that_of_the_flow_in_units_of_the_codes():
    law = FlowPrior(Exact(), torch.tensor([10.0, 0.0]), torch.tensor([2.0, 1.0]))
    u = draws(20, 2)
    torch.testing.assert_close(law.to_latent(u), torch.stack([10 + 2 * (3 * u[:, 0] + 1), 3 * u[:, 1] + 1], 1))
    torch.testing.assert_close(law.to_white(law.to_latent(u)), u)
    known = Normal(torch.tensor([12.0, 1.0]), torch.tensor([6.0, 3.0])).log_prob(law.to_latent(u)).sum(1)
    torch.testing.assert_close(law.log_prob(law.to_latent(u)), known)


def test_plausibility_looks_at_norm_and_density():
    space = Space.of((2,), FlowPrior(Exact(), torch.zeros(2), torch.ones(2)))
    p = space.plausibility(draws(4000, 2))
    assert 0.03 < float((p <= 0.1).double().mean()) < 0.12
    assert float(space.plausibility(torch.tensor([[4.0, 0.0]]))) < 0.01


def test_training_makes_held_out_codes_likelier_and_the_test_says_when_it_fits():
    codes = banana(600)
    law = FlowPrior.fit(codes, Flow(2), epochs=30, rate=5e-3, seed=1)
    poor = FlowPrior.fit(codes, Flow(2), epochs=1, rate=1e-5)
    assert law.held_out.log_likelihood > poor.held_out.log_likelihood + 0.2
    assert not law.held_out.bad
    assert poor.held_out.bad
    assert "more codes or epochs" in poor.doubt
    few = [FlowPrior.fit(codes[:90], Flow(2), epochs=2, seed=1) for _ in range(2)]
    assert repr(few[0]) == repr(few[1]) != repr(poor)
    assert not any(weight.requires_grad for weight in law.flow.parameters())


def test_a_search_goes_along_the_codes():
    law = FlowPrior.fit(banana(300), Flow(2), epochs=20, rate=5e-3, held_out=0.0)
    G = zmax.generator(nn.Identity(), shape=(2,), prior=law, modality="vector", differentiable=True)
    best = zmax.maximize(G, lambda x: x[:, 0], "gradient", budget=60, progress=False).best
    x, y = best.z.tolist()
    assert x > 2
    assert abs(y - (x / 2) ** 2) < 2.5
    assert best.plausibility >= 0.01


def test_without_zuko_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "zuko.flows", None)
    with pytest.raises(MissingExtraError, match=r"zmax\[priors\]"):
        FlowPrior.fit(banana(40))


def test_the_spline_flow_of_zuko_fits_and_leaves_the_global_random_numbers_alone():
    pytest.importorskip("zuko")
    before = torch.get_rng_state()
    law = FlowPrior.fit(banana(200), epochs=10)
    assert torch.equal(before, torch.get_rng_state())
    u = draws(20, 2)
    torch.testing.assert_close(law.to_white(law.to_latent(u)), u, atol=1e-3, rtol=1e-3)
    assert law.held_out.log_likelihood > -5
