r"""Trains `avatars-gan` by the regularised relativistic loss of R3GAN (Huang et al. 2024, https://arxiv.org/abs/2501.05441).

Discriminator: \operatorname{softplus}(D(G(z)) - D(x)) + \frac{\gamma}{2} (|\nabla D(x)|^2 + |\nabla D(G(z))|^2);
generator: \operatorname{softplus}(D(x) - D(G(z))). The two penalties are taken every few steps, with their weight
multiplied (Karras et al. 2020, sec. 3.1). No batch statistic anywhere: pairing reals with fakes keeps modes alive. The
generator starts as the decoder of a short variational autoencoder, which saves most of the time on two CPU cores;
later its labels are pulled to the frequencies of the data (`zoo.balance`).
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from zmax.generators.zoo.gan import AvatarGAN
from zmax.generators.zoo.vae import AvatarVAE
from zoo import data, training
from zoo.balance import Balance
from zoo.train_vae import kl


def half() -> torch.autocast:
    """bfloat16 for convolutions: twice as fast on a CPU that has it, and no loss of quality was seen."""
    return torch.autocast("cpu", torch.bfloat16)


class Residual(nn.Module):
    """x + conv(act(conv(act(x)))), piecewise linear, so that the penalties on gradients are cheap."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        nn.init.zeros_(self.second.weight)

    def forward(self, x: Tensor) -> Tensor:
        out = self.second(functional.leaky_relu(self.first(functional.leaky_relu(x, 0.2)), 0.2))
        return x + out


class Discriminator(nn.Module):
    """One logit of images in [-1, 1]; the last layers see positions, since avatars are aligned."""

    def __init__(self, *, width: int = 48, hidden: int = 128) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, width, 4, stride=2, padding=1),
            Residual(width),
            nn.Conv2d(width, 2 * width, 2, stride=2),
            Residual(2 * width),
            Residual(2 * width),
            nn.LeakyReLU(0.2),
            nn.Flatten(),
        )
        self.head = nn.Sequential(nn.Linear(32 * width, hidden), nn.LeakyReLU(0.2), nn.Linear(hidden, 1))

    def forward(self, x: Tensor) -> Tensor:
        with half():
            features = self.body(x)
        out: Tensor = self.head(features.float()).squeeze(1)  # differences of logits need all bits
        return out


@dataclass(frozen=True)
class Recipe:
    """Numbers of the run."""

    name: str = "avatars-gan"
    seed: int = 21
    steps: int = 7_000
    batch: int = 64
    rate: float = 6e-4
    last_rate: float = 1e-4
    mapping_rate: float = 0.1
    gamma: float = 2.0
    last_gamma: float = 0.1
    balance: float = 4.0
    balance_from: int = 3_000
    penalty_every: int = 4
    warm_up: int = 1500


RECIPE = Recipe()
WIDTHS = (128, 48, 16)


def draw(model: nn.Module, z: Tensor) -> Tensor:
    """Images of z in [-1, 1]."""
    with half():
        out: Tensor = model(z)
    return 2 * out.float() - 1


def _between(first: float, last: float, progress: float) -> float:
    """Geometric interpolation."""
    return float(first ** (1 - progress) * last**progress)


def penalty(critic: nn.Module, images: Tensor) -> Tensor:
    """Mean over pictures of |gradient of D|^2."""
    images = images.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(critic(images).sum(), images, create_graph=True)
    return gradient.square().sum((1, 2, 3)).mean()


def discriminator_loss(critic: nn.Module, real: Tensor, fake: Tensor, weight: float) -> Tensor:
    """The relativistic loss, with `weight`/2 times both penalties where `weight` is not zero."""
    on_real, on_fake = critic(torch.cat([real, fake])).chunk(2)
    value = functional.softplus(on_fake - on_real).mean()
    if weight:
        value = value + weight * penalty(critic, torch.cat([real, fake]))  # a mean over both halves: gamma / 2 each
    return value


