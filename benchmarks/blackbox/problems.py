"""The problems of the black-box suite: a generator, a score, and noise of a known size; all a function of the seed.

- `gan`, `gan-w`, `vae`, `flow`: the shipped avatars (d = 128, 128, 48, 768; the flow with 4 Euler steps) under an
  attribute classifier, JPEG size, a colour, or minus the squared error to a target picture
- `+noise`: the same, where every call adds N(0, sd^2); what is reported is the true score of what a method returns
- `mlp:d`: z -> tanh(z W1 / sqrt d) (256 values) -> W2 / 16 (128 values), W normal; S = -MSE to the decode of a prior
  draw. What is reported is the remaining loss S / S(0)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

import zmax
from zmax.core.rng import stream
from zmax.core.samples import Samples

PICTURES = Path(__file__).parents[2] / "tests" / "data" / "avatars-heldout.npz"
HIDDEN, VALUES = 256, 128


class ToTarget(zmax.Score):
    """Minus the mean squared error to one given sample."""

    name = "target"
    differentiable = True

    def __init__(self, target: Tensor) -> None:  # noqa: D107
        self.target = target

    def __call__(self, samples: Samples) -> Tensor:
        assert isinstance(samples, Tensor)
        return -(samples - self.target).flatten(1).square().mean(1)


class Noisy(zmax.Score):
    """A score whose every call adds normal noise from a stream of its own, in the order of the calls."""

    noisy = True

    def __init__(self, score: zmax.Score, deviation: float, seed: int) -> None:  # noqa: D107
        self.name = f"{score.name}, noisy"
        self.differentiable = score.differentiable
        self.score, self.deviation, self.rng = score, deviation, stream(seed, "noise")

    def __call__(self, samples: Samples) -> Tensor:
        values = self.score(samples)
        noise = torch.randn(values.shape, generator=self.rng, dtype=torch.float32)
        return values + self.deviation * noise.to(values)


class Decoder(nn.Module):
    """The random decoder of the `mlp` problems."""

    def __init__(self, dim: int, rng: torch.Generator) -> None:  # noqa: D107
        super().__init__()
        self.w1 = nn.Parameter(torch.randn(dim, HIDDEN, generator=rng), requires_grad=False)
        self.w2 = nn.Parameter(torch.randn(HIDDEN, VALUES, generator=rng), requires_grad=False)

    def forward(self, z: Tensor) -> Tensor:
        return torch.tanh(z @ self.w1 / self.w1.shape[0] ** 0.5) @ self.w2 / 16


@dataclass(frozen=True)
class Problem:
    """A black box of whitened coordinates.

    Attributes:
        generator: decodes them.
        score: what is called, noise included.
        true: the score without noise.
        origin: S at u = 0 where the remaining loss S / S(0) is what is reported, else None.
    """

    generator: zmax.Generator
    score: zmax.Score
    true: zmax.Score
    origin: float | None = None

    @property
    def dim(self) -> int:
        return self.generator.space.dim

    @property
    def noisy(self) -> bool:
        return self.score is not self.true

    def truth(self, u: Tensor) -> float:
        """Return the score of one point (d,) without noise."""
        with torch.no_grad():
            return float(self.true(self.generator.decode(self.generator.space.latents(u[None].float())))[0])


@dataclass(frozen=True)
class Row:
    """One line of the suite: how to make a problem from a seed, and what may be asked of it.

    Attributes:
        make: the problem of a seed.
        noisy: whether two calls on a point differ.
        seeds: how many seeds it gets at most.
    """

    make: Callable[[int], Problem]
    noisy: bool = False
    seeds: int = 1_000_000


@cache
def _generator(name: str) -> zmax.Generator:
    return zmax.load_generator(name)


def named(generator: str, score: str, seed: int) -> Problem:
    """A score of the catalogue; only the method's randomness depends on the seed."""
    true = zmax.load_score(score)
    return Problem(_generator(generator), true, true)


def decoded_target(generator: str, seed: int) -> Problem:
    """Find the decode of a held-out prior draw."""
    model = _generator(generator)
    with torch.no_grad():
        target = model.decode(model.space.latents(model.space.sample(1, stream(seed, "target", generator))))
    assert isinstance(target, Tensor)
    return _plain(model, ToTarget(target))


def picture_target(generator: str, seed: int) -> Problem:
    """Find a held-out picture of the data set."""
    with np.load(PICTURES) as archive:
        images = archive["images"]
    picture = torch.tensor(images[seed % len(images)] / 255.0, dtype=torch.float32).permute(2, 0, 1)
    return _plain(_generator(generator), ToTarget(picture[None]))


def mlp(dim: int, seed: int) -> Problem:
    """The random decoder and a random target, all drawn from the seed."""
    rng = stream(seed, "mlp", dim)
    network = Decoder(dim, rng)
    model = zmax.generator(network, shape=(dim,), differentiable=True, modality="vector", name=f"mlp-{dim}")
    target = network(model.space.sample(1, rng))
    true = ToTarget(target)
    return Problem(model, true, true, origin=-float(target.square().mean()))


def with_noise(make: Callable[[int], Problem], deviation: float, seed: int) -> Problem:
    """Add noise to the score of a problem."""
    plain = make(seed)
    return Problem(plain.generator, Noisy(plain.true, deviation, seed), plain.true)


def _plain(generator: zmax.Generator, score: zmax.Score) -> Problem:
    return Problem(generator, score, score)


GLASSES = partial(named, "avatars-gan", "attribute:glasses")
PICTURE = partial(picture_target, "avatars-vae")

SUITE: dict[str, Row] = {
    "mlp:64": Row(partial(mlp, 64)),
    "mlp:512": Row(partial(mlp, 512)),
    "mlp:16384": Row(partial(mlp, 16_384)),
    "gan:attribute": Row(GLASSES),
    "gan-w:attribute": Row(partial(named, "avatars-gan:w", "attribute:beard")),
    "gan:compressibility": Row(partial(named, "avatars-gan", "compressibility")),
    "gan:target": Row(partial(decoded_target, "avatars-gan")),
    "vae:colour": Row(partial(named, "avatars-vae", "colour:blue")),
    "vae:picture": Row(PICTURE),
    "gan:attribute+noise": Row(partial(with_noise, GLASSES, 2.5), noisy=True),
    "vae:picture+noise": Row(partial(with_noise, PICTURE, 0.01), noisy=True),
    "flow:attribute": Row(partial(named, "avatars-flow:4", "attribute:hat"), seeds=3),
    "flow:compressibility": Row(partial(named, "avatars-flow:4", "compressibility"), seeds=3),
}
