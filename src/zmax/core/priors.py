"""Priors of one latent block, each a map between whitened coordinates u ~ N(0, I_k) and the latent z."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from zmax.core.errors import InputError, ShapeError
from zmax.core.shells import EDGE, LEVEL, SMALL, radial_plausibility, radial_retract, shell

__all__ = [
    "EDGE",
    "FAR",
    "LEVEL",
    "SMALL",
    "Normal",
    "Prior",
    "Sphere",
    "TruncatedNormal",
    "Uniform",
    "prior",
    "radial_plausibility",
    "radial_retract",
    "shell",
]

_TINY = 1e-7

FAR = 5.0
"""Whitened coordinate at which a bounded block is at its bound; beyond it lie six of ten million prior draws."""


class Prior(ABC):
    """The law of one latent block, as the image of N(0, I_k) under a differentiable map.

    Attributes:
        radial: whether the norm of u says something about z (on a sphere it does not).
        bounded: whether no norm of u is held: z fills a box or a simplex evenly, and its edges are as plausible as its
            middle.
        whole: whether z are whole numbers.
    """

    radial: ClassVar[bool] = True
    bounded: ClassVar[bool] = False
    whole: ClassVar[bool] = False

    @property
    def size(self) -> int | None:
        """Number of coordinates it is a law of, None if any."""
        return None

    @property
    def doubt(self) -> str:
        """What a run says of the law, as "does not fit its codes", "" if nothing."""
        return ""

    @property
    def group(self) -> int:
        """Number of consecutive coordinates that belong together; blocks hold a multiple of it."""
        return 1

    def latent(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of the latents of a block of that shape."""
        return shape

    def width(self, shape: tuple[int, ...]) -> int:
        """Return how many whitened coordinates a block of that shape has."""
        return math.prod(self.latent(shape))

    def levels(self, k: int) -> tuple[int, ...]:
        """Return how many values each category has that k whitened coordinates stand for; none for continuous laws."""
        return ()

    def parted(self, u: Float[Tensor, "n k"]) -> tuple[Int[Tensor, "n sites"], Float[Tensor, "n free"]]:
        """Return the categories that whitened coordinates stand for, and the coordinates that stand for none."""
        return u.new_empty(len(u), 0, dtype=torch.long), u

    def joined(self, codes: Int[Tensor, "n sites"], free: Float[Tensor, "n free"]) -> Float[Tensor, "n k"]:
        """Return whitened coordinates that stand for these; a right inverse of :meth:`parted`."""
        return free

    def normed(self, u: Float[Tensor, "n k"]) -> Float[Tensor, "n m"]:
        """Return the coordinates whose norm tells how typical z is: all, or none."""
        return u if self.radial else u[:, :0]

    def tails(self, u: Float[Tensor, "n k"]) -> Float[Tensor, "n m"]:
        """Return the p-values of whatever else tells how typical z is."""
        return u[:, :0]

    def log_prob(self, z: Float[Tensor, "n k"]) -> Float[Tensor, " n"] | None:
        """Return the log density of latents in nats, None for laws that do not say."""
        return None

    @abstractmethod
    def to_latent(self, u: Float[Tensor, "n k"]) -> Float[Tensor, "n k"]:
        """Map whitened coordinates to latents."""

    @abstractmethod
    def to_white(self, z: Float[Tensor, "n k"]) -> Float[Tensor, "n k"]:
        """Map latents back; a right inverse of :meth:`to_latent`."""

    def retract(self, u: Float[Tensor, "n k"], level: float) -> Float[Tensor, "n k"]:
        """Return the nearest points of plausibility at least `level`; of a bounded block, those not past FAR."""
        return u.clamp(-FAR, FAR) if self.bounded else radial_retract(u, level)

    def shell(self, k: int, level: float) -> tuple[float, float]:
        """Return the radii between which retraction keeps k coordinates."""
        return (0.0, FAR * k**0.5) if self.bounded else shell(k, level)


@dataclass(frozen=True)
class Normal(Prior):
    """z ~ N(0, scale^2 I)."""

    scale: float = 1.0

    def __post_init__(self) -> None:
        _positive("scale of a normal prior", self.scale)

    def to_latent(self, u: Float[Tensor, "n k"]) -> Float[Tensor, "n k"]:
        """Multiply by the scale."""
        return u if self.scale == 1.0 else u * self.scale

    def to_white(self, z: Float[Tensor, "n k"]) -> Float[Tensor, "n k"]:
        """Divide by the scale."""
        return z / self.scale


