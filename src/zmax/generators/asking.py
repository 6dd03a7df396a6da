"""What tells a generator the scores that its samples should have, be it by its layers or by its noises."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import silu

from zmax.core.generator import Generator
from zmax.core.quantiles import Quantiles
from zmax.core.rng import stream
from zmax.core.space import Space
from zmax.generators.mapped import linear

WIDTH = 128
"""Length of the embedding of a request."""


class Asking(nn.Module, ABC):
    """Holds a generator at requests for scores; NaN stands for no request.

    Args:
        law: of each score.
    """

    def __init__(self, law: Quantiles) -> None:
        super().__init__()
        self.law = law

    @abstractmethod
    def space(self, inner: Generator) -> Space:
        """Return the space of a generator that is held."""

    @abstractmethod
    def guides(self, inner: Generator) -> bool:
        """Say whether guidance can be had of a generator."""

    @abstractmethod
    def held(
        self, inner: Generator, wanted: Float[Tensor, "n k"], away: Float[Tensor, "m k"], guidance: float
    ) -> Generator:
        """Return a generator held at a request for each row of a batch, or at one for all."""


class Embedded(Asking):
    r"""Embeds requests s.

    .. math:: e(s) = f(w, m), \qquad w = \Phi^{-1}(F(s)) \text{ where asked, else } 0, \quad m = 1[\text{asked}]

    with F the law of the scores that were learned from and f a small perceptron.

    Args:
        law: F of each score.
    """

    def __init__(self, law: Quantiles) -> None:
        super().__init__(law)
        rng, k = stream(0, "conditioned", law.size), law.size
        self.first, self.second = linear(2 * k, WIDTH, rng), linear(WIDTH, WIDTH, rng)

    def embed(self, requests: Float[Tensor, "n k"]) -> Float[Tensor, "n width"]:
        """Return the embedding of each row."""
        white = self.law.to_white(requests.to(self.first.weight))
        known = ~white.isnan()
        seen = torch.cat([torch.where(known, white, 0.0), known.to(white)], 1)
        return silu(self.second(silu(self.first(seen))))


def rows_for(rows: Tensor, batch: Tensor) -> Tensor:
    """Return one row of requests for each of a batch."""
    return rows if len(rows) == len(batch) else rows.expand(len(batch), -1)
