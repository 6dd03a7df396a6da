"""Any generator behind an invertible map of its noises, whose density is known."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from zmax.core.generator import Generator
from zmax.core.rng import stream
from zmax.core.samples import Samples
from zmax.core.space import Block, LatentValue, Space

LayerT = TypeVar("LayerT", bound=nn.Module)

LAYERS, WIDTH = 6, 64
"""Couplings of a map, and width of their networks."""

DRAWN = 4
"""Points by which a space is found to keep its whitened coordinates or not."""


def linear(inputs: int, outputs: int, rng: torch.Generator) -> nn.Linear:
    """Return a layer whose weights are uniform up to one over the root of its inputs, drawn from that stream alone."""
    return drawn(nn.Linear(inputs, outputs, device="meta"), inputs, rng)


def drawn(layer: LayerT, inputs: int, rng: torch.Generator) -> LayerT:
    """Return a layer that was made without weights, "meta", so that nothing is drawn from the global RNG, with them."""
    for name, weight in list(layer.named_parameters()):
        share = 2 * torch.rand(weight.shape, generator=rng, device="cpu", dtype=torch.float32) - 1
        setattr(layer, name, nn.Parameter(inputs**-0.5 * share))
    return layer


class Half(nn.Module):
    r"""Half of the coordinates scaled and shifted by what the other half says.

    .. math:: v_b = u_b\, e^{\tanh s(u_a, c)} + t(u_a, c), \qquad v_a = u_a

    Args:
        kept: the coordinates a.
        moved: the coordinates b.
        context: length of c, what else is known.
        rng: draws the weights of (s, t), whose last layer is zero.
    """

    kept: Tensor
    moved: Tensor

    def __init__(self, kept: Tensor, moved: Tensor, context: int, rng: torch.Generator) -> None:
        super().__init__()
        self.register_buffer("kept", kept, persistent=False)
        self.register_buffer("moved", moved, persistent=False)
        sizes = (len(kept) + context, WIDTH, WIDTH, 2 * len(moved))
        layers = [linear(a, b, rng) for a, b in pairwise(sizes)]
        for weight in layers[-1].parameters():
            nn.init.zeros_(weight)
        self.network = nn.Sequential(layers[0], nn.SiLU(), layers[1], nn.SiLU(), layers[2])

    def forward(
        self, u: Float[Tensor, "n dim"], back: bool = False, context: Tensor | None = None
    ) -> tuple[Tensor, Float[Tensor, " n"]]:
        """Return the points it leads to, or comes from, and the logarithm of the determinant of that map."""
        kept = u[:, self.kept]
        raw, shift = self.network(kept if context is None else torch.cat([kept, context], 1)).chunk(2, dim=1)
        scale, part = raw.tanh(), u[:, self.moved]
        if back:
            scale = -scale
        led = (part - shift) * scale.exp() if back else part * scale.exp() + shift
        return u.index_copy(1, self.moved, led.to(u)), scale.sum(1)


class Coupling(nn.Module):
    r"""An invertible map u -> v of whitened coordinates: couplings, then a scale and a shift of each; at first v = u.

    Reference: Dinh et al. 2017, *Real NVP*, sec. 3, https://arxiv.org/abs/1605.08803.

    Args:
        dim: number of coordinates. Of one alone it is a scale and a shift.
        context: length of what else every part of the map is told, row by row.

    Example:
        >>> flow = Coupling(5)
        >>> v, log_det = flow(torch.ones(2, 5))
        >>> v.tolist()[0], log_det.tolist()
        ([1.0, 1.0, 1.0, 1.0, 1.0], [0.0, 0.0])
    """

    def __init__(self, dim: int, context: int = 0) -> None:
        super().__init__()
        rng, halves, order = stream(0, "mapped", dim), [], torch.arange(dim, device="cpu")
        for i in range(LAYERS if dim > 1 else 0):
            order = order.flip(0) if i % 2 else torch.randperm(dim, generator=rng, device="cpu")
            halves.append(Half(order[: dim // 2], order[dim // 2 :], context, rng))
        self.halves = nn.ModuleList(halves)
        self.log_scale, self.shift = (nn.Parameter(torch.zeros(dim, device="cpu")) for _ in range(2))
        self.told = linear(context, 2 * dim, rng) if context else None
        if self.told is not None:
            for weight in self.told.parameters():
                nn.init.zeros_(weight)

    def forward(
        self, u: Float[Tensor, "n dim"], back: bool = False, context: Float[Tensor, "n told"] | None = None
    ) -> tuple[Tensor, Float[Tensor, " n"]]:
        r"""Return v and :math:`\log|\det \partial v / \partial u|`; or, given v, u and that of the inverse."""
        log_scale, shift = self.log_scale, self.shift
        if self.told is not None and context is not None:
            more = self.told(context).chunk(2, dim=1)
            log_scale, shift = log_scale + more[0], shift + more[1]
        total = log_scale.sum(-1).expand(len(u))
        if back:
            u, total = (u - shift) * (-log_scale).exp(), -total
        for half in reversed(self.halves) if back else self.halves:
            u, log_det = half(u, back, context)
            total = total + log_det
        return (u, total) if back else (u * log_scale.exp() + shift, total)


class Mapped(Generator):
    r"""A generator whose noises go through an invertible map first: x = G(f(u)).

    Its latents are the parent's; where those forget u, as on a sphere, they are u itself. Its networks are the parent's
    too, since the map costs next to nothing beside them.

    Args:
        parent: G, which stays as it is.
        flow: f.

    Example:
        >>> import zmax
        >>> G = zmax.generator(lambda z: [f"{row:.1f}" for row in z[:, 0]], shape=(1,), modality="text")
        >>> mapped = Mapped(G, Coupling(1))
        >>> _ = mapped.flow.shift.data.fill_(1.0)
        >>> mapped.decode(torch.zeros(1, 1))
        ['1.0']
    """

    def __init__(self, parent: Generator, flow: Coupling) -> None:
        self.parent, self.flow = parent, flow.to(parent.device)
        self.space = plain(parent.space)
        self.name, self.modality, self.differentiable = parent.name, parent.modality, parent.differentiable
        self.networks = parent.networks

    def decode(self, z: LatentValue) -> Samples:
        """Map the latents' whitened coordinates, and decode those."""
        v, _ = self.moved(self.space.whiten(z))
        return self.parent.decode(self.parent.space.latents(v))

    def _move(self, device: str) -> None:
        super()._move(device)
        self.flow.to(device)

    def moved(self, u: Float[Tensor, "n dim"]) -> tuple[Float[Tensor, "n dim"], Float[Tensor, " n"]]:
        r"""Return :math:`v = f(u)` and :math:`\log N(v) - \log q(v)`, where q is the law of v for u ~ N(0, I)."""
        u = u.to(self.flow.shift)
        v, log_det = self.flow(u)
        return v, (u.square().sum(1) - v.square().sum(1)) / 2 + log_det

    def divergence(self, n: int, rng: torch.Generator) -> tuple[float, float]:
        r"""Estimate KL(q || N(0, I)) in nats from n points, with its standard error.

        That of the laws of samples is no larger, and the same where different latents make different samples.
        """
        with torch.no_grad():
            found = -self.moved(self.space.sample(n, rng))[1].double()
        return float(found.mean()), float(found.std() / n**0.5)


def mapped(generator: Generator) -> Mapped:
    """Return a generator that was put behind a map, as one."""
    assert isinstance(generator, Mapped), "made so before"
    return generator


def plain(space: Space) -> Space:
    """Return a space; where its latents forget u, as on a sphere, one of the same blocks whose latents are u itself."""
    u = space.sample(DRAWN, stream(0, "mapped", "space"))
    keeps = bool(torch.allclose(space.whiten(space.latents(u)), u, atol=1e-3))
    if keeps:
        return space
    shapes = [b.shape if math.prod(b.shape) == b.size else (b.size,) for b in space.blocks]
    return Space(tuple(Block(block.name, shape) for block, shape in zip(space.blocks, shapes, strict=True)))
