"""Sets of a generator's samples as the samples of another one."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from zmax.core.generator import Generator
from zmax.core.samples import Samples
from zmax.core.space import LatentValue, Space


class Sets(Generator):
    """Makes sets of k samples, of k latents each drawn from the prior: what scores of sets are maximised over.

    A sample is what the generator makes of k latents: a tensor (k, ...), else a list. Latents are the blocks of the
    generator k times, called "z 1", "z 2" and so on.

    Args:
        inner: the generator.
        size: k.

    Example:
        >>> import zmax
        >>> pairs = Sets(zmax.generator(torch.nn.Identity(), shape=(3,), modality="vector"), 2)
        >>> z = pairs.space.latents(pairs.space.sample(5, torch.Generator().manual_seed(0)))
        >>> pairs.space.dim, pairs.decode(z).shape
        (6, torch.Size([5, 2, 3]))
    """

    def __init__(self, inner: Generator, size: int) -> None:
        self.inner, self.size = inner, size
        blocks = [replace(b, name=f"{b.name} {i + 1}") for i in range(size) for b in inner.space.blocks]
        self.space = Space(tuple(blocks))
        self.name, self.source = inner.name, inner.source
        self.differentiable, self.modality, self.networks = inner.differentiable, inner.modality, inner.networks
        self.prompts = inner.prompts

    def decode(self, z: LatentValue) -> Samples:
        """Decode all latents of all sets together."""
        assert isinstance(z, dict), "several blocks"
        parts = {
            b.name: torch.stack([z[f"{b.name} {i + 1}"] for i in range(self.size)], 1).flatten(0, 1)
            for b in self.inner.space.blocks
        }
        samples = self.inner.decode(next(iter(parts.values())) if len(parts) == 1 else parts)
        if isinstance(samples, Tensor):
            return samples.unflatten(0, (-1, self.size))
        return [list(samples[i : i + self.size]) for i in range(0, len(samples), self.size)]
