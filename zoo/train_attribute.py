"""Trains the two label readers: `attribute` (residual network) and `attribute-judge` (MLP-mixer).

They share neither pictures nor architecture nor augmentation: what fools one need not fool the other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from zmax.scores.zoo.classifier import AttributeNet
from zmax.scores.zoo.heads import Heads
from zmax.scores.zoo.judge import AttributeJudge
from zoo import data, designs, training

GROUPS = [list(head.labels) for head in designs.HEADS]
SMOOTHING = 0.005

Augment = Callable[[Tensor, torch.Generator], Tensor]


def noisy(x: Tensor, rng: torch.Generator) -> Tensor:
    """Gaussian noise of a strength up to 0.15 a picture, and gains up to 10 % a channel."""
    n = len(x)
    strength = 0.15 * torch.rand(n, 1, 1, 1, generator=rng)
    gain = 1 + 0.1 * (2 * torch.rand(n, 3, 1, 1, generator=rng) - 1)
    return x * gain + strength * torch.randn(x.shape, generator=rng)


def blurred(x: Tensor, rng: torch.Generator) -> Tensor:
    """Part of the way to a blurred or to another picture, sometimes a grey pixel block, and weak noise."""
    n = len(x)
    blur = functional.avg_pool2d(functional.pad(x, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    x = torch.lerp(x, blur, 0.5 * torch.rand(n, 1, 1, 1, generator=rng))
    x = torch.lerp(x, x.roll(1, 0), 0.25 * torch.rand(n, 1, 1, 1, generator=rng) ** 2)
    place = torch.randint(0, 15, (n, 2), generator=rng)
    rows, columns = torch.arange(16)[None, :, None], torch.arange(16)[None, None, :]
    block = ((rows - place[:, :1, None]).abs() < 1) & ((columns - place[:, 1:, None]).abs() < 1)
    block &= torch.rand(n, 1, 1, generator=rng) < 0.3
    colour = torch.rand(n, 3, 1, 1, generator=rng)
    x = torch.where(block[:, None], colour, x)
    return x + 0.08 * torch.rand(n, 1, 1, 1, generator=rng) * torch.randn(x.shape, generator=rng)


@dataclass(frozen=True)
class Recipe:
    """What sets one reader apart from the other."""

    name: str
    kind: type[nn.Module]
    split: str
    augment: Augment
    seed: int
    steps: int = 4000
    batch: int = 128
    rate: float = 2e-3


ATTRIBUTE = Recipe("attribute", AttributeNet, "train", noisy, seed=11)
JUDGE = Recipe("attribute-judge", AttributeJudge, "judge", blurred, seed=12, steps=5000)


def loss(heads: Heads, logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross entropy over the heads, hidden labels left out, targets smoothed so that odds stay finite."""
    total = logits.new_zeros(())
    for column, (start, group) in enumerate(zip(heads.starts, heads.groups, strict=True)):
        seen = labels[:, column] >= 0
        answer, own = labels[seen, column], logits[seen, start : start + len(group)]
        if len(group) == 1:
            target = answer.float() * (1 - 2 * SMOOTHING) + SMOOTHING
            total = total + functional.binary_cross_entropy_with_logits(own[:, 0], target)
        else:
            total = total + functional.cross_entropy(own, answer, label_smoothing=SMOOTHING * len(group))
    return total / len(heads.groups)


@torch.no_grad()
def accuracy(model: Any, images: Tensor, labels: Tensor) -> Tensor:
    """Share of right answers to each head among the pictures that show it."""
    right = torch.cat([model.heads.predict(model(part)) for part in images.split(500)]) == labels
    seen = labels >= 0
    return (right & seen).sum(0) / seen.sum(0)


def train(recipe: Recipe) -> None:
    """AdamW with one cosine decay; ships the moving average of the weights."""
    images, labels = training.tensors(data.load(recipe.split))
    arguments: dict[str, Any] = {"groups": GROUPS}
    model: Any = training.build(recipe.kind, recipe.seed, **arguments)
    mean: Any = training.build(recipe.kind, recipe.seed, **arguments)
    optimiser = torch.optim.AdamW(model.parameters(), recipe.rate, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, recipe.rate, recipe.steps, pct_start=0.1)
    parts = {"model": model, "mean": mean, "optimiser": optimiser, "schedule": schedule}
    run = training.Run(recipe.name, recipe.steps, parts)
    batches = training.Batches(len(images), recipe.batch, recipe.seed)
    held_out = training.tensors(data.load("held-out"))
    for step in run:
        index = batches.at(step)
        x = recipe.augment(images[index], training.step_generator(recipe.seed, step))
        value = loss(model.heads, model(x), labels[index])
        optimiser.zero_grad()
        value.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        training.average(mean, model, min(0.995, step / (step + 10)))
        if (step + 1) % 500 == 0:
            figures = [f"{share:.4f}" for share in accuracy(mean, *held_out).tolist()]
            print(
                f"{recipe.name} {step + 1} {run.seconds:.0f}s loss {value.item():.4f} {' '.join(figures)}", flush=True
            )
            training.ship(recipe.name, mean, arguments, run, step + 1)
