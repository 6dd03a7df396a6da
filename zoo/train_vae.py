r"""Trains `avatars-vae` on the evidence bound with a likelihood of two parts.

Minus log-likelihood of each value: |d| / b + d^2 / (2 \sigma^2), with d its error. The first part (Laplace) keeps edges
that the second (Gaussian) blurs; the second splits modes, such as the shapes of a mouth, that the first leaves at their
median. The bound adds KL(q(z | x) \| N(0, I)) (Kingma & Welling 2014, eq. 3, https://arxiv.org/abs/1312.6114), whose
weight rises from 0 to 1 over the first steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from zmax.generators.zoo.vae import AvatarVAE
from zoo import data, training


@dataclass(frozen=True)
class Recipe:
    """Numbers of the run; `scale` is b and `deviation` is sigma, in units of the full range of a channel."""

    name: str = "avatars-vae"
    seed: int = 41
    steps: int = 4000
    batch: int = 64
    rate: float = 1.5e-3
    scale: float = 0.3
    deviation: float = 0.12
    warm_up: int = 1000


RECIPE = Recipe()


def kl(mean: Tensor, log_variance: Tensor) -> Tensor:
    r"""KL(N(\mu, \sigma^2) \| N(0, I)) of each picture, in nats."""
    return (mean.square() + log_variance.exp() - 1 - log_variance).sum(1) / 2


def train(recipe: Recipe) -> None:
    """AdamW with a cosine decay; ships the moving average of the weights."""
    images = training.tensors(data.load("train"))[0]
    arguments: dict[str, Any] = {"latent": 48, "width": 48}
    model: Any = training.build(AvatarVAE, recipe.seed, **arguments)
    mean: Any = training.build(AvatarVAE, recipe.seed, **arguments)
    optimiser = torch.optim.AdamW(model.parameters(), recipe.rate, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, recipe.rate, recipe.steps, pct_start=0.05)
    parts = {"model": model, "mean": mean, "optimiser": optimiser, "schedule": schedule}
    run = training.Run(recipe.name, recipe.steps, parts)
    batches = training.Batches(len(images), recipe.batch, recipe.seed)
    for step in run:
        rng = training.step_generator(recipe.seed, step)
        x = images[batches.at(step)]
        with torch.autocast("cpu", torch.bfloat16):
            centre, log_variance = (part.float() for part in model.encode(x))
            z = centre + (log_variance / 2).exp() * torch.randn(centre.shape, generator=rng)
            out = model.decode(z)
        error = out.float() - x
        distance = error.abs().sum((1, 2, 3)).mean()
        square = error.square().sum((1, 2, 3)).mean()
        nats = kl(centre, log_variance).mean()
        value = distance / recipe.scale + square / (2 * recipe.deviation**2)
        value = value + min(1.0, (step + 1) / recipe.warm_up) * nats
        optimiser.zero_grad()
        value.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 500.0)
        optimiser.step()
        schedule.step()
        training.average(mean, model, min(0.998, step / (step + 20)))
        if (step + 1) % 500 == 0:
            figures = f"L1 {distance.item() / 768:.4f} KL {nats.item():.1f} bound {value.item():.1f}"
            print(f"{step + 1} {run.seconds:.0f}s {figures}", flush=True)
            training.ship(recipe.name, mean, arguments, run, step + 1)
