"""Categories, such as the codes of a quantised autoencoder or the words of a prompt, as a prior."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import one_hot

from zmax.core.errors import InputError
from zmax.core.priors import EDGE, Prior
from zmax.core.rng import stream

RAREST = 1e-6
"""Least probability of a category; a rarer one would lie past where whitened coordinates end."""

DRAWS, ROUNDING = 4096, 1e-9
"""Prior draws that a combination of unequally likely categories is compared with, and what equal ones may differ by."""


@dataclass(frozen=True)
class Categorical(Prior):
    r"""Categories of k values each, such as the codes of a VQ-VAE, the letters of a sequence, the words of a prompt.

    One-hot vectors come of k whitened coordinates each, by the race of exponential variables whose winner is i with
    probability :math:`w_i`:

    .. math:: c = \arg\max_i \bigl(\log w_i - \log(-\log \Phi(u_i))\bigr)

    Gradients are those of the softmax of the same logits (the straight-through Gumbel-softmax). Whole numbers come of
    one coordinate each, :math:`c = F_w^{-1}(\Phi(u))`: categories in their order, without a gradient.

    Args:
        k: values of each category. A block of shape (8,) has eight of them.
        one_hot: whether latents are one-hot vectors, `(n, *shape, k)`, or whole numbers from 0 to k - 1, `(n, *shape)`.
        weights: probability of each value, up to a factor; None for equal ones.

    Raises:
        InputError: k is no whole number from 2 on, or the weights are not k positive numbers, none of them below a
            millionth of all.

    Reference: Jang, Gu and Poole, *Categorical reparameterization with Gumbel-softmax*, ICLR 2017, section 2.2,
    https://arxiv.org/abs/1611.01144; Maddison, Mnih and Teh, ICLR 2017, https://arxiv.org/abs/1611.00712.

    Example:
        >>> from zmax.core.block import Block
        >>> from zmax.core.space import Space
        >>> u = torch.tensor([[0.5, 2.0, -1.0, 1.0, 0.0, 0.3]])
        >>> Space((Block("code", (2,), Categorical(3)),)).latents(u).tolist()
        [[[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]]]
        >>> Space((Block("code", (6,), Categorical(3, one_hot=False)),)).latents(u).tolist()
        [[2, 2, 0, 2, 1, 1]]
    """

    k: int
    one_hot: bool = True
    weights: tuple[float, ...] | None = None
    radial: ClassVar[bool] = False
    bounded: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not isinstance(self.k, int) or isinstance(self.k, bool) or self.k < 2:
            raise InputError("values of a category", expected="a whole number from 2 on", got=repr(self.k))
        if self.weights is None:
            return
        given = tuple(float(weight) for weight in self.weights)
        total = sum(given)
        right = len(given) == self.k and math.isfinite(total) and min(given) >= RAREST * total > 0
        if not right:
            expected = f"{self.k} positive numbers, none below a millionth of their sum"
            raise InputError("weights of a category", expected=expected, got=given)
        object.__setattr__(self, "weights", tuple(weight / total for weight in given))

    @property
    def whole(self) -> bool:  # type: ignore[override]
        """Whether latents are whole numbers."""
        return not self.one_hot

    def latent(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape, with an axis of k behind it for one-hot vectors."""
        return (*shape, self.k) if self.one_hot else shape

    def levels(self, k: int) -> tuple[int, ...]:
        """Return k a category."""
        return (self.k,) * (k // self.k if self.one_hot else k)

    def parted(self, u: Float[Tensor, "n d"]) -> tuple[Int[Tensor, "n sites"], Float[Tensor, "n 0"]]:
        """Return the categories, and no coordinates beside them."""
        if self.one_hot:
            return self._logits(u).argmax(2), u[:, :0]
        cuts = torch.special.ndtri(self._shares().cumsum(0)[:-1]).to(u)
        return torch.searchsorted(cuts, u.detach().contiguous(), right=True), u[:, :0]

    def joined(self, codes: Int[Tensor, "n sites"], free: Float[Tensor, "n 0"]) -> Float[Tensor, "n d"]:
        """Return the point at which, given the categories, every variable of the race is at its median."""
        share = self._shares()
        if not self.one_hot:
            return torch.special.ndtri(share.cumsum(0) - share / 2).to(free)[codes]
        won, lost = (torch.special.ndtri(torch.exp2(-rate)).to(free) for rate in (share, 1 + share))
        return torch.where(one_hot(codes, self.k).bool(), won, lost).flatten(1)

    def to_latent(self, u: Float[Tensor, "n d"]) -> Tensor:
        """Return one-hot vectors, differentiable as their softmax is, or whole numbers."""
        codes, _ = self.parted(u)
        if not self.one_hot:
            return codes
        hard = one_hot(codes, self.k).to(u)
        if u.requires_grad:
            soft = self._logits(u).softmax(2)
            hard = hard + (soft - soft.detach())
        return hard.flatten(1)

    def to_white(self, z: Tensor) -> Float[Tensor, "n d"]:
        """Return a point that stands for the largest of each k numbers, or for whole numbers."""
        codes = z.unflatten(1, (-1, self.k)).argmax(2) if self.one_hot else z.round().long().clamp(0, self.k - 1)
        like = z if z.is_floating_point() else z.float()
        return self.joined(codes, like[:, :0])

    def retract(self, u: Float[Tensor, "n d"], level: float) -> Float[Tensor, "n d"]:
        """Keep the categories; of combinations rarer than `level`, make the fewest the likeliest value."""
        there, codes = super().retract(u, level), self.parted(u)[0]
        kept = self.parted(there)[0] == codes
        if self.weights is not None:
            likely = self._likely(codes, min(level, EDGE))
            kept, codes = kept & (likely == codes), likely
        every = kept.repeat_interleave(self.k if self.one_hot else 1, dim=1)
        return torch.where(every, there, self.joined(codes, u[:, :0]))

    def tails(self, u: Float[Tensor, "n d"]) -> Float[Tensor, "n m"]:
        r"""Return the share of prior draws whose categories are at most as likely, where some values are rarer."""
        if self.weights is None:
            return u[:, :0]
        found = self._surprise(self.parted(u)[0]).sum(1)
        below = torch.searchsorted(self._known(len(self.levels(u.shape[1]))), found - ROUNDING)
        return (1 - below.double() / DRAWS).clamp_min(1 / DRAWS)[:, None]

    def _likely(self, codes: Int[Tensor, "n sites"], level: float) -> Int[Tensor, "n sites"]:
        """Give the least likely categories, one after the other, the likeliest value until the whole is as likely."""
        surprise = self._surprise(codes)
        most = self._known(codes.shape[1])[int((1 - level) * DRAWS) - 1]
        gain, order = (surprise - self._surprise(codes.new_tensor(self._mode))).sort(dim=1, descending=True)
        before = surprise.sum(1, keepdim=True) - gain.cumsum(1) + gain
        rare = before > most + ROUNDING
        changed = torch.zeros_like(rare).scatter(1, order, rare)
        return torch.where(changed.to(codes.device), self._mode, codes)

    @property
    def _mode(self) -> int:
        return int(self._shares().argmax())

    def _known(self, sites: int) -> Float[Tensor, " draws"]:
        """Return how surprising prior draws are, in nats, ascending."""
        share = torch.rand(DRAWS, sites, generator=stream(0, "categories"), device="cpu", dtype=torch.float64)
        codes = torch.searchsorted(self._shares().cumsum(0)[:-1].contiguous(), share)
        return self._surprise(codes).sum(1).sort().values

    def _logits(self, u: Tensor) -> Tensor:
        """Return log w plus Gumbel variables, (n, sites, k)."""
        late = (-torch.special.log_ndtr(u)).clamp_min(torch.finfo(u.dtype).tiny)
        gumbel = -late.log().unflatten(1, (-1, self.k))
        return gumbel if self.weights is None else gumbel + self._shares().log().to(u)

    def _shares(self) -> Float[Tensor, " k"]:
        weights = (1 / self.k,) * self.k if self.weights is None else self.weights
        return torch.tensor(weights, dtype=torch.float64, device="cpu")

    def _surprise(self, codes: Int[Tensor, "*sites"]) -> Float[Tensor, "*sites"]:
        return -self._shares().log()[codes.cpu()]
