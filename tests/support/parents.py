"""Generators whose weights may move, and what tests ask of them."""

from __future__ import annotations

import torch
from torch import nn

import zmax
from zmax.finetune.weights import Child


class Images(zmax.Generator):
    """A generator of somebody's own, whose second network makes the first one's answer larger."""

    def __init__(self) -> None:
        self.space = zmax.Space.of((4,))
        self.body, self.scale = filled(nn.Linear(4, 3)), filled(nn.Linear(3, 3))
        self.networks = (self.body, self.scale)

    def decode(self, z):
        return self.scale(self.body(z).tanh())


class Words(zmax.Generator):
    modality = "text"

    def __init__(self) -> None:
        self.space = zmax.Space.of((4,))
        self.networks = (filled(nn.Linear(4, 3)),)

    def decode(self, z):
        return ["".join("ab"[int(v > 0)] for v in row) for row in self.networks[0](z)]


def filled(module: nn.Module, seed: int = 0) -> nn.Module:
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in module.parameters():
            weight.copy_(torch.randn(weight.shape, generator=rng) / weight.shape[-1] ** 0.5)
    return module


def perceptron(seed: int = 0) -> nn.Sequential:
    parts = [nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Dropout(0.5), nn.Linear(8, 3)]
    return filled(nn.Sequential(*parts), seed)


def module_generator() -> zmax.Generator:
    return zmax.generator(perceptron(), shape=(6,), modality="vector")


class Denoiser(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = filled(nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 4)))

    def forward(self, x, t):
        return self.body(torch.cat([x, t[:, None]], 1))


def path_generator() -> zmax.Generator:
    return zmax.diffusion(Denoiser(), shape=(4,), schedule="rectified-flow", steps=3, parametrisation="velocity")


def mixture() -> zmax.Generator:
    law = zmax.testing.gaussian_mixture(torch.zeros(2, 2), torch.eye(2).expand(2, 2, 2), torch.tensor([0.5, 0.5]))
    return law.generator(steps=3)


PARENTS = {
    "avatars-gan": lambda: zmax.load_generator("avatars-gan"),
    "avatars-flow": lambda: zmax.load_generator("avatars-flow:2"),
    "avatars-flow, stochastic": lambda: zmax.load_generator("avatars-flow:2").stochastic(),
    "avatars-vae": lambda: zmax.load_generator("avatars-vae"),
    "module": module_generator,
    "diffusion": path_generator,
    "diffusion, stochastic": lambda: path_generator().stochastic(),
    "subspace": lambda: zmax.generators.subspace(zmax.load_generator("avatars-gan"), 5),
    "own class": Images,
}
KINDS = [(name, kind) for name in PARENTS for kind in ("full", "lora:2") if (name, kind) != ("own class", "lora:2")]
"""Every parent with every kind of weights; the networks of that class are layers themselves."""


def decoded(generator: zmax.Generator, n: int = 3):
    u = generator.space.sample(n, torch.Generator().manual_seed(7))
    with torch.no_grad():
        return generator.decode(generator.space.latents(u))


def state(generator: zmax.Generator) -> dict[str, torch.Tensor]:
    found = {f"{i}.{k}": v for i, net in enumerate(generator.networks) for k, v in net.state_dict().items()}
    return {name: value.clone() for name, value in found.items()}


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def shaken(child: Child, seed: int = 1) -> dict[str, torch.Tensor]:
    rng = torch.Generator().manual_seed(seed)
    return {k: v + 0.1 * torch.randn(v.shape, generator=rng) for k, v in child.tensors().items()}
