"""A small denoiser of points."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from zmax.generators.mapped import linear


class PointNetwork(nn.Module):
    """A perceptron (x_t, t) -> prediction for points, with Fourier features of t.

    Args:
        dim: length of a point.
        width: of the hidden layers.
        rng: draws the weights.
    """

    def __init__(self, dim: int, width: int, rng: torch.Generator) -> None:
        super().__init__()
        sizes = (dim + 9, width, width, width, dim)
        layers = [linear(a, b, rng) for a, b in pairwise(sizes)]
        parts: list[nn.Module] = [layers[0]]
        for layer in layers[1:]:
            parts += [nn.SiLU(), layer]
        self.body = nn.Sequential(*parts)

    def forward(self, x: Float[Tensor, "n dim"], t: Float[Tensor, " n"]) -> Float[Tensor, "n dim"]:
        """Return the prediction at each point and its time."""
        angles = t[:, None] * torch.tensor([1.0, 2.0, 4.0, 8.0], device=t.device, dtype=x.dtype) * math.pi / 2
        out: Tensor = self.body(torch.cat([x, t[:, None].to(x), angles.cos().to(x), angles.sin().to(x)], 1))
        return out
