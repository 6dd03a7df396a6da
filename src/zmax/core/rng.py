"""Explicit randomness: named streams from one seed, and an immutable stream that can live inside a State."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor


def stream(seed: int, *path: str | int) -> torch.Generator:
    """Return the random stream that `seed` gives to the consumer named by `path`.

    Streams with different paths are independent, so adding a consumer never changes what another one draws.

    Example:
        >>> a, b = stream(0, "method"), stream(0, "reference")
        >>> bool(torch.equal(torch.randn(3, generator=a), torch.randn(3, generator=b)))
        False
    """
    digest = hashlib.blake2b(repr((int(seed), *path)).encode(), digest_size=8).digest()
    return torch.Generator(device="cpu").manual_seed(int.from_bytes(digest, "little") >> 1)


def rows_at(share: Float[Tensor, " n"], points: Float[Tensor, " k"]) -> Int[Tensor, " k"]:
    """Return the row in whose part of [0, 1) each point lies; never one without a share.

    Args:
        share: what each row has of the whole, not negative; their sum counts as 1.
        points: in [0, 1).

    Example:
        >>> rows_at(torch.tensor([0.5, 0.0, 0.5]), torch.tensor([0.1, 0.5, 0.9])).tolist()
        [0, 2, 2]
    """
    total = share.cumsum(0)
    last = int(share.nonzero().max())
    return torch.searchsorted(total / total[-1], points, right=True).clamp(max=last)


@dataclass(frozen=True)
class Rng:
    """A random stream as data: every draw returns the values and the stream that follows.

    Example:
        >>> rng = Rng.of(stream(0))
        >>> first, after = rng.normal(2, 3)
        >>> again, _ = rng.normal(2, 3)
        >>> bool(torch.equal(first, again))
        True
    """

    state: Tensor

    @classmethod
    def of(cls, generator: torch.Generator) -> Rng:
        """Take over the position of `generator`, which is left untouched."""
        return cls(generator.get_state())

    def generator(self) -> torch.Generator:
        """Return a torch generator at this position."""
        generator = torch.Generator(device="cpu")
        generator.set_state(self.state)
        return generator

    def split(self) -> tuple[Rng, Rng]:
        """Return two streams that share nothing with each other, for two consumers that each keep one.

        Example:
            >>> one, other = Rng.of(stream(0)).split()
            >>> bool(torch.equal(one.normal(3)[0], other.normal(3)[0]))
            False
        """
        generator = self.generator()
        seeds = torch.randint(2**63 - 1, (2,), generator=generator, device="cpu").tolist()
        one, other = (Rng.of(torch.Generator(device="cpu").manual_seed(seed)) for seed in seeds)
        return one, other

    def normal(self, *shape: int, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Rng]:
        """Draw standard normal values of `shape`."""
        generator = self.generator()
        return torch.randn(shape, generator=generator, dtype=dtype, device="cpu"), Rng.of(generator)

    def uniform(self, *shape: int, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Rng]:
        """Draw values uniform on [0, 1) of `shape`."""
        generator = self.generator()
        return torch.rand(shape, generator=generator, dtype=dtype, device="cpu"), Rng.of(generator)
