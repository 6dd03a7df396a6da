"""Pipelines of diffusers under every kind of method: search, noise optimisation, guidance, particles, path search."""

import functools

import pytest
import torch

import zmax
from zmax.generators.diffusers import from_diffusers
from zmax.testing import tiny_pipeline

RED = "a red hat"
CASES = {
    "ddpm": {"num_inference_steps": 3},
    "stable-diffusion": {"prompt": RED, "num_inference_steps": 3},
    "sdxl": {"prompt": RED, "num_inference_steps": 3},
    "turbo": {"prompt": RED, "num_inference_steps": 1, "guidance_scale": 0.0},
    "lcm": {"prompt": RED, "num_inference_steps": 3},
    "pixart": {"prompt": RED, "num_inference_steps": 3, "use_resolution_binning": False, "clean_caption": False},
    "sd3": {"prompt": RED, "num_inference_steps": 3},
    "flux": {"prompt": RED, "num_inference_steps": 3, "height": 16, "width": 16, "max_sequence_length": 8},
}
EVERY = pytest.mark.parametrize("kind", CASES)
NFE = 96  # twice as many a preview under classifier-free guidance, and still not one more in all


@functools.cache
def pipeline(kind: str):
    return from_diffusers(tiny_pipeline(kind), **CASES[kind])


@functools.cache
def plain(kind: str) -> float:
    return best(kind, "random").best.score


def best(kind: str, method: str) -> zmax.Result:
    S = zmax.score(redness, differentiable=method not in {"random", "snes", "fk", "svdd", "paths", "trajectories"})
    return zmax.maximize(pipeline(kind), S, method=method, budget=zmax.Budget(nfe=NFE), seed=0)


def decoded(generator, r: zmax.Result) -> torch.Tensor:
    z = r.best.z
    return generator.decode(z[None] if isinstance(z, torch.Tensor) else {k: v[None] for k, v in z.items()})


def redness(images):
    return (images[:, 0] - images[:, 1:].mean(1)).mean((1, 2))


@EVERY
@pytest.mark.parametrize("method", ["snes", "gradient"])
def test_search_and_noise_optimisation(kind, method):
    r = best(kind, method)
    assert r.best.score > plain(kind) - 0.01
    assert r.ledger.nfe <= NFE
    with torch.no_grad():
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
    with torch.no_grad():
        again = decoded(path, r)
    torch.testing.assert_close(again[0], r.best.sample, atol=1e-4, rtol=0)
