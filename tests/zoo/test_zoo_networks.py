"""The shipped networks compute what their docstrings say, and each sample on its own."""

from __future__ import annotations

import pytest
import torch

from zmax.generators import zoo as generators
from zmax.generators.zoo.flow import AvatarFlow
from zmax.generators.zoo.gan import AvatarGAN, StyledConv
from zmax.generators.zoo.vae import AvatarVAE
from zmax.scores import zoo as judges
from zmax.scores.zoo.critic import Critic
from zmax.scores.zoo.heads import Heads

JUDGES = sorted(judges.NETWORKS)
GENERATORS = sorted(generators.NETWORKS)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(n: int) -> torch.Tensor:
    return torch.rand(n, 3, 16, 16, generator=rng())


def call(name: str, n: int) -> torch.Tensor:
    """What the shipped network returns for n inputs, the first m of which are those for m inputs."""
    if name in JUDGES:
        return judges.load(name)(images(n))
    network = generators.load(name)
    if name == "avatars-flow":
        return network(images(n), torch.linspace(0.1, 0.9, 8)[:n])
    return network(torch.randn(8, network.latent, generator=rng())[:n])


def test_modulated_convolution_is_that_of_modulated_weights() -> None:
    """Scaling maps before and after one shared convolution equals convolving each sample with its own weights."""
    layer = StyledConv(4, 5, 6, 7).double()
    x, w = torch.randn(3, 4, 6, 6, generator=rng()).double(), torch.randn(3, 7, generator=rng(1)).double()
    own = layer.weight[None] * layer.style(w)[:, None, :, None, None]
    own = own * torch.rsqrt(own.square().sum((2, 3, 4), keepdim=True) + 1e-8)
    expected = torch.cat([torch.nn.functional.conv2d(x[i : i + 1], own[i], padding=1) for i in range(3)])
    torch.testing.assert_close(layer(x, w), expected + layer.bias)


def test_one_w_for_all_layers_is_the_same_w_in_each_layer() -> None:
    network = generators.load("avatars-gan")
    assert isinstance(network, AvatarGAN)
    w = network.mapping(torch.randn(3, network.latent, generator=rng()))
    torch.testing.assert_close(network.synthesis(w[:, None].repeat(1, network.layers, 1)), network.synthesis(w))
    torch.testing.assert_close(network.synthesis(w), network(torch.randn(3, network.latent, generator=rng())))


def test_each_layer_of_w_plus_matters() -> None:
    network = generators.load("avatars-gan")
    w = network.mapping(torch.randn(2, network.latent, generator=rng()))
    plain = w[:1, None].repeat(1, network.layers, 1)
    for layer in range(network.layers):
        other = plain.clone()
        other[:, layer] = w[1]
        assert (network.synthesis(other) - network.synthesis(plain)).abs().max() > 1e-3


@pytest.mark.parametrize("name", GENERATORS + JUDGES)
def test_a_sample_does_not_depend_on_its_batch(name: str) -> None:
    torch.testing.assert_close(call(name, 8)[:3], call(name, 3), atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("name", GENERATORS + JUDGES)
def test_loaded_networks_are_frozen_float32_on_the_cpu(name: str) -> None:
    network = (generators if name in GENERATORS else judges).load(name)
    assert not network.training
    for value in network.parameters():
        assert (value.dtype, value.device.type, value.requires_grad) == (torch.float32, "cpu", False)


@pytest.mark.parametrize("name", ["avatars-gan", "avatars-vae"])
def test_pictures_are_in_the_unit_range_and_follow_z(name: str) -> None:
    network = generators.load(name)
    z = torch.randn(4, network.latent, generator=rng(), requires_grad=True)
    out = network(z)
    assert out.shape == (4, 3, 16, 16)
    assert 0 <= out.min() <= out.max() <= 1
    (slope,) = torch.autograd.grad(out.sum(), z)
    assert (slope.norm(dim=1) > 1e-3).all()


@pytest.mark.parametrize("name", JUDGES)
def test_judges_have_gradients_off_the_data(name: str) -> None:
    x = images(4).requires_grad_()
    (slope,) = torch.autograd.grad(judges.load(name)(x).sum(), x)
    assert (slope.flatten(1).norm(dim=1) > 1e-3).all()


def test_untrained_flow_predicts_no_velocity_and_knows_the_time() -> None:
    network = AvatarFlow(width=12, depth=1, heads=2)
    assert network(images(2), torch.tensor([0.2, 0.7])).abs().max() == 0  # zero-initialised output
    features = network.time_features(torch.tensor([0.0, 0.5]))
    torch.testing.assert_close(features[0], torch.cat([torch.ones(6), torch.zeros(6)]))
    torch.testing.assert_close(features.square().sum(1), torch.full((2,), 6.0))


def test_autoencoder_encodes_to_a_proper_law() -> None:
    network = AvatarVAE(latent=8, width=8)
    mean, log_variance = network.encode(images(3))
    assert mean.shape == log_variance.shape == (3, 8)
    assert network.decode(mean).shape == (3, 3, 16, 16)


def test_log_odds_of_a_yes_or_no_and_of_a_choice() -> None:
    heads = Heads([["hat"], ["hair-black", "hair-blond", "hair-red"]])
    logits = torch.randn(5, 4, generator=rng()).double()
    torch.testing.assert_close(heads.log_odds(logits, "hat"), torch.logit(torch.sigmoid(logits[:, 0])))
    probability = logits[:, 1:].softmax(1)
    for index, label in enumerate(heads.groups[1]):
        torch.testing.assert_close(heads.log_odds(logits, label), torch.logit(probability[:, index]))
    assert torch.equal(heads.predict(logits)[:, 1], logits[:, 1:].argmax(1))


def test_critic_has_one_logit_a_picture() -> None:
    assert Critic(width=8, hidden=8)(images(3)).shape == (3,)