def warm_up(model: Any, images: Tensor, recipe: Recipe) -> training.Run:
    """Trains the generator as the decoder of a variational autoencoder: it then starts with all modes, if blurred."""
    encoder: Any = training.build(AvatarVAE, recipe.seed + 2, latent=model.latent).encode
    vae: Any = encoder.__self__
    weights = [*model.parameters(), *vae.encoder.parameters()]
    run = training.Run("avatars-gan-warm-up", recipe.warm_up, {"model": model, "vae": vae})
    optimiser = torch.optim.Adam(weights, 1e-3)
    batches = training.Batches(len(images), recipe.batch, recipe.seed + 2)
    for step in run:
        rng = training.step_generator(recipe.seed + 2, step)
        x = images[batches.at(step)]
        with half():
            centre, log_variance = (part.float() for part in encoder(x / 2 + 0.5))
        z = centre + (log_variance / 2).exp() * torch.randn(centre.shape, generator=rng)
        distance = (draw(model, z) - x).abs().sum((1, 2, 3)).mean() / 2
        nats = kl(centre, log_variance).mean()
        _descend(optimiser, distance / 0.3 + min(1.0, step / 500) * nats)
        if (step + 1) % 250 == 0:
            figures = f"L1 {distance.item() / 768:.4f} KL {nats.item():.1f}"
            print(f"warm-up {step + 1} {run.seconds:.0f}s {figures}", flush=True)
    return run


def generator_loss(critic: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
    """The relativistic loss of the generator; the discriminator gets no gradient."""
    critic.requires_grad_(False)
    with torch.no_grad():
        on_real = critic(real)
    value = functional.softplus(on_real - critic(fake)).mean()
    critic.requires_grad_(True)
    return value


def train(recipe: Recipe) -> None:
    """Alternates one step of each network; ships the moving average of the generator."""
    images = 2 * training.tensors(data.load("train"))[0] - 1
    arguments: dict[str, Any] = {"widths": WIDTHS}
    model: Any = training.build(AvatarGAN, recipe.seed, **arguments)
    first = warm_up(model, images, recipe)
    mean: Any = copy.deepcopy(model)
    critic = training.build(Discriminator, recipe.seed + 1)
    balance = Balance(images[:4000] / 2 + 0.5)
    own, other = _adam(model, recipe), _adam(critic, recipe)
    parts = {"model": model, "mean": mean, "critic": critic, "own": own, "other": other, "balance": balance}
    run = training.Run(recipe.name, recipe.steps, parts)
    if run.first == 0:
        run.seconds = first.seconds
        training.ship(recipe.name, mean, arguments, first, 0)
    batches = training.Batches(len(images), recipe.batch, recipe.seed)
    pairs = training.Batches(len(images), recipe.batch, recipe.seed + 1)
    for step in run:
        gamma = _set_pace(recipe, step, own, other)
        rng = training.step_generator(recipe.seed, step)
        noise = torch.randn(2, recipe.batch, model.latent, generator=rng)
        with torch.no_grad():
            fake = draw(model, noise[0])
        weight = gamma * recipe.penalty_every if step % recipe.penalty_every == 0 else 0.0
        critic_loss = discriminator_loss(critic, images[batches.at(step)], fake, weight)
        _descend(other, critic_loss)
        fake = draw(model, noise[1])
        loss = generator_loss(critic, images[pairs.at(step)], fake)
        imbalance = balance(fake / 2 + 0.5)
        _descend(own, loss + (recipe.balance if step >= recipe.balance_from else 0.0) * imbalance)
        training.average(mean, model, min(0.999, step / (step + 50)))
        if (step + 1) % 500 == 0:
            gap = (balance.running - balance.data).abs().max().item()
            figures = f"D {critic_loss.item():.3f} G {loss.item():.3f} gamma {gamma:.3f} largest gap {gap:.3f}"
            print(f"{step + 1} {run.seconds:.0f}s {figures}", flush=True)
            training.ship(recipe.name, mean, arguments, run, step + 1)


def _set_pace(recipe: Recipe, step: int, *optimisers: torch.optim.Optimizer) -> float:
    """Sets the rates of a step, and returns the weight of its penalty."""
    progress = step / recipe.steps
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            rate = _between(recipe.rate, recipe.last_rate, progress) * min(1.0, step / 200)
            group["lr"] = rate * group["slow_down"]
    return _between(recipe.gamma, recipe.last_gamma, progress)


def _adam(network: nn.Module, recipe: Recipe) -> torch.optim.Adam:
    """Adam without momentum; the mapping from z to w learns more slowly (Karras et al. 2019, app. C)."""
    mapping = [value for name, value in network.named_parameters() if name.startswith("hidden.")]
    rest = [value for name, value in network.named_parameters() if not name.startswith("hidden.")]
    groups = [{"params": rest, "slow_down": 1.0}, {"params": mapping, "slow_down": recipe.mapping_rate}]
    return torch.optim.Adam([group for group in groups if group["params"]], recipe.rate, betas=(0.0, 0.99))


def _descend(optimiser: torch.optim.Optimizer, value: Tensor) -> None:
    optimiser.zero_grad()
    value.backward()
    optimiser.step()
