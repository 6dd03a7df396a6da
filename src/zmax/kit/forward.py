"""The forward process of a diffusion or flow model: where its paths end, and its own loss on such ends."""

from __future__ import annotations

from typing import TypeGuard

import torch
from jaxtyping import Float
from torch import Tensor

from zmax.core.generator import DiffusionGenerator, Generator
from zmax.core.proposal import PathPoints, Proposal, Value
from zmax.generators.diffusion.denoisers import predicted
from zmax.generators.diffusion.generator import DenoiserGenerator
from zmax.generators.diffusion.path import PathSpace

NEAREST = 1e-3
"""Noise to signal below which the velocity is not asked for: the data tell it no more."""

TIMES = 8
"""Different times in a batch for a pipeline."""


def has_ends(generator: Generator) -> TypeGuard[DiffusionGenerator]:
    """Say whether the ends of a generator's paths are at hand before they are finished to samples."""
    return isinstance(generator, DenoiserGenerator) or isinstance(generator.space, PathSpace)


def ends(generator: Generator, u: Float[Tensor, "n dim"]) -> Float[Tensor, "n ..."]:
    """Return where the paths of these noises end, in the network's scale, on the CPU."""
    assert has_ends(generator), "made so before training"
    z = generator.space.latents(u)
    if not isinstance(generator, DenoiserGenerator):
        assert isinstance(generator.space, PathSpace), "or it is a denoiser with a sampler"
        return generator.space.path.follow(generator.denoise, z).float().cpu()
    parts = {"noise": z} if isinstance(z, Tensor) else z
    noises = [parts[block.name] for block in generator.space.blocks]

    def denoise(x: Tensor, t: Tensor) -> Tensor:
        return generator.denoise(x, t).to(x)

    return generator.sampler(denoise, generator.schedule, *noises).float().cpu()


def ended(x_0: Float[Tensor, "n ..."], u: Float[Tensor, "n dim"]) -> Proposal:
    """Propose the ends of paths, whose noises are known."""
    return Proposal(PathPoints(x_0, torch.zeros(len(x_0)), u), Value())


def noised(generator: Generator, x_0: Float[Tensor, "n ..."], rng: torch.Generator) -> dict[str, Tensor]:
    r"""Return rows x_0, x_t and t of :math:`x_t = \alpha x_0 + \sigma \epsilon` at times uniform over the schedule.

    Times are stratified, one in each of n equal parts, in random order; a few of them for pipelines, which answer all
    rows of one time together.
    """
    assert has_ends(generator), "made so before training"
    n, schedule = len(x_0), generator.schedule
    k = n if isinstance(generator, DenoiserGenerator) else min(n, TIMES)
    first = float(schedule.times(1)[0])
    share = (torch.rand(k, generator=rng, device="cpu", dtype=torch.float64) + torch.arange(k, device="cpu")) / k
    t = first * share[torch.randperm(n, generator=rng, device="cpu") % k].clamp_min(NEAREST)
    noise = torch.randn(x_0.shape, generator=rng, device="cpu", dtype=torch.float32)
    size = (n, *[1] * (x_0.ndim - 1))
    alpha, sigma = (level(t).reshape(size).to(x_0) for level in (schedule.alpha, schedule.sigma))
    return {"x_0": x_0, "x_t": alpha * x_0 + sigma * noise, "t": t, "noise": noise}


def velocity(generator: Generator, x_t: Float[Tensor, "n ..."], t: Float[Tensor, " n"]) -> Float[Tensor, "n ..."]:
    r"""Return :math:`v = E[\epsilon - x_0 | x_t]` by the generator's denoiser, on its device, one evaluation a row."""
    assert has_ends(generator), "made so before training"
    x_0 = generator.denoise(x_t, t.to(x_t))
    return predicted(x_0, x_t.to(x_0), generator.schedule, t.to(x_0.device), "velocity")


def gap(one: Float[Tensor, "n ..."], other: Float[Tensor, "n ..."]) -> Float[Tensor, " n"]:
    """Return the mean squared difference of each row."""
    return (one - other.to(one)).square().flatten(1).mean(1)
