"""What a climb of a surrogate is told: the slopes of a bound that keeps it near what is known."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from zmax.kit.process import Process

WALL = 10.0


@dataclass(frozen=True)
class Field:
    r"""The slopes of mu + beta sigma near a point, one beta a row, as cotangents to pull back.

    .. math:: \mu(x) + \beta \sigma(x) - c \max\left(0, \frac{|x - h|}{r} - 1\right)^2

    Attributes:
        process: the posterior.
        beta: what not knowing is worth; negative to stay where much is known.
        home: h, standardised.
        reach: r, in standardised units; infinite for anywhere.
    """

    process: Process
    beta: Float[Tensor, " k"]
    home: Float[Tensor, "k m"]
    reach: Float[Tensor, " k"]

    def __getitem__(self, rows: slice) -> Field:
        return replace(self, beta=self.beta[rows], home=self.home[rows], reach=self.reach[rows])

    def __call__(self, samples: Tensor) -> Tensor:
        """Return the slope at each sample."""
        with torch.enable_grad():
            leaf = samples.detach().cpu().requires_grad_()
            (slope,) = torch.autograd.grad(self.value(leaf).sum(), leaf)
        return slope

    def value(self, samples: Tensor) -> Float[Tensor, " k"]:
        """Return the function itself, in standardised units."""
        x = self.process.features(samples)
        mean, deviation = self.process.predict(x)
        beyond = ((x - self.home).norm(dim=1) / self.reach - 1).clamp_min(0.0)
        return mean + self.beta * deviation - WALL * beyond.square()
