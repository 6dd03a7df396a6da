"""Small networks trained in seconds on laws whose tilt is known, so that tuners have weights to move."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor

from zmax.core.rng import stream
from zmax.generators.diffusion.generator import DenoiserGenerator
from zmax.generators.diffusion.points import PointNetwork
from zmax.generators.diffusion.wrap import diffusion
from zmax.testing.mixture import GaussianMixture

__all__ = ["PointNetwork", "trained"]

UPDATES, BATCH, RATE = 3000, 256, 2e-3


def trained(
    law: GaussianMixture, schedule: str = "rectified-flow", steps: int = 20, seed: int = 0
) -> DenoiserGenerator:
    """Return a diffusion or flow model of a mixture that a small network was trained to, in some seconds.

    Its law is that of the mixture up to training and steps; how far off it is, compare with `law.sample`. The weights
    are trained once a process for each law, schedule and seed.

    Args:
        law: of the data.
        schedule: "rectified-flow" (the network tells the velocity) or "vp-linear" (v).
        steps: from noise to data.
        seed: of the weights and of training.

    Example:
        >>> import zmax
        >>> law = zmax.testing.gaussian_mixture([[-1.0, 0.0], [1.0, 0.0]], torch.eye(2).expand(2, 2, 2) / 9, [0.5, 0.5])
        >>> G = zmax.testing.trained(law)
        >>> x = G.decode(G.space.latents(G.space.sample(500, torch.Generator().manual_seed(0))))
        >>> bool((x.mean(0).abs() < 0.2).all())
        True
    """
    key = tuple(tuple(t.flatten().tolist()) for t in (law.means, law.covs, law.weights))
    network = PointNetwork(law.dim, 64, stream(seed, "trained", "weights"))
    network.load_state_dict(_weights(_Known(law, key), schedule, seed))
    return diffusion(
        network,
        shape=(law.dim,),
        schedule=schedule,
        steps=steps,
        parametrisation="velocity" if schedule == "rectified-flow" else "v",
        modality="vector",
        name="trained-mixture",
    )


class _Known:
    """A law that is told from others by its numbers."""

    def __init__(self, law: GaussianMixture, key: tuple[tuple[float, ...], ...]) -> None:
        self.law, self.key = law, key

    def __hash__(self) -> int:
        return hash(self.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Known) and self.key == other.key


@lru_cache(maxsize=8)
def _weights(known: _Known, schedule: str, seed: int) -> dict[str, Tensor]:
    """Train by the model's own loss, at a rate that falls to 0, and return an average of the weights."""
    law, rng = known.law, stream(seed, "trained", "data")
    network = PointNetwork(law.dim, 64, stream(seed, "trained", "weights"))
    levels = diffusion(lambda x, t: x, shape=(law.dim,), schedule=schedule, steps=2).schedule
    optimiser = torch.optim.Adam(network.parameters(), lr=RATE)
    falling = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda i: 0.5 * (1 + math.cos(math.pi * i / UPDATES)))
    first = float(levels.times(1)[0])
    for _ in range(UPDATES):
        x_0 = law.sample(BATCH, rng).float()
        noise = torch.randn(x_0.shape, generator=rng, device="cpu", dtype=torch.float32)
        t = first * torch.rand(BATCH, generator=rng, device="cpu", dtype=torch.float32)
        alpha, sigma = levels.alpha(t)[:, None].float(), levels.sigma(t)[:, None].float()
        wanted = noise - x_0 if schedule == "rectified-flow" else alpha * noise - sigma * x_0
        loss = (network(alpha * x_0 + sigma * noise, t) - wanted).square().mean()
        optimiser.zero_grad()
        with torch.enable_grad():
            loss.backward()
        optimiser.step()
        falling.step()
    return {name: value.detach().clone() for name, value in network.state_dict().items()}
