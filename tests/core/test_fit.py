"""Codes of any kind, the two-sample test on held-out codes, and a normal law of codes that are not normal."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

import zmax
from zmax.core.empirical import Empirical
from zmax.core.errors import InputError
from zmax.core.fit import as_codes, two_sample
from zmax.core.priors import EDGE, Normal, Uniform
from zmax.core.rng import stream
from zmax.core.space import Space

K = 4


def normal(n, seed=0, k=K):
    return torch.randn(n, k, generator=stream(seed, "codes"))


def clusters(n, seed=0):
    """Two clusters far apart in the first coordinate."""
    codes = 0.3 * normal(n, seed)
    codes[: n // 2, 0] -= 3
    codes[n // 2 :, 0] += 3
    return codes


@pytest.mark.parametrize("kind", [lambda x: x, np.asarray, pd.DataFrame, lambda x: x.tolist()])
def test_codes_may_be_of_any_kind(kind):
    codes = normal(150)
    torch.testing.assert_close(as_codes(kind(codes)), codes)
    torch.testing.assert_close(Empirical.fit(kind(codes)).mean, codes.mean(0))


@pytest.mark.parametrize(
    "codes", [torch.zeros(3), [["a", "b"]], np.array([[1.0, np.nan]]), torch.zeros(0, 2), [[1], [2, 3]]]
)
def test_what_is_no_table_of_numbers_is_refused(codes):
    with pytest.raises(InputError, match="codes of a prior"):
        as_codes(codes)


def test_the_p_value_is_uniform_where_the_law_is_that_of_the_codes():
    p = torch.tensor([two_sample(Normal(), normal(40, seed), seed=seed).p for seed in range(60)])
    assert 0.35 < float(p.mean()) < 0.65
    assert 0.5 * 0.2 < float((p <= 0.2).double().mean()) < 2 * 0.2


@pytest.mark.parametrize("codes", [1.5 * normal(200), normal(200) + 0.5, clusters(200)], ids=["wide", "off", "two"])
def test_the_test_finds_codes_of_another_law(codes):
    assert two_sample(Normal(), codes).bad
    assert two_sample(Normal(), codes).distance > 0.03


def test_the_likelihood_of_held_out_codes_is_that_of_the_law():
    law = Empirical(torch.ones(K), 2 * torch.eye(K))
    codes = 1 + 2 * normal(30)
    known = torch.distributions.Normal(1.0, 2.0).log_prob(codes).sum(1).mean()
    assert two_sample(law, codes).log_likelihood == pytest.approx(float(known), rel=1e-5)
    assert two_sample(Uniform(-3, 3), codes).log_likelihood is None
    with pytest.raises(InputError, match="at least 20"):
        two_sample(law, codes[:19])


def test_normal_codes_stay_a_normal_law():
    law = Empirical.fit(normal(500))
    assert law.held_out is not None
    assert not law.held_out.bad
    assert law.codes is None
    assert law.doubt == ""
    assert Empirical.fit(normal(99)).held_out is None
    assert Empirical.fit(clusters(500), held_out=0.0).codes is None


@pytest.mark.parametrize("method", ["gradient", "cma"])
def test_a_search_stays_near_codes_where_their_law_is_not_normal(method):
    """The score asks for the gap; it was found there at plausibility 0.5 and more."""
    codes = clusters(400)
    law, space_of = Empirical.fit(codes), lambda prior: Space.of((K,), prior)
    gap = torch.zeros(1, K)
    before = Empirical.fit(codes, held_out=0.0)
    assert float(space_of(before).plausibility(before.to_white(gap))) > 0.5
    assert float(space_of(law).plausibility(law.to_white(gap))) < 0.01
    neighbour = torch.cdist(codes, codes).topk(2, largest=False).values[:, 1]
    G = zmax.generator(torch.nn.Identity(), shape=(K,), prior=law, modality="vector")
    S = zmax.score(lambda x: -x.square().sum(1), differentiable=True, name="gap")
    with pytest.warns(zmax.core.errors.ZmaxWarning, match="latent block 'z' is known by codes of no normal law"):
        result = zmax.maximize(G, S, method, budget=160, progress=False)
    away = float(torch.cdist(result.best.z[None], codes).min())
    assert away <= float(neighbour.quantile(0.96))
    assert result.best.plausibility >= 0.05
    assert any("Mixture.fit" in line for line in result.warnings)


def test_the_guard_of_codes_moves_what_is_far_and_nothing_else():
    law = Empirical.fit(clusters(400))
    space = Space.of((K,), law)
    u = 2 * normal(300, 1)
    p, there = space.plausibility(u), space.retract(u, EDGE)
    assert torch.equal(there[p > 0.06], u[p > 0.06])
    assert float(space.plausibility(there).min()) >= 0.05
    known = law.to_white(clusters(400))
    assert torch.equal(space.retract(known), known)
