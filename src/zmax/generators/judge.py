"""A small network that predicts scores from samples, or from the noises that they are made of."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import silu

from zmax.core.rng import stream
from zmax.core.samples import sized
from zmax.generators.mapped import drawn, linear

WIDTH, FIRST, NEXT = 256, 48, 64
"""Length of hidden layers; channels of the first convolution and of those after it."""

LAST = 4
"""Height and width at which an image is small enough."""

LEAST = 1e-6
"""Smallest spread that inputs are divided by."""


class Judge(nn.Module):
    r"""Predicts k scores of samples; at first 0, whatever the sample.

    Images go through convolutions that halve them until they are small, all else through a perceptron.

    Args:
        shape: of a sample, as :func:`~zmax.core.samples.sized` gives it.
        k: number of scores.

    Attributes:
        hidden: lengths of the hidden layers, of which :meth:`forward` can be told to drop features.

    Example:
        >>> Judge((3, 16, 16), 1)(torch.ones(2, 3, 16, 16)).tolist(), Judge((5,), 2).hidden
        ([[0.0], [0.0]], (256, 256))
    """

    def __init__(self, shape: Sequence[int], k: int) -> None:
        super().__init__()
        rng = stream(0, "judge", *shape, k)
        layers, first = _halving(shape, rng) if len(shape) == 3 else ([linear(shape[0], WIDTH, rng), nn.SiLU()], WIDTH)
        self.hidden = (first, WIDTH)
        self.trunk = nn.Sequential(*layers)
        self.middle, self.end = linear(first, WIDTH, rng), linear(WIDTH, k, rng)
        for weight in self.end.parameters():
            nn.init.zeros_(weight)
        axes = (shape[0], 1, 1) if len(shape) == 3 else (shape[0],)
        zero = torch.zeros(axes, device="cpu")
        self.mean, self.spread = (nn.Parameter(value, requires_grad=False) for value in (zero, zero + 1))

    def scale(self, x: Float[Tensor, "n ..."]) -> None:
        """Take mean and spread of inputs, of each channel or coordinate, from these."""
        axes = (0, 2, 3) if x.ndim == 4 else (0,)
        self.mean.copy_(x.mean(axes).reshape(self.mean.shape))
        self.spread.copy_(x.std(axes, correction=0).clamp_min(LEAST).reshape(self.spread.shape))

    def forward(
        self, x: Float[Tensor, "n ..."], keep: Sequence[Float[Tensor, "n hidden"]] | None = None
    ) -> Float[Tensor, "n k"]:
        """Return the predicted scores; `keep` multiplies the features of each hidden layer."""
        first = self.trunk((sized(x.to(self.mean)) - self.mean) / self.spread)
        first = first if keep is None else first * keep[0]
        second = silu(self.middle(first))
        predicted: Tensor = self.end(second if keep is None else second * keep[1])
        return predicted


def _halving(shape: Sequence[int], rng: torch.Generator) -> tuple[list[nn.Module], int]:
    """Return convolutions that halve an image until it is small, and the number of features that are left."""
    channels, *sides = shape
    layers: list[nn.Module] = []
    while (max(sides) > LAST and min(sides) > 1) or not layers:
        out, kernel, pad = (NEXT, 2, 0) if layers else (FIRST, 4, 1)
        convolution = nn.Conv2d(channels, out, kernel, stride=2, padding=pad, device="meta")
        layers += [drawn(convolution, channels * kernel**2, rng), nn.SiLU()]
        channels, sides = out, [(side + 2 * pad - kernel) // 2 + 1 for side in sides]
    return [*layers, nn.Flatten()], channels * sides[0] * sides[1]
