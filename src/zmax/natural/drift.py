"""How far a child has drifted from its parent, sample by sample, learned while the child is trained."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from zmax.core.generator import Generator
from zmax.core.samples import sized
from zmax.core.tuner import Models
from zmax.natural.ratio import LogRatio, batch

UPDATES = 8
"""Steps of the discriminator a round."""

RECENT = 8
"""Rounds whose samples the child is known by; it moves little in so many."""

BANK, VALUES = 2048, 4_000_000
"""Samples that the parent is known by, at most, and numbers in them."""


class Drift:
    r"""A discriminator between samples of child and parent, whose logit estimates :math:`\log q_\theta(x) / p(x)`.

    The parent's samples are drawn once; those of the child are of its last rounds.

    Args:
        ratio: the discriminator with its optimiser.
        bank: samples of the parent.
        recent: samples of the child, the latest last.
    """

    def __init__(self, ratio: LogRatio, bank: Float[Tensor, "k ..."], recent: Float[Tensor, "m ..."]) -> None:
        self._ratio, self._bank, self._recent = ratio, bank, recent

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor] | None, models: Models, rng: torch.Generator) -> Drift:
        """Return the one that was saved, or a new one with samples of the parent, which are decoded now."""
        if tensors is None:
            first = drawn(models.parent, 2, rng)
            n = min(BANK, max(128, VALUES // first[0].numel()))
            bank = torch.cat([drawn(models.parent, min(64, n - done), rng) for done in range(0, n, 64)])
            return cls(LogRatio(bank), bank, bank[:0])
        inner = {name.removeprefix("ratio."): value for name, value in tensors.items() if name.startswith("ratio.")}
        return cls(LogRatio.of(inner), tensors["bank"], tensors["recent"])

    def learned(self, child: Float[Tensor, "n ..."], rng: torch.Generator) -> Drift:
        """Train the discriminator for a round, in which the child has made these samples."""
        x = sized(child.detach().float().cpu())
        self._recent = torch.cat([self._recent, x])[-RECENT * max(1, len(x)) :]
        with torch.enable_grad():
            for _ in range(UPDATES if len(self._recent) else 0):
                self._ratio.update(batch(self._recent, rng), batch(self._bank, rng))
        return self

    def slope(self, x: Float[Tensor, "n ..."]) -> Float[Tensor, "n ..."]:
        """Return the gradient of the log-ratio by the samples."""
        with torch.enable_grad():
            point = x.detach().float().cpu().requires_grad_()
            (found,) = torch.autograd.grad(self._ratio(sized(point)).sum(), point)
        return found

    def tensors(self) -> dict[str, Tensor]:
        """Return all of it as tensors."""
        inner = {f"ratio.{name}": value for name, value in self._ratio.tensors().items()}
        return inner | {"bank": self._bank, "recent": self._recent}


def drawn(generator: Generator, n: int, rng: torch.Generator) -> Tensor:
    """Return so many samples of a generator, on the CPU, in the size that a discriminator sees."""
    with torch.no_grad():
        made = generator.decode(generator.space.latents(generator.space.sample(n, rng)))
    assert isinstance(made, Tensor), "found to be differentiable"
    return sized(made.float().cpu())
