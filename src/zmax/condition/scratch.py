"""A small flow model of samples that no generator made, for a condition that begins with data alone."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from zmax.core.errors import InputError
from zmax.core.rng import stream
from zmax.core.samples import spread
from zmax.generators.diffusion.generator import DenoiserGenerator
from zmax.generators.diffusion.points import PointNetwork
from zmax.generators.diffusion.wrap import diffusion
from zmax.natural.companion import built

NAME = "scratch"
STEPS, WIDTH, EDGE = 20, 256, 1e-3
"""Steps from noise to data, width of the network of vectors, and how near to 0 and 1 times are told."""


class Scratch(nn.Module):
    r"""A network of few weights that tells the velocity of standardised samples, and keeps their mean and spread.

    .. math:: v(x_t, t), \qquad x_t = (1 - t)\,(x - \mu) / \sigma + t\,\epsilon

    Its first weights are a function of the shape alone.

    Args:
        shape: of a sample: (channels, height, width), the last two multiples of four from 8 on; or (values,).
    """

    def __init__(self, shape: Sequence[int]) -> None:
        super().__init__()
        picture = len(shape) == 3
        self.body = built(shape) if picture else PointNetwork(shape[0], WIDTH, stream(0, NAME))
        size = (1,) if picture else tuple(shape)
        self.mean, self.std = (nn.Parameter(make(*size)) for make in (torch.zeros, torch.ones))
        self.picture = picture

    def forward(self, x_t: Float[Tensor, "n ..."], t: Float[Tensor, " n"]) -> Float[Tensor, "n ..."]:
        """Return the velocity at each point and its time."""
        if not self.picture:
            points: Tensor = self.body(x_t, t)
            return points
        t = t.to(x_t).clamp(EDGE, 1 - EDGE)
        pictures: Tensor = self.body(x_t / spread(1 - t, x_t), t / (1 - t))
        return pictures

    def finished(self, x_0: Float[Tensor, "n ..."]) -> Float[Tensor, "n ..."]:
        """Return samples in their own scale; pictures in [0, 1]."""
        x = self.mean.detach() + x_0 * self.std.detach()
        return x.clamp(0, 1) if self.picture else x

    def fit(self, x: Float[Tensor, "n ..."]) -> None:
        """Take over mean and spread of samples: those of all values of pictures, of each coordinate of vectors."""
        mean, std = (x.mean(), x.std()) if self.picture else (x.mean(0), x.std(0))
        with torch.no_grad():
            self.mean.copy_(mean.expand_as(self.mean))
            self.std.copy_(std.clamp_min(1e-6).expand_as(self.std))


def scratch(shape: str | Sequence[int] = "") -> DenoiserGenerator:
    """Return a rectified flow without training, for samples of a shape: what a condition on data alone begins with.

    Args:
        shape: of a sample, such as "3,16,16" for pictures or "2" for vectors.

    Raises:
        InputError: it is no such shape.

    Example:
        >>> G = scratch("3,16,16")
        >>> G.modality, G.decode(G.space.latents(torch.zeros(2, G.space.dim))).shape
        ('image', torch.Size([2, 3, 16, 16]))
    """
    words = shape.split(",") if isinstance(shape, str) else [str(size) for size in shape]
    sizes = tuple(int(word) for word in words if word.strip().isdigit())
    picture = len(sizes) == 3 and sizes[0] in (1, 3) and all(s >= 8 and s % 4 == 0 for s in sizes[1:])
    if len(sizes) != len(words) or not (picture or len(sizes) == 1) or min(sizes) < 1:
        expected = "the shape of vectors, '2', or of pictures, '3,16,16' with sides in multiples of four from 8 on"
        raise InputError("a generator that is trained from scratch", expected=expected, got=repr(shape))
    network = Scratch(sizes)
    made = diffusion(
        network,
        shape=sizes,
        schedule="rectified-flow",
        steps=STEPS,
        parametrisation="velocity",
        finish=network.finished,
        modality="image" if picture else "vector",
        name=NAME,
    )
    made.source = f"{NAME}:{','.join(map(str, sizes))}"
    return made


def fitted(generator: object, x: Float[Tensor, "n ..."]) -> None:
    """Tell a generator that is to be trained from scratch the mean and spread of its samples; leave any other."""
    if isinstance(generator, DenoiserGenerator):
        for network in generator.networks:
            for part in network.modules():
                if isinstance(part, Scratch):
                    part.fit(x)
