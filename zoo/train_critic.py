r"""Trains `critic`: tells held-in pictures from samples of the shipped generators and from damaged pictures.

Loss: E \operatorname{softplus}(-C(x)) + E \operatorname{softplus}(C(\tilde x)) + \frac{\gamma}{2} E |\nabla C(x)|^2
(Goodfellow et al. 2014, eq. 1, https://arxiv.org/abs/1406.2661, with the R1 penalty of Mescheder et al. 2018, eq. 9,
https://arxiv.org/abs/1801.04406). Reals are softened by weak noise, so that the critic grades pictures by how they look
rather than by whether their colours are exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from zmax.generators import zoo as generators
from zmax.scores.zoo.critic import Critic
from zoo import data, sampling, training


@dataclass(frozen=True)
class Recipe:
    """Numbers of the run; `pool` samples are drawn from each generator."""

    name: str = "critic"
    seed: int = 51
    steps: int = 2000
    batch: int = 64
    rate: float = 5e-4
    gamma: float = 1.0
    pool: int = 5000


RECIPE = Recipe()


def fakes(recipe: Recipe) -> Tensor:
    """Samples of all generators, the flow at 8 and 20 steps."""
    drawn = [sampling.samples(name, recipe.pool, recipe.seed) for name in ("avatars-gan", "avatars-vae")]
    flow = generators.load("avatars-flow")
    count = recipe.pool // 2
    drawn += [sampling.samples("avatars-flow", count, recipe.seed, steps=steps, network=flow) for steps in (8, 20)]
    return torch.cat(drawn)


def damaged(x: Tensor, rng: torch.Generator) -> Tensor:
    """Pictures with noise of a strength up to 0.3, mixed with another, or with some pixels exchanged."""
    n = len(x)
    kind = torch.randint(0, 3, (n, 1, 1, 1), generator=rng)
    amount = torch.rand(n, 1, 1, 1, generator=rng)
    noise = x + (0.05 + 0.25 * amount) * torch.randn(x.shape, generator=rng)
    mixed = torch.lerp(x, x.roll(1, 0), 0.2 + 0.6 * amount)
    exchanged = torch.where(torch.rand(n, 1, 16, 16, generator=rng) < 0.02 + 0.3 * amount, x.roll(2, 0), x)
    return torch.where(kind == 0, noise, torch.where(kind == 1, mixed, exchanged)).clamp(0, 1)


def train(recipe: Recipe) -> None:
    """Adam; ships the moving average of the weights."""
    images = training.tensors(data.load("train"))[0]
    pool = fakes(recipe)
    arguments: dict[str, Any] = {}
    model = training.build(Critic, recipe.seed, **arguments)
    mean = training.build(Critic, recipe.seed, **arguments)
    optimiser = torch.optim.AdamW(model.parameters(), recipe.rate, betas=(0.5, 0.99), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, recipe.rate, recipe.steps, pct_start=0.1)
    parts = {"model": model, "mean": mean, "optimiser": optimiser, "schedule": schedule}
    run = training.Run(recipe.name, recipe.steps, parts)
    reals = training.Batches(len(images), recipe.batch, recipe.seed)
    drawn = training.Batches(len(pool), recipe.batch, recipe.seed + 1)
    for step in run:
        rng = training.step_generator(recipe.seed, step)
        real = images[reals.at(step)]
        false = torch.cat([pool[drawn.at(step)], damaged(real[: recipe.batch // 3], rng)])
        noise = 0.03 * torch.rand(recipe.batch, 1, 1, 1, generator=rng)
        real = (real + noise * torch.randn(real.shape, generator=rng)).clamp(0, 1).requires_grad_()
        on_real, on_false = model(real), model(false)
        (slope,) = torch.autograd.grad(on_real.sum(), real, create_graph=True)
        roughness = slope.square().sum((1, 2, 3)).mean() / 4  # in units of images in [-1, 1]
        value = (
            functional.softplus(-on_real).mean() + functional.softplus(on_false).mean() + recipe.gamma / 2 * roughness
        )
        optimiser.zero_grad()
        value.backward()
        optimiser.step()
        schedule.step()
        training.average(mean, model, min(0.998, step / (step + 20)))
        if (step + 1) % 250 == 0:
            right = ((on_real > 0).float().mean() + (on_false < 0).float().mean()).item() / 2
            figures = f"loss {value.item():.3f} right {right:.3f} slope^2 {roughness.item():.3f}"
            print(f"{step + 1} {run.seconds:.0f}s {figures}", flush=True)
            training.ship(recipe.name, mean, arguments, run, step + 1)
