"""The log-ratio of the child's law to the parent's, learned along."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from zmax.core.generator import Generator
from zmax.core.tuner import Models
from zmax.natural.ratio import LogRatio

UPDATES = 8
"""Steps of the discriminator a round."""


class Ratio:
    r"""A discriminator between samples of child and parent, whose logit estimates :math:`\log q_\theta(x) / p(x)`.

    Args:
        network: the discriminator with its optimiser.
    """

    def __init__(self, network: LogRatio) -> None:
        self._network = network

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor] | None, models: Models, rng: torch.Generator) -> Ratio:
        """Return the one that was saved, or a new one."""
        return cls(LogRatio(drawn(models.parent, 64, rng)) if tensors is None else LogRatio.of(tensors))

    def learned(self, child: Float[Tensor, "n ..."], models: Models, rng: torch.Generator) -> Ratio:
        """Train it for a round on the child's samples and as many fresh ones of the parent."""
        x = child.detach().float().cpu()
        theirs = drawn(models.parent, UPDATES * len(x), rng)
        with torch.enable_grad():
            for part in theirs.split(len(x)):
                self._network.update(x, part)
        return self

    def slope(self, x: Float[Tensor, "n ..."]) -> Float[Tensor, "n ..."]:
        """Return the gradient of the log-ratio by the samples."""
        with torch.enable_grad():
            point = x.detach().float().cpu().requires_grad_()
            (found,) = torch.autograd.grad(self._network(point).sum(), point)
        return found

    def tensors(self) -> dict[str, Tensor]:
        """Return all of it as tensors."""
        return self._network.tensors()


def drawn(generator: Generator, n: int, rng: torch.Generator) -> Tensor:
    """Return so many samples of a generator, on the CPU."""
    parts = generator.space.sample(n, rng).split(64)
    samples = torch.cat([_decoded(generator, part) for part in parts])
    return samples.float().cpu()


def _decoded(generator: Generator, u: Tensor) -> Tensor:
    with torch.no_grad():
        made = generator.decode(generator.space.latents(u))
    assert isinstance(made, Tensor), "found to be differentiable"
    return made
