"""Samples of the shipped generators, the same for every recipe that needs them."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from zmax.generators import zoo as shipped


@torch.no_grad()
def flow_samples(network: Any, n: int, steps: int, rng: torch.Generator) -> Tensor:
    """Heun's method from t = 1 to 0 with `steps` network evaluations: half as many steps of two evaluations each."""
    x = torch.randn(n, 3, 16, 16, generator=rng)
    times = torch.linspace(1, 0, steps // 2 + 1)
    for now, then in pairwise(times):
        slope = network(x, now.expand(n))
        there = x + (then - now) * slope
        x = x + (then - now) * (slope + network(there, then.expand(n))) / 2
    return (x / 2 + 0.5).clamp(0, 1)


@torch.no_grad()
def euler_samples(network: Any, n: int, steps: int, rng: torch.Generator) -> Tensor:
    """Euler's method from t = 1 to 0 with `steps` network evaluations."""
    x = torch.randn(n, 3, 16, 16, generator=rng)
    times = torch.linspace(1, 0, steps + 1)
    for now, then in pairwise(times):
        x = x + (then - now) * network(x, now.expand(n))
    return (x / 2 + 0.5).clamp(0, 1)


@torch.no_grad()
def samples(name: str, n: int, seed: int, *, steps: int = 50, solver: str = "euler", network: Any = None) -> Tensor:
    """Unselected samples (n, 3, 16, 16) in [0, 1] of a generator of the zoo."""
    rng = torch.Generator().manual_seed(seed)
    network = network if network is not None else shipped.load(name)
    parts = []
    for start in range(0, n, 250):
        count = min(250, n - start)
        if name == "avatars-flow":
            draw = euler_samples if solver == "euler" else flow_samples
            parts.append(draw(network, count, steps, rng))
        else:
            parts.append(network(torch.randn(count, network.latent, generator=rng)))
    return torch.cat(parts)


def save_grid(images: Tensor, path: Path, *, columns: int = 8, scale: int = 5) -> None:
    """A PNG of the images side by side, enlarged by nearest neighbour."""
    n, _, height, width = images.shape
    pixels = (images.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).numpy()
    sheet = np.full((n // columns, height + 1, columns, width + 1, 3), 255, np.uint8)
    sheet[:, :height, :, :width] = pixels.reshape(n // columns, columns, height, width, 3).transpose(0, 2, 1, 3, 4)
    flat = sheet.reshape(n // columns * (height + 1), columns * (width + 1), 3)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(flat).resize((flat.shape[1] * scale, flat.shape[0] * scale), Image.Resampling.NEAREST).save(
        path, optimize=True
    )
