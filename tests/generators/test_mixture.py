"""Mixtures of normal laws: the map, what is plausible, and how they are fitted to codes."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

import zmax
from zmax.core.errors import InputError, MissingExtraError, ShapeError
from zmax.core.priors import EDGE
from zmax.core.rng import stream
from zmax.core.space import Block, Space
from zmax.generators.mixture import Mixture
from zmax.testing import gaussian_mixture

MEANS = torch.tensor([[-4.0, 0.0, 1.0], [4.0, 0.0, 1.0], [0.0, 6.0, -1.0]], dtype=torch.float64)
TALL = torch.diag(torch.tensor([0.5, 1.0, 2.0]))
FACTORS = torch.stack([torch.eye(3), TALL, torch.eye(3) + 0.3]).double().tril()
WEIGHTS = torch.tensor([0.6, 0.3, 0.1], dtype=torch.float64)
LAW = Mixture(WEIGHTS, MEANS, FACTORS)
SPACE = Space((Block("noise", (2,)), Block("code", (3,), LAW)))


def draws(n, k, seed=0):
    return torch.randn(n, k, generator=stream(seed, "mixture"), dtype=torch.float64)


def clusters(n, seed=0):
    codes = draws(n, 3, seed)
    codes[:, 0] += torch.where(torch.arange(n) % 3 == 0, -8.0, 8.0)
    return codes


def test_the_law_is_that_of_the_mixture():
    z = LAW.to_latent(draws(20_000, 4))
    exact = gaussian_mixture(MEANS, FACTORS @ FACTORS.mT, WEIGHTS)
    for i in range(3):
        known = exact.sample(20_000, stream(1))[:, i]
        assert stats.ks_2samp(z[:, i].numpy(), known.numpy()).pvalue > 1e-3
    assert bool(((z.mean(0) - WEIGHTS @ MEANS).abs() < 0.1).all())
    log = torch.distributions.MixtureSameFamily(
        torch.distributions.Categorical(WEIGHTS), torch.distributions.MultivariateNormal(MEANS, scale_tril=FACTORS)
    ).log_prob(z[:50])
    torch.testing.assert_close(LAW.log_prob(z[:50]), log)


def test_latents_survive_the_round_trip_and_the_component_is_a_category():
    u = draws(300, SPACE.dim)
    z = SPACE.latents(u)
    assert {name: tuple(part.shape) for name, part in z.items()} == {"noise": (300, 2), "code": (300, 3)}
    torch.testing.assert_close(SPACE.latents(SPACE.whiten(z))["code"], z["code"])
    codes, free = SPACE.parted(u)
    assert SPACE.levels == (3,)
    assert free.shape == (300, 5)
    torch.testing.assert_close(SPACE.latents(SPACE.joined(codes, free))["code"], z["code"])
    assert torch.autograd.gradcheck(LAW.to_latent, (draws(5, 4).requires_grad_(),))


def test_a_single_component_is_a_normal_law():
    law = Mixture(torch.ones(1), MEANS[:1].float(), FACTORS[1:2].float())
    space = Space.of((3,), law)
    assert (space.dim, space.levels) == (3, ())
    u = draws(50, 3).float()
    torch.testing.assert_close(law.to_white(law.to_latent(u)), u)


def test_plausibility_is_that_in_the_component_and_the_guard_keeps_points_there():
    space = Space.of((3,), LAW)
    u = draws(20_000, 4)
    assert stats.kstest(space.plausibility(u).numpy(), stats.uniform().cdf).pvalue > 1e-3
    for gap in ([0.0, 0.0, 1.0], [0.0, 3.0, 9.0]):
        white = space.whiten(torch.tensor([gap], dtype=torch.float64))
        assert float(space.plausibility(white)) < 0.02
        there = space.retract(white, EDGE)
        assert float(space.plausibility(there)) >= 0.05
        assert torch.equal(space.parted(there)[0], space.parted(white)[0])


@pytest.mark.parametrize("kind", [lambda x: x, np.asarray, pd.DataFrame])
def test_a_fit_finds_the_clusters_and_says_that_it_fits(kind):
    law = Mixture.fit(kind(clusters(300)))
    assert law.held_out is not None
    assert not law.held_out.bad
    assert law.doubt == ""
    assert len(law.weights) == 2
    assert law.weights.sort().values.tolist() == pytest.approx([1 / 3, 2 / 3], abs=0.01)
    assert law.means[:, 0].sort().values.tolist() == pytest.approx([-8, 8], abs=0.4)


def test_too_few_components_are_told_by_held_out_codes():
    law = Mixture.fit(clusters(300), 1)
    assert law.held_out.bad
    assert "does not fit its codes: p = 0.0" in law.doubt
    better = Mixture.fit(clusters(300), 2)
    assert better.held_out.log_likelihood > law.held_out.log_likelihood + 1
    assert Mixture.fit(clusters(300), 2, held_out=0.0).held_out is None


@pytest.mark.parametrize("method", ["gradient", "cma", "casmopolitan"])
def test_a_search_finds_the_better_cluster_and_never_the_gap(method):
    codes = clusters(300)
    G = zmax.generator(torch.nn.Identity(), shape=(3,), prior=Mixture.fit(codes, 2), modality="vector")
    S = zmax.score(lambda x: -(x[:, 0] + 2.0).abs(), differentiable=True, name="gap")
    best = zmax.maximize(G, S, method, budget=100, progress=False).best
    assert -5.5 < float(best.z[0]) - 0.0 < -4.0
    assert best.plausibility >= 0.05


def test_what_cannot_be_fitted_is_refused(monkeypatch):
    with pytest.raises(ShapeError, match="weights, means and factors"):
        Mixture(torch.ones(2), torch.zeros(3, 2), torch.zeros(3, 2, 2))
    with pytest.raises(InputError, match="at least 5"):
        Mixture.fit(clusters(4), 5)
    monkeypatch.setitem(__import__("sys").modules, "sklearn.mixture", None)
    with pytest.raises(MissingExtraError, match=r"zmax\[priors\]"):
        Mixture.fit(clusters(40), 2)
