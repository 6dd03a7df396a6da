"""Functions of latents as scores, for constraints."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jaxtyping import Float
from torch import Tensor

from zmax.core.defaults import theirs
from zmax.core.score import Score
from zmax.scores.values import as_values


class LatentScore(Score):
    """A function of latents z as the generator takes them: a tensor (n, *shape), or a dict of them by block."""

    latents = True

    def __init__(self, fn: Callable[[Any], Any], *, name: str, differentiable: bool | None) -> None:
        self.name = name
        self.differentiable = differentiable
        self._fn = fn

    def __call__(self, samples: Any) -> Float[Tensor, " n"]:
        """Call the function and check that it gives one value a latent.

        Raises:
            ShapeError: it does not.
        """
        first = next(iter(samples.values())) if isinstance(samples, dict) else samples
        with theirs():
            return as_values(self._fn(samples), len(first), self.name)
