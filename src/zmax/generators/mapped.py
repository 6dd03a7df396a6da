"""Any generator behind an invertible map of its noises, whose density is known."""

from __future__ import annotations

from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from zmax.core.generator import Generator
from zmax.core.rng import stream
from zmax.core.samples import Samples
from zmax.core.space import Block, LatentValue, Space

LAYERS, WIDTH = 6, 64
"""Couplings of a map, and width of their networks."""

DRAWN = 4
"""Points by which a space is found to keep its whitened coordinates or not."""


def linear(inputs: int, outputs: int, rng: torch.Generator) -> nn.Linear:
    """Return a layer whose weights are uniform up to one over the root of its inputs, drawn from that stream alone."""
    layer = nn.Linear(inputs, outputs, device="meta")  # meta: no draw from the global RNG
    for name, weight in list(layer.named_parameters()):
        drawn = 2 * torch.rand(weight.shape, generator=rng, device="cpu", dtype=torch.float32) - 1
        setattr(layer, name, nn.Parameter(inputs**-0.5 * drawn))
    return layer


class Half(nn.Module):
    r"""Half of the coordinates scaled and shifted by what the other half says.

    .. math:: v_b = u_b\, e^{\tanh s(u_a)} + t(u_a), \qquad v_a = u_a

    Args:
        kept: the coordinates a.
        moved: the coordinates b.
        rng: draws the weights of (s, t), whose last layer is zero.
    """

    kept: Tensor
    moved: Tensor

    def __init__(self, kept: Tensor, moved: Tensor, rng: torch.Generator) -> None:
        super().__init__()
        self.register_buffer("kept", kept, persistent=False)
        self.register_buffer("moved", moved, persistent=False)
        sizes = (len(kept), WIDTH, WIDTH, 2 * len(moved))
        layers = [linear(a, b, rng) for a, b in pairwise(sizes)]
        for weight in layers[-1].parameters():
            nn.init.zeros_(weight)
        self.network = nn.Sequential(layers[0], nn.SiLU(), layers[1], nn.SiLU(), layers[2])

    def forward(self, u: Float[Tensor, "n dim"], back: bool = False) -> tuple[Tensor, Float[Tensor, " n"]]:
        """Return the points it leads to, or comes from, and the logarithm of the determinant of that map."""
        raw, shift = self.network(u[:, self.kept]).chunk(2, dim=1)
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

    Example:
        >>> flow = Coupling(5)
        >>> v, log_det = flow(torch.ones(2, 5))
        >>> v.tolist()[0], log_det.tolist()
        ([1.0, 1.0, 1.0, 1.0, 1.0], [0.0, 0.0])
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        rng, halves, order = stream(0, "mapped", dim), [], torch.arange(dim, device="cpu")
        for i in range(LAYERS if dim > 1 else 0):
            order = order.flip(0) if i % 2 else torch.randperm(dim, generator=rng, device="cpu")
            halves.append(Half(order[: dim // 2], order[dim // 2 :], rng))
        self.halves = nn.ModuleList(halves)
        self.log_scale, self.shift = (nn.Parameter(torch.zeros(dim, device="cpu")) for _ in range(2))

    def forward(self, u: Float[Tensor, "n dim"], back: bool = False) -> tuple[Tensor, Float[Tensor, " n"]]:
        r"""Return v and :math:`\log|\det \partial v / \partial u|`; or, given v, u and that of the inverse."""
        total = self.log_scale.sum().expand(len(u))
        if back:
            u, total = (u - self.shift) * (-self.log_scale).exp(), -total
        for half in reversed(self.halves) if back else self.halves:
            u, log_det = half(u, back)
            total = total + log_det
        return (u, total) if back else (u * self.log_scale.exp() + self.shift, total)


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
        self.space = parent.space if _keeps(parent.space) else _plain(parent.space)
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


def _keeps(space: Space) -> bool:
    u = space.sample(DRAWN, stream(0, "mapped", "space"))
    return bool(torch.allclose(space.whiten(space.latents(u)), u, atol=1e-3))


def _plain(space: Space) -> Space:
    return Space(tuple(Block(block.name, block.shape) for block in space.blocks))