@dataclass(frozen=True)
class Uniform(Prior):
    r"""z uniform in a box, whose edges are reached at :math:`|u| \ge 5`; every point of it is as good as any.

    .. math:: z = \mathrm{low} + (\mathrm{high} - \mathrm{low})\,\frac{\Phi(u) - \Phi(-5)}{1 - 2\,\Phi(-5)}

    Args:
        low, high: bounds, one for all coordinates or a tuple with one for each.

    Example:
        >>> Uniform((0.0, 5.0), (1.0, 9.0)).to_latent(torch.tensor([[0.0, 5.0], [-5.0, 0.0]])).tolist()
        [[0.5, 9.0], [0.0, 7.0]]
    """

    low: float | tuple[float, ...] = -1.0
    high: float | tuple[float, ...] = 1.0
    radial: ClassVar[bool] = False
    bounded: ClassVar[bool] = True

    def __post_init__(self) -> None:
        low, high = _columns(self.low), _columns(self.high)
        if min(len(low), len(high)) > 1 and len(low) != len(high):
            raise ShapeError(
                "bounds of a uniform prior", expected="as many low as high ones", got=(len(low), len(high))
            )
        for i in range(max(len(low), len(high))):
            _positive("high - low of a uniform prior", high[i % len(high)] - low[i % len(low)])

    @property
    def size(self) -> int | None:
        """Number of bounds, None where one is for all coordinates."""
        return max((len(bound) for bound in (self.low, self.high) if isinstance(bound, tuple)), default=None)

    def to_latent(self, u: Float[Tensor, "n k"]) -> Float[Tensor, "n k"]:
        """Go in from the nearer edge by the normal distribution function, which is precise in the lower tail."""
        (low, high), past = self._box(u), self._past(u)
        left = u <= 0
        p = torch.special.ndtr(torch.where(left, u, -u))
        way = (high - low) * ((p - past) / (1 - 2 * past)).clamp_min(0)
        return torch.where(left, low + way, high - way)

    def to_white(self, z: Float[Tensor, "n k"]) -> Float[Tensor, "n k"]:
        """Apply the normal quantile function to the share that lies between z and the nearer edge."""
        (low, high), past = self._box(z), self._past(z)
        left = z - low <= high - z
        share = (torch.where(left, z - low, high - z) / (high - low)).clamp_min(0)
        u = torch.where(share > 0, torch.special.ndtri(past + (1 - 2 * past) * share), -FAR)
        return torch.where(left, u, -u)

    def _box(self, like: Tensor) -> tuple[Tensor, Tensor]:
        return like.new_tensor(self.low), like.new_tensor(self.high)

    def _past(self, like: Tensor) -> Tensor:
        return torch.special.ndtr(like.new_tensor(-FAR))


@dataclass(frozen=True)
class TruncatedNormal(Prior):
    """z ~ N(0, I) with every coordinate kept in [-bound, bound] (the truncation trick of BigGAN)."""

    bound: float = 2.0

    def __post_init__(self) -> None:
        _positive("bound of a truncated prior", self.bound)

    def to_latent(self, u: Float[Tensor, "n k"]) -> Float[Tensor, "n k"]:
        """Push through z = Phi^-1(a + (1 - 2a) Phi(u)), a = Phi(-bound), in the lower half, where Phi is precise."""
        a, sign = self._tail, torch.where(u > 0, -1.0, 1.0).to(u)
        lower = torch.special.ndtri(a + (1 - 2 * a) * torch.special.ndtr(sign * u))
        return (sign * lower).clamp(-self.bound, self.bound)

    def to_white(self, z: Float[Tensor, "n k"]) -> Float[Tensor, "n k"]:
        """Invert the push-forward."""
        p = (torch.special.ndtr(z) - self._tail) / (1 - 2 * self._tail)
        return torch.special.ndtri(p.clamp(_TINY, 1 - _TINY))

    @property
    def _tail(self) -> float:
        return 0.5 * math.erfc(self.bound / math.sqrt(2))


@dataclass(frozen=True)
class Sphere(Prior):
    """z uniform on the sphere of the given radius (sqrt(k) where none is given): z = radius u / |u|."""

    radius: float | None = None
    radial: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.radius is not None:
            _positive("radius of a spherical prior", self.radius)

    def to_latent(self, u: Float[Tensor, "n k"]) -> Float[Tensor, "n k"]:
        """Project on the sphere."""
        return u * (self._radius(u) / u.norm(dim=1, keepdim=True).clamp_min(1e-12))

    def to_white(self, z: Float[Tensor, "n k"]) -> Float[Tensor, "n k"]:
        """Return the point of the typical shell in the same direction."""
        return z * (z.shape[1] ** 0.5 / z.norm(dim=1, keepdim=True).clamp_min(1e-12))

    def retract(self, u: Float[Tensor, "n k"], level: float) -> Float[Tensor, "n k"]:
        """Keep the norm near sqrt(k), which changes no sample and keeps steps meaningful."""
        return radial_retract(u, level) if u.shape[1] >= SMALL else self.to_white(u)

    def _radius(self, u: Tensor) -> float:
        return u.shape[1] ** 0.5 if self.radius is None else self.radius


def _columns(bound: float | tuple[float, ...]) -> tuple[float, ...]:
    return bound if isinstance(bound, tuple) else (bound,)


def _positive(what: str, value: float) -> None:
    if not (value > 0 and math.isfinite(value)):
        raise InputError(what, expected="a positive number", got=value)


_BY_NAME: dict[str, type[Prior]] = {
    "normal": Normal,
    "uniform": Uniform,
    "truncated": TruncatedNormal,
    "sphere": Sphere,
}


def prior(spec: str | Prior) -> Prior:
    """Return the prior of that name (normal, uniform, truncated, sphere), or the prior itself.

    Raises:
        InputError: the name is not known.
    """
    if isinstance(spec, Prior):
        return spec
    if spec not in _BY_NAME:
        raise InputError(f"unknown prior {spec!r}", expected=", ".join(_BY_NAME), remedy="or pass a Prior instance")
    return _BY_NAME[spec]()
