"""The latent space: named blocks, each with a shape and a prior, seen by methods as one N(0, I_d)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, SupportsIndex

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from zmax.core.block import Block, batched, sizes
from zmax.core.errors import InputError, ShapeError
from zmax.core.noise import chi_square_score, path_scores
from zmax.core.priors import EDGE, LEVEL, SMALL, Prior, prior, radial_plausibility, shell
from zmax.core.samples import Array, describe
from zmax.core.shells import between
from zmax.core.start import Start

__all__ = ["Block", "LatentValue", "LatentsLike", "Space"]

LatentValue = Tensor | dict[str, Tensor]

LatentsLike = LatentValue | Array | dict[str, Array]
"""What becomes latents by :meth:`Space.batch`."""


@dataclass(frozen=True)
class Space:
    r"""Named latent blocks and the map between whitened coordinates and latents.

    Methods only ever see :math:`u \sim N(0, I_d)`; a uniform, spherical, truncated or empirical prior is the business
    of the block it belongs to.

    Attributes:
        blocks: the named parts.
        start: where a search begins; draws then lie around it, and retraction leaves its norms as they are.

    Example:
        >>> space = Space.of((100,))
        >>> u = space.sample(4, torch.Generator().manual_seed(0))
        >>> space.latents(u).shape, space.dim
        (torch.Size([4, 100]), 100)
    """

    blocks: tuple[Block, ...]
    start: Start | None = field(default=None, kw_only=True, compare=False, repr=False)

    def __post_init__(self) -> None:
        names = [block.name for block in self.blocks]
        if not names or len(set(names)) < len(names):
            raise InputError("blocks of a latent space", expected="one or more, each with its own name", got=names)
        empty = [block for block in self.blocks if block.size < 1]
        if empty:
            raise InputError(f"shape of latent block {empty[0].name!r}", expected="positive sizes", got=empty[0].shape)

    @classmethod
    def of(cls, shape: Sequence[SupportsIndex] | SupportsIndex, prior_spec: str | Prior = "normal") -> Space:
        """Return a space of a single block called "z"."""
        return cls((Block("z", sizes(shape), prior(prior_spec)),))

    @property
    def dim(self) -> int:
        """Number of whitened coordinates d."""
        return sum(block.size for block in self.blocks)

    def sample(self, n: int, rng: torch.Generator) -> Float[Tensor, "n dim"]:
        """Draw n whitened points from N(0, I_d), or around the start where there is one."""
        return self.drawn(torch.randn(n, self.dim, generator=rng, device=rng.device, dtype=torch.float32))

    def drawn(self, z: Float[Tensor, "n dim"]) -> Float[Tensor, "n dim"]:
        """Return the points that standard normal values stand for: these themselves, or neighbours of the start."""
        return z if self.start is None else self.start.around(z)

    def log_prob(self, u: Float[Tensor, "n dim"]) -> Float[Tensor, " n"]:
        r"""Return :math:`\log N(u; 0, I_d)`, in nats."""
        self.check(u)
        return -0.5 * (u.square().sum(1) + self.dim * math.log(2 * math.pi))

    def latents(self, u: Float[Tensor, "n dim"]) -> LatentValue:
        """Map whitened coordinates to latents: a tensor (n, *shape), or a dict of them for several blocks."""
        self.check(u)
        parts = {
            block.name: block.prior.to_latent(part).reshape(-1, *block.latent)
            for block, part in zip(self.blocks, self.split(u), strict=True)
        }
        return parts[self.blocks[0].name] if len(parts) == 1 else parts

    def latent(self, u: Float[Tensor, " dim"]) -> LatentValue:
        """Map one point to its latent, without the batch dimension."""
        z = self.latents(u[None])
        return z[0].clone() if isinstance(z, Tensor) else {name: part[0].clone() for name, part in z.items()}

    def whiten(self, z: LatentValue) -> Float[Tensor, "n dim"]:
        """Map latents back to whitened coordinates.

        Raises:
            ShapeError: a block is missing or has another shape than the space says.
        """
        parts: Mapping[str, Tensor] = {self.blocks[0].name: z} if isinstance(z, Tensor) else z
        columns = []
        for block in self.blocks:
            part = parts.get(block.name)
            got = None if part is None else tuple(part.shape)
            if part is None or tuple(part.shape[1:]) != block.latent:
                raise ShapeError(f"latent block {block.name!r}", expected=("n", *block.latent), got=got)
            columns.append(block.prior.to_white(part.reshape(len(part), -1)))
        return torch.cat(columns, dim=1)

    def batch(self, z: Any) -> LatentValue:
        """Return latents as a generator takes them: checked, and as tensors where they are arrays.

        Raises:
            ShapeError: they are no batch of this space.
        """
        if isinstance(z, Mapping):
            return {block.name: batched(block, z.get(block.name)) for block in self.blocks}
        if len(self.blocks) > 1:
            names = ", ".join(block.name for block in self.blocks)
            raise ShapeError("latents", expected=f"a dict of {names}", got=describe(z))
        return batched(self.blocks[0], z)

    @property
    def levels(self) -> tuple[int, ...]:
        """How many values each category of the latents has, none where they have no categories."""
        return tuple(k for block in self.blocks for k in block.prior.levels(block.size))

    def parted(self, u: Float[Tensor, "n dim"]) -> tuple[Int[Tensor, "n sites"], Float[Tensor, "n free"]]:
        """Return the categories that points stand for, and the whitened coordinates that stand for none."""
        parts = [b.prior.parted(part) for b, part in zip(self.blocks, self.split(u), strict=True)]
        return torch.cat([codes for codes, _ in parts], dim=1), torch.cat([free for _, free in parts], dim=1)

    def joined(self, codes: Int[Tensor, "n sites"], free: Float[Tensor, "n free"]) -> Float[Tensor, "n dim"]:
        """Return points that stand for these categories and coordinates."""
        parts, site, at = [], 0, 0
        for block, none in zip(self.blocks, self.split(free.new_empty(0, self.dim)), strict=True):
            sites, rest = (part.shape[1] for part in block.prior.parted(none))
            parts.append(block.prior.joined(codes[:, site : site + sites], free[:, at : at + rest]))
            site, at = site + sites, at + rest
        return torch.cat(parts, dim=1)

    def retract(self, u: Float[Tensor, "n dim"], level: float = LEVEL) -> Float[Tensor, "n dim"]:
        """Return the nearest typical point: each block's norm moved into the shell of plausibility >= `level`.

        Blocks of fewer than ten coordinates are only held back from suspicious norms, at any level above that; blocks
        that fill a box or a simplex are held at no norm, and may go to their bounds. The norms of a start,
        and those between them and the shell, are left as they are.
        """
        rows = zip(self.blocks, self.split(u), self.shells(level), strict=True)
        parts = [
            block.prior.retract(part, level) if self.start is None or not block.prior.radial else between(part, *radii)
            for block, part, radii in rows
        ]
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)

    def shells(self, level: float = LEVEL) -> list[tuple[float, float]]:
        """Return the radii between which the norm of each block is kept, those of a start included."""
        known = [block.prior.shell(block.size, level) for block in self.blocks]
        if self.start is None:
            return known
        norms = [torch.linalg.vector_norm(part.double(), dim=1) for part in self.split(self.start.u)]
        pairs = zip(known, norms, strict=True)
        return [(min(low, float(n.min())), max(high, float(n.max()))) for (low, high), n in pairs]

    def shell(self, level: float = LEVEL) -> tuple[float, float]:
        """Return the radii between which the norm of a whole point is kept, those of a start included."""
        low, high = self._whole(level)
        if self.start is None:
            return low, high
        norms = torch.linalg.vector_norm(self.start.u.double(), dim=1)
        return min(low, float(norms.min())), max(high, float(norms.max()))

    def _whole(self, level: float) -> tuple[float, float]:
        """Return the radii for a whole point of the prior."""
        if not any(block.prior.bounded for block in self.blocks):
            return shell(self.dim, level)
        low, high = zip(*(block.prior.shell(block.size, level) for block in self.blocks), strict=True)
        return math.hypot(*low), math.hypot(*high)

    def at_rim(self, u: Float[Tensor, "n dim"]) -> Bool[Tensor, " n"]:
        """Say whether a point lies where a guard would stop it: some block at a norm that retraction ends at."""
        at = torch.zeros(len(u), dtype=torch.bool)
        for part in self._radial(u):
            norm = torch.linalg.vector_norm(part.double(), dim=1).cpu()
            for radius in {*shell(part.shape[1], LEVEL), *shell(part.shape[1], EDGE)} - {0.0}:
                at |= (norm / radius - 1).abs() < 1e-4
        return at

    def plausibility(self, u: Float[Tensor, "n dim"]) -> Float[Tensor, " n"]:
        r"""Return how typical each point is of the prior, in [0, 1].

        The p-value of :math:`|u_b|^2` in each block b (:func:`~zmax.core.priors.radial_plausibility`), and of the tests
        of white noise in and between blocks that are noise; m of them are combined as
        :math:`\min(1, m \min_j p_j)`; so is what else a prior knows of its latents
        (:meth:`~zmax.core.priors.Prior.tails`). Prior draws give values spread over [0, 1]; below 0.05 is suspicious.
        """
        values = [radial_plausibility(part)[:, None] for part in self._radial(u)]
        values += [b.prior.tails(part) for b, part in zip(self.blocks, self.split(u), strict=True)]
        noises = [part.double() for part in self._noises(u)]
        if noises:
            values.append((2 * torch.special.ndtr(-path_scores(noises).abs())).to(u.dtype))
        p = torch.cat([part.to(u.dtype) for part in values], dim=1)
        if not p.shape[1]:
            return u.new_ones(len(u))
        return p[:, 0] if p.shape[1] == 1 else (p.shape[1] * p.min(1).values).clamp(max=1.0)

    def deviation(self, u: Float[Tensor, "n dim"]) -> Float[Tensor, "n tests"]:
        """Return the standard scores behind :meth:`plausibility`, nearly N(0, 1) for prior draws; differentiable.

        Where only a large norm is odd, a small one has the score 0.
        """
        scores = [_norm_score(part)[:, None] for part in self._radial(u)]
        noises = self._noises(u)
        return torch.cat([u.new_zeros(len(u), 0), *scores, *([path_scores(noises)] if noises else [])], dim=1)

    def _radial(self, u: Tensor) -> list[Tensor]:
        """Return the coordinates whose norm tells how typical they are, of each block that has such."""
        parts = [block.prior.normed(part) for block, part in zip(self.blocks, self.split(u), strict=True)]
        return [part for part in parts if part.shape[1]]

    def _noises(self, u: Tensor) -> list[Tensor]:
        """Return the blocks that are noise, each (n, steps, *shape)."""
        shapes = [block.shape if block.steps else (1, *block.shape) for block in self.blocks]
        parts = zip(self.blocks, self.split(u), shapes, strict=True)
        return [part.reshape(-1, *shape) for block, part, shape in parts if block.noise]

    def check(self, u: Tensor) -> None:
        """Raise ShapeError unless u is a batch (n, d) of this space."""
        if u.ndim != 2 or u.shape[1] != self.dim:
            raise ShapeError(
                "whitened coordinates",
                expected=f"(n, {self.dim})",
                got=tuple(u.shape),
                remedy="a single point is a batch of one: u[None]",
            )

    def split(self, u: Float[Tensor, "n dim"]) -> tuple[Tensor, ...]:
        """Return the blocks of whitened points, each (n, k)."""
        return (u,) if len(self.blocks) == 1 else u.split([block.size for block in self.blocks], dim=1)


def _norm_score(part: Tensor) -> Tensor:
    score = chi_square_score(part.square().sum(1), part.shape[1])
    return score.clamp_min(0) if part.shape[1] < SMALL else score
