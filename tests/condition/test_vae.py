"""An autoencoder that is told the score: the parent's loss at first, and both halves listen."""

import pytest
import torch

import zmax
from zmax.condition import VAE
from zmax.core.errors import CapabilityError, InputError
from zmax.core.quantiles import Quantiles
from zmax.core.rng import stream
from zmax.core.tuner import Models, Rollout
from zmax.finetune.weights import child_told
from zmax.generators.mapped import linear
from zmax.kit.elbo import negative_elbo


class Auto(torch.nn.Module):
    """A linear decoder of two values from one latent, and its encoder."""

    def __init__(self):
        super().__init__()
        self.up, self.down = linear(1, 2, stream(0)), linear(2, 2, stream(1))

    def forward(self, z):
        return self.up(z)

    def encode(self, x):
        return self.down(x).chunk(2, 1)


def model():
    auto = Auto()
    return zmax.generator(auto, shape=(1,), prior="normal", differentiable=True, modality="vector", encoder=auto.encode)


def test_it_begins_with_the_parents_loss_and_both_halves_listen():
    parent, score = model(), torch.linspace(-1, 1, 50)[:, None].double()
    child = child_told(parent, Quantiles.fit(score), ("S",))
    x, noise = torch.randn(50, 2, generator=stream(2)), torch.randn(50, 1, generator=stream(3))
    models, rollout = Models(child.generator, parent), Rollout({"x": x, "noise": noise, "score": score.float()})
    method = VAE(beta=0.3)
    assert torch.allclose(method.loss(models, rollout), negative_elbo(parent, x, noise, beta=0.3))
    films = {name: weight for name, weight in child.weights.items() if ".film." in name}
    slopes = torch.autograd.grad(method.loss(models, rollout).sum(), films.values())
    assert len(films) == 4
    assert all(float(slope.norm()) > 0 for slope in slopes)


def test_it_learns_to_place_what_the_latent_does_not_tell():
    def drawn(n, seed):
        s, rest = torch.randn(2, n, 1, generator=stream(seed))
        return torch.cat([s, rest], 1)

    x = drawn(600, 5)
    S = zmax.score(lambda x: x[:, 0], name="first")
    c = zmax.condition(
        model(), S, VAE(steps=250, batch=32, beta=0.05), data=(x, x[:, 0]), budget=100, looks=1, rate=1e-2, seed=0
    )
    points = torch.randn(500, 1, generator=stream(6))
    for s in (-1.0, 1.0):
        made = c.generator.at(score=s).decode(points)
        assert float((made[:, 0] - s).abs().mean()) < 0.25
        assert float(made[:, 1].std()) > 0.7


def test_what_has_no_encoder_is_refused_before_anything_is_scored():
    G = zmax.generator(lambda z: z, shape=(2,), modality="vector")
    with pytest.raises(CapabilityError, match="encoder"):
        zmax.condition(G, lambda x: x[:, 0], "vae", budget=10)
    with pytest.raises(InputError, match="likelihood"):
        VAE(likelihood="laplace")
