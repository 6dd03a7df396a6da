"""Best of N: the baseline that every other method has to beat at the same number of score calls."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from zmax.core.rng import Rng
from zmax.core.space import Space
from zmax.core.state import STATIC
from zmax.core.strategy import Evaluation, Latents, Strategy
from zmax.search.checks import whole


@dataclass(frozen=True)
class RandomState:
    """The next draws and the stream they came from."""

    u: Float[Tensor, "n dim"]
    rng: Rng
    space: Space = field(metadata=STATIC)


class Random(Strategy[RandomState]):
    r"""Best of N: fresh prior draws each round, u ~ N(0, I).

    After N calls the best has the law of the maximum of N scores of prior draws; for normal scores it is
    :math:`\mu + \sigma\,(\sqrt{2 \ln N} + O(\ln\ln N / \sqrt{\ln N}))`.

    Args:
        batch: draws per round; it changes the grouping, never the sequence of draws.

    Raises:
        InputError: `batch` is not a positive int.

    Example:
        >>> from zmax.core.rng import stream
        >>> from zmax.core.space import Space
        >>> method = Random(batch=8)
        >>> method.ask(method.init(Space.of((100,)), stream(0))).u.shape
        torch.Size([8, 100])
    """

    reference: ClassVar[str] = "David and Nagaraja, Order Statistics, 3rd ed., 2003, chapter 10"

    def __init__(self, *, batch: int = 64) -> None:
        whole("Random", batch=batch)
        self.batch = batch

    def init(self, space: Space, rng: torch.Generator) -> RandomState:
        """Draw the first round."""
        return self._draw(space, Rng.of(rng))

    def ask(self, state: RandomState) -> Latents:
        """Return the round's draws."""
        return Latents(state.u)

    def tell(self, state: RandomState, evaluation: Evaluation) -> RandomState:
        """Draw the next round; scores change nothing."""
        return self._draw(state.space, state.rng)

    def _draw(self, space: Space, rng: Rng) -> RandomState:
        generator = rng.generator()
        u = space.sample(self.batch, generator)
        return RandomState(u, Rng.of(generator), space)
