"""The shipped weights are as good as their cards say, on 256 held-out pictures."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from zmax.generators import zoo as generators
from zmax.scores import zoo as judges

SAMPLE = Path(__file__).parents[1] / "data" / "avatars-heldout.npz"
WEIGHTS = {
    name: Path(str(package.__file__)).parent / "weights" / f"{name}.safetensors"
    for package in (generators, judges)
    for name in package.NETWORKS
}


@pytest.fixture(scope="module")
def held_out() -> tuple[torch.Tensor, torch.Tensor]:
    with np.load(SAMPLE) as archive:
        images = torch.from_numpy(archive["images"]).permute(0, 3, 1, 2).float() / 255
        return images, torch.from_numpy(archive["labels"]).long()


@pytest.mark.parametrize("name", ["attribute", "attribute-judge"])
def test_labels_of_held_out_pictures_are_read(name: str, held_out: tuple[torch.Tensor, torch.Tensor]) -> None:
    images, labels = held_out
    network: Any = judges.load(name)
    seen = labels >= 0
    right = (network.heads.predict(network(images)) == labels) & seen
    shares = right.sum(0) / seen.sum(0)
    assert shares.mean() >= 0.99
    assert shares.min() >= 0.97


@pytest.mark.parametrize("name", ["attribute", "attribute-judge"])
def test_weak_noise_does_not_change_the_reading(name: str, held_out: tuple[torch.Tensor, torch.Tensor]) -> None:
    images, _ = held_out
    network: Any = judges.load(name)
    noise = 0.03 * torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
    same = network.heads.predict(network(images)) == network.heads.predict(network(images + noise))
    assert same.float().mean() >= 0.98


def test_critic_prefers_pictures_to_damaged_pictures(held_out: tuple[torch.Tensor, torch.Tensor]) -> None:
    images, _ = held_out
    critic = judges.load("critic")
    noise = 0.15 * torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
    assert (critic(images) > critic((images + noise).clamp(0, 1))).float().mean() >= 0.95
    assert (critic(images) > critic(images.lerp(images.roll(1, 0), 0.5))).float().mean() >= 0.95


def test_autoencoder_rebuilds_held_out_pictures(held_out: tuple[torch.Tensor, torch.Tensor]) -> None:
    images, _ = held_out
    network: Any = generators.load("avatars-vae")
    mean, _ = network.encode(images)
    assert (network.decode(mean) - images).abs().mean() < 0.06 < (images.mean(0) - images).abs().mean()


def test_flow_denoises(held_out: tuple[torch.Tensor, torch.Tensor]) -> None:
    """E[x_0 | x_t] = x_t - t v(x_t, t) is far nearer to x_0 than x_t is."""
    images, _ = held_out
    clean = 2 * images - 1
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    network = generators.load("avatars-flow")
    for t, share in ((0.1, 0.4), (0.5, 0.2)):
        mixed = (1 - t) * clean + t * noise
        guess = mixed - t * network(mixed, torch.full((len(clean),), t))
        assert (guess - clean).square().mean() < share * (mixed - clean).square().mean()


@pytest.mark.parametrize("name", sorted(WEIGHTS))
def test_cards_name_the_weights_that_are_shipped(name: str) -> None:
    card = (generators if name in generators.NETWORKS else judges).card(name)
    assert card["sha256"] == hashlib.sha256(WEIGHTS[name].read_bytes()).hexdigest()
    assert card["bytes"] == WEIGHTS[name].stat().st_size
    assert {"licence of the weights", "data", "quality", "parameters", "training steps"} <= card.keys()
    json.dumps(card)


def test_all_weights_together_are_small() -> None:
    assert sum(path.stat().st_size for path in WEIGHTS.values()) <= 15e6
