"""Recipe of the small GANs that `benchmarks/toy_gans.py` puts right: data, networks, training, refit.

The data are those of Azadi et al. (2019, section 4.1) and Che et al. (2020, section 5.1): 25 Gaussians of standard
deviation 0.05 on the grid {-2, ..., 2}^2, and the two-dimensional Swiss roll, scaled as in WGAN-GP's reference code.
G and D are perceptrons with three hidden layers of 100, the latents N(0, I_2); non-saturating loss with a gradient
penalty on the data (Mescheder et al., 2018). Then G stays as it is and a second discriminator, whose first layer is of
sines, is trained to optimality against it: DDLS and DGflow presuppose an optimal discriminator, and the one that
training leaves behind is not. One in twenty of its negatives is background noise, N(0, 2^2 I), so that it knows what to
say where G hardly ever goes and the data never are.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zmax.core.rng import stream

BUILD = Path(__file__).parent / "build" / "toy_gans"
STEPS, BATCH, WIDTH, RATE = 3000, 128, 100, 1e-3
PENALTY, PENALTY_EVERY = 0.05, 4
REFIT_STEPS, REFIT_BATCH, REFIT_WIDTH, REFIT_RATE, FREQUENCY = 2000, 512, 128, 2e-3, 6.0
BACKGROUND, BACKGROUND_STD = 0.05, 2.0
GRID_STD = 0.05
ROLL_SCALE, ROLL_STD = 7.5, 0.25 / 7.5


def grid(n: int, rng: torch.Generator) -> Tensor:
    """Draw from the 25 Gaussians."""
    k = torch.randint(0, 25, (n,), generator=rng)
    return torch.stack([k // 5 - 2, k % 5 - 2], 1) + GRID_STD * torch.randn(n, 2, generator=rng)


def spiral(t: Tensor) -> Tensor:
    """Return the roll's centre line at the angles 3 pi / 2 (1 + 2 t), t in [0, 1]."""
    angle = 1.5 * math.pi * (1 + 2 * t)
    return torch.stack([angle * angle.cos(), angle * angle.sin()], 1) / ROLL_SCALE


def roll(n: int, rng: torch.Generator) -> Tensor:
    """Draw from the Swiss roll."""
    return spiral(torch.rand(n, generator=rng)) + ROLL_STD * torch.randn(n, 2, generator=rng)


DATA: dict[str, Callable[[int, torch.Generator], Tensor]] = {"25 Gaussians": grid, "Swiss roll": roll}


class Sines(nn.Module):
    """A layer sin(x W + b)."""

    def __init__(self, inputs: int, width: int) -> None:  # noqa: D107
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(inputs, width))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        return torch.sin(x @ self.weight + self.bias)


def perceptron(sizes: list[int], activation: Callable[[], nn.Module]) -> nn.Sequential:
    """Return linear layers with activations between them."""
    layers: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(sizes):
        layers += [nn.Linear(inputs, outputs, device="meta").to_empty(device="cpu"), activation()]
    return nn.Sequential(*layers[:-1])


def generator() -> nn.Sequential:
    return perceptron([2, WIDTH, WIDTH, WIDTH, 2], nn.ReLU)


def discriminator() -> nn.Sequential:
    return perceptron([2, WIDTH, WIDTH, WIDTH, 1], lambda: nn.LeakyReLU(0.2))


def critic() -> nn.Sequential:
    return nn.Sequential(Sines(2, REFIT_WIDTH), *perceptron([REFIT_WIDTH, REFIT_WIDTH, REFIT_WIDTH, 1], nn.SiLU))


@torch.no_grad()
def initialised(network: nn.Sequential, rng: torch.Generator) -> nn.Sequential:
    """Draw the weights from an explicit stream."""
    for layer in network:
        if isinstance(layer, nn.Linear):
            inputs = layer.in_features
            layer.weight.copy_((2 * torch.rand(layer.weight.shape, generator=rng) - 1) * 1.5 / inputs**0.5)
            layer.bias.copy_((2 * torch.rand(layer.bias.shape, generator=rng) - 1) / inputs**0.5)
        elif isinstance(layer, Sines):
            layer.weight.copy_(FREQUENCY * torch.randn(layer.weight.shape, generator=rng))
            layer.bias.copy_(2 * math.pi * torch.rand(layer.bias.shape, generator=rng))
    return network


def adam(network: nn.Module, rate: float, steps: int, beta: float) -> tuple[torch.optim.Adam, list[Callable[[], None]]]:
    """Return Adam with a linearly falling rate, and what ends a step."""
    optimiser = torch.optim.Adam(network.parameters(), rate, (beta, 0.99), fused=True)
    schedule = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.03, steps)
    return optimiser, [optimiser.step, schedule.step, optimiser.zero_grad]


def logistic(network: nn.Module, real: Tensor, made: Tensor) -> Tensor:
    """Return the loss of telling the data from samples."""
    return F.softplus(-network(real)).mean() + F.softplus(network(made)).mean()


def trained(data: str, seed: int) -> nn.Sequential:
    """Train a GAN and return its generator."""
    rng, draw = stream(seed, "toy gan", data), DATA[data]
    G, D = initialised(generator(), rng), initialised(discriminator(), rng)
    ends = {id(network): adam(network, RATE, STEPS, beta=0.5)[1] for network in (G, D)}
    for step in range(STEPS):
        real = draw(BATCH, rng).requires_grad_()
        with torch.no_grad():
            made = G(torch.randn(BATCH, 2, generator=rng))
        loss = logistic(D, real, made)
        if step % PENALTY_EVERY == 0:
            slope = torch.autograd.grad(D(real).sum(), real, create_graph=True)[0]
            loss = loss + PENALTY_EVERY * PENALTY / 2 * slope.square().sum(1).mean()
        loss.backward()
        for end in ends[id(D)]:
            end()
        D.requires_grad_(False)
        F.softplus(-D(G(torch.randn(BATCH, 2, generator=rng)))).mean().backward()
        for end in ends[id(G)]:
            end()
        D.requires_grad_(True)
    return G


def refitted(G: nn.Module, data: str, seed: int) -> nn.Sequential:
    """Train a discriminator against a generator that stays as it is."""
    rng, draw = stream(seed, "toy gan", data, "refit"), DATA[data]
    D = initialised(critic(), rng)
    ends = adam(D, REFIT_RATE, REFIT_STEPS, beta=0.9)[1]
    for _ in range(REFIT_STEPS):
        with torch.no_grad():
            made = G(torch.randn(REFIT_BATCH, 2, generator=rng))
            noise = BACKGROUND_STD * torch.randn(made.shape, generator=rng)
            made = torch.where(torch.rand(len(made), 1, generator=rng) < BACKGROUND, noise, made)
        logistic(D, draw(REFIT_BATCH, rng), made).backward()
        for end in ends:
            end()
    return D


def load(data: str, seed: int) -> tuple[nn.Sequential, nn.Sequential]:
    """Return G and the refitted D, from the cache or newly trained."""
    G = kept(generator(), f"{data}-{seed}-G", lambda: trained(data, seed))
    return G, kept(critic(), f"{data}-{seed}-D", lambda: refitted(G, data, seed))


def kept(network: nn.Sequential, name: str, train: Callable[[], nn.Sequential]) -> nn.Sequential:
    """Return a network with its weights from the cache, or trained and put there."""
    path = BUILD / f"{name.replace(' ', '-')}.pt"
    if path.exists():
        network.load_state_dict(torch.load(path, weights_only=True))
    else:
        network = train()
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(network.state_dict(), path)
    return network.requires_grad_(False)
