"""Points on their way from noise to data, with every noise that brought them there."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from zmax.core.space import Space
from zmax.core.strategy import Evaluation, Preview
from zmax.generators.path import path_of

Wanted = Literal["", "x_t", "x_0"]


@dataclass(frozen=True)
class Walk:
    """Points at the same step of the path.

    Attributes:
        step: steps taken.
        x: x_t, in the network's scale.
        u: whitened coordinates: the initial noise and the noises so far, 0 for those to come.
    """

    step: int
    x: Float[Tensor, "n ..."]
    u: Float[Tensor, "n dim"]

    @classmethod
    def begin(cls, space: Space, n: int, generator: torch.Generator) -> Walk:
        """Draw the initial noise of n points."""
        path = path_of(space)
        noise = torch.randn(n, *path.shape, generator=generator)
        u = torch.zeros(n, space.dim)
        u[:, path.columns(0)] = noise.flatten(1)
        return cls(0, path.begin(noise), u)

    def preview(self, space: Space, *, scored: bool = True, grad: Wanted = "") -> Preview:
        """Ask what the points show; at the end of the path that is their sample."""
        path = path_of(space)
        t = path.times[self.step].expand(len(self.x))
        final = self.at_end(space)
        u = self.u if final else self.x.flatten(1).float()
        return Preview(self.x, t, u, scored or final, grad, final)

    def at_end(self, space: Space) -> bool:
        """Say whether what the points show now is their sample."""
        return self.step == path_of(space).steps - 1

    def onward(self, space: Space, x_0: Float[Tensor, "n ..."], noise: Float[Tensor, "n ..."]) -> Walk:
        """Take a step with that noise."""
        path, u = path_of(space), self.u.clone()
        u[:, path.columns(self.step + 1)] = noise.flatten(1)
        return Walk(self.step + 1, path.step(self.step, self.x.to(x_0), x_0, noise.to(x_0)), u)

    def rows(self, chosen: Int[Tensor, " k"]) -> Walk:
        """Return those points, any of them any number of times."""
        return replace(self, x=self.x[chosen], u=self.u[chosen])


def shown(evaluation: Evaluation) -> tuple[Float[Tensor, "n ..."], Bool[Tensor, " n"]]:
    """Return E[x_0 | x_t] of what was previewed, and which rows of it are finite."""
    x_0 = evaluation.samples
    assert x_0 is not None, "needs_samples"
    return x_0, torch.isfinite(x_0.flatten(1)).all(1)
