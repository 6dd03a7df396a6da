from __future__ import annotations

import pytest
import torch
from torch import nn

import zmax
from zmax.core.budget import Ledger
from zmax.core.errors import InputError, UnknownNameError
from zmax.generators.zoo import NETWORKS, load
from zmax.generators.zoo.flow import FlowBlock
from zmax.generators.zoo.gan import StyledConv
from zmax.run.meter import Meter
from zmax.testing import GeneratorConformance

WEIGHTS = ("weight", "bias")


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


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_a_network_of_the_default_sizes_is_the_shipped_one(name):
    shapes = [{key: value.shape for key, value in made.state_dict().items()} for made in (NETWORKS[name](), load(name))]
    assert shapes[0] == shapes[1]


def test_a_block_without_modulation_is_that_of_a_plain_transformer():
    block, plain = FlowBlock(8, 2), nn.TransformerEncoderLayer(8, 2, 32, 0.0, "gelu", batch_first=True, norm_first=True)
    names = ("qkv.weight", "qkv.bias", "out.weight", "out.bias", *(f"mlp.{i}.{of}" for i in (0, 2) for of in WEIGHTS))
    with torch.no_grad():
        for name, weight in zip(names, plain.parameters(), strict=False):
            block.get_parameter(name).copy_(weight)
    x = torch.randn(3, 5, 8, generator=torch.Generator().manual_seed(0))
    gates = torch.tensor([0.0, 0.0, 1.0, 0.0, 0.0, 1.0])[None, :, None].expand(3, 6, 8)
    torch.testing.assert_close(block(x, gates), plain(x))


def test_a_fresh_layer_of_the_gan_keeps_the_variance():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # noqa: TID251 - initialisers
        layer = StyledConv(64, 64, 16, 4, kernel=1, demodulate=False)
    x = torch.randn(4, 64, 16, 16, generator=torch.Generator().manual_seed(0))
    assert float(layer(x, torch.zeros(4, 4)).detach().var()) == pytest.approx(1.0, abs=0.1)


def test_the_flow_shows_its_scale_from_minus_one_to_one_as_black_to_white():
    x = torch.tensor([-2.0, -1.0, 0.0, 1.0, 2.0])
    assert zmax.load_generator("avatars-flow").finish(x).tolist() == [0.0, 0.0, 0.5, 1.0, 1.0]


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
