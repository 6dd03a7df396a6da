r"""Trains `avatars-flow`: regress the velocity \epsilon - x_0 at x_t = (1 - t) x_0 + t \epsilon.

(Liu et al. 2023, eq. 1, https://arxiv.org/abs/2209.03003; times are logit-normal as in Esser et al. 2024, sec. 3.1,
https://arxiv.org/abs/2403.03206, but for a quarter of them, which lean to t = 1: left to extrapolate there, the network
starts its samples off the mean of the data, and labels come out too rare or too frequent.)
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from zmax.generators.zoo.flow import AvatarFlow
from zoo import data, training


@dataclass(frozen=True)
class Recipe:
    """Numbers of the run."""

    name: str = "avatars-flow"
    seed: int = 31
    steps: int = 13_500
    batch: int = 64
    rate: float = 1e-3
    warm_up: int = 300


RECIPE = Recipe()


def rate_at(recipe: Recipe, step: int) -> float:
    """Linear warm-up, flat, then a cosine decay over the last half."""
    decay = max(0.0, 2 * step / recipe.steps - 1)
    return recipe.rate * min(1.0, (step + 1) / recipe.warm_up) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * decay)))


def train(recipe: Recipe) -> None:
    """AdamW; ships the moving average of the weights."""
    images = 2 * training.tensors(data.load("train"))[0] - 1
    arguments: dict[str, Any] = {"width": 192, "depth": 6, "heads": 6}
    model = training.build(AvatarFlow, recipe.seed, **arguments)
    mean = training.build(AvatarFlow, recipe.seed, **arguments)
    optimiser = torch.optim.AdamW(model.parameters(), recipe.rate, betas=(0.9, 0.99), weight_decay=0.01)
    run = training.Run(recipe.name, recipe.steps, {"model": model, "mean": mean, "optimiser": optimiser})
    batches = training.Batches(len(images), recipe.batch, recipe.seed)
    average = 0.0
    for step in run:
        rng = training.step_generator(recipe.seed, step)
        clean = images[batches.at(step)]
        noise = torch.randn(clean.shape, generator=rng)
        t = torch.sigmoid(torch.randn(len(clean), generator=rng))
        t[::4] = torch.rand(len(t[::4]), generator=rng) ** 0.5
        mixed = torch.lerp(clean, noise, t[:, None, None, None])
        with torch.autocast("cpu", torch.bfloat16):
            velocity = model(mixed, t)
        value = (velocity.float() - (noise - clean)).square().mean()
        optimiser.param_groups[0]["lr"] = rate_at(recipe, step)
        optimiser.zero_grad()
        value.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        training.average(mean, model, min(0.999, step / (step + 50)))
        average += (value.item() - average) / min(step + 1, 200)
        if (step + 1) % 500 == 0:
            print(f"{step + 1} {run.seconds:.0f}s loss {average:.4f}", flush=True)
            training.ship(recipe.name, mean, arguments, run, step + 1)
