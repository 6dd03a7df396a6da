from __future__ import annotations

import pytest
import torch

import zmax
from zmax.core.budget import Ledger
from zmax.core.errors import InputError, UnknownNameError
from zmax.run.meter import Meter
from zmax.testing import GeneratorConformance


class TestGAN(GeneratorConformance):
    def make(self):
        return zmax.load_generator("avatars-gan")


class TestGANInW(GeneratorConformance):
    fd_step = 2e-3  # the whitened w bends more within a step

    def make(self):
        return zmax.load_generator("avatars-gan:w")


class TestFlow(GeneratorConformance):
    def make(self):
        return zmax.load_generator("avatars-flow:2")


class TestVAE(GeneratorConformance):
    def make(self):
        return zmax.load_generator("avatars-vae")


@pytest.mark.parametrize(
    ("name", "nfe"), [("avatars-gan", 1), ("avatars-gan:w", 1), ("avatars-flow", 8), ("avatars-flow:3", 3)]
)
def test_a_sample_costs_the_stated_number_of_network_evaluations(name, nfe):
    generator, ledger = zmax.load_generator(name), Ledger()
    with Meter(generator.networks, ledger):
        images = generator.decode(generator.space.latents(torch.zeros(5, generator.space.dim)))
    assert ledger.nfe == 5 * nfe
    assert images.shape == (5, 3, 16, 16)
    assert 0 <= images.min() <= images.max() <= 1


def test_w_is_whitened_so_that_prior_draws_look_like_mapped_ones():
    in_z, in_w = zmax.load_generator("avatars-gan"), zmax.load_generator("avatars-gan:w")
    rng = torch.Generator().manual_seed(0)
    w = in_z.networks[0].mapping(in_z.space.sample(4000, rng))
    u = in_w.space.whiten(w)
    assert u.mean(0).abs().max() < 0.1
    assert (u.var(0) - 1).abs().max() < 0.2


def test_the_flow_exposes_a_denoiser_that_gains_with_less_noise():
    flow = zmax.load_generator("avatars-flow")
    rng = torch.Generator().manual_seed(0)
    clean = 2 * flow.decode(flow.space.latents(flow.space.sample(16, rng))) - 1
    errors = []
    for t in (0.9, 0.5, 0.1):
        noisy = (1 - t) * clean + t * torch.randn(clean.shape, generator=rng)
        denoised = flow.denoise(noisy, torch.full((16,), t))
        errors.append(float((denoised - clean).square().mean()))
        assert errors[-1] < float((noisy - clean).square().mean())
    assert errors[0] > errors[1] > errors[2]


@pytest.mark.parametrize("name", ["avatars-flow:zero", "avatars-flow:0", "avatars-gan:q"])
def test_bad_arguments_say_what_would_do(name):
    with pytest.raises(InputError, match="expected"):
        zmax.load_generator(name)


def test_unknown_names_bring_the_nearest():
    with pytest.raises(UnknownNameError, match="avatars-gan"):
        zmax.load_generator("avatar-gan")
