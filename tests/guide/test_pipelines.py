"""Pipelines of diffusers under every kind of method: search, noise optimisation, guidance, particles, path search."""

import functools

import pytest
import torch

import zmax
from tests.support.pipelines import CALLS, decoded, redness
from zmax.generators.diffusers.adapter import from_diffusers
from zmax.testing import tiny_pipeline

EVERY = pytest.mark.parametrize("kind", CALLS)
NFE = 96  # twice as many a preview under classifier-free guidance, and still not one more in all


@functools.cache
def pipeline(kind: str):
    return from_diffusers(tiny_pipeline(kind), **CALLS[kind])


@functools.cache
def plain(kind: str) -> float:
    return best(kind, "random").best.score


def best(kind: str, method: str) -> zmax.Result:
    S = zmax.score(redness, differentiable=method not in {"random", "snes", "fk", "svdd", "paths"})
    return zmax.maximize(pipeline(kind), S, method=method, budget=zmax.Budget(nfe=NFE), seed=0)


@EVERY
@pytest.mark.parametrize("method", ["snes", "gradient"])
def test_search_and_noise_optimisation(kind, method):
    r = best(kind, method)
    assert r.best.score > plain(kind) - 0.01
    assert r.ledger.nfe <= NFE
    again = decoded(pipeline(kind), r)
    torch.testing.assert_close(again[0], r.best.sample, atol=1e-4, rtol=0)


@EVERY
@pytest.mark.parametrize("method", ["fk", "das", "dps", "mpgd", "paths"])
def test_particles_guidance_and_path_search(kind, method):
    r = best(kind, method)
    assert r.ledger.nfe <= NFE
    assert r.ledger.previews > 0
    assert r.best.score > plain(kind) - 0.01
    path = pipeline(kind).stochastic()
    again = decoded(path, r)
    torch.testing.assert_close(again[0], r.best.sample, atol=1e-4, rtol=0)
