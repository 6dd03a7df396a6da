"""Priors of one latent block, each a map between whitened coordinates u ~ N(0, I_k) and the latent z."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from zmax.core.errors import InputError, ShapeError

_TINY = 1e-7

SMALL = 10
"""Blocks of fewer coordinates have no shell: their prior reaches to the origin, so only norms too large are odd."""

LEVEL = 0.5
"""Plausibility that retraction ends at where nothing else is said."""

EDGE = 0.051
"""Plausibility that guards hold points at: a little above 0.05, below which it is suspicious, for rounding's sake."""

FAR = 5.0
"""Whitened coordinates of a bounded block beyond this change nothing that single precision can tell."""


class Prior(ABC):
    """The law of one latent block, as the image of N(0, I_k) under a differentiable map.

    Attributes:
        radial: whether the norm of u says something about z (on a sphere it does not).
    """

    radial: ClassVar[bool] = True

    @property
    def size(self) -> int | None:
        """Number of coordinates it is a law of, None if any."""
        return None

    @abstractmethod
    def to_latent(self, u: Float[Tensor, "n k"]) -> Float[Tensor, "n k"]:
        """Map whitened coordinates to latents."""

    @abstractmethod
    def to_white(self, z: Float[Tensor, "n k"]) -> Float[Tensor, "n k"]:
        """Map latents back; a right inverse of :meth:`to_latent`."""

    def retract(self, u: Float[Tensor, "n k"], level: float) -> Float[Tensor, "n k"]:
        """Return the nearest points of plausibility at least `level`."""
        return radial_retract(u, level)


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
class Largest(Normal):
    """z ~ N(0, I), of which G uses no more than which coordinate is the largest: each is as likely as any other."""

    radial: ClassVar[bool] = False


@dataclass(frozen=True)
class Uniform(Prior):
    """z uniform on [low, high]^k, through z = low + (high - low) Phi(u); every point of the box is as good as any."""

    low: float = -1.0
    high: float = 1.0
    radial: ClassVar[bool] = False

    def __post_init__(self) -> None:
        _positive("high - low of a uniform prior", self.high - self.low)

    def to_latent(self, u: Float[Tensor, "n k"]) -> Float[Tensor, "n k"]:
        """Apply the normal distribution function."""
        return self.low + (self.high - self.low) * torch.special.ndtr(u)

    def to_white(self, z: Float[Tensor, "n k"]) -> Float[Tensor, "n k"]:
        """Apply the normal quantile function."""
        p = (z - self.low) / (self.high - self.low)
        return torch.special.ndtri(p.clamp(_TINY, 1 - _TINY))

    def retract(self, u: Float[Tensor, "n k"], level: float) -> Float[Tensor, "n k"]:
        """Keep the coordinates where the map can tell them apart, whatever the level."""
        return u.clamp(-FAR, FAR)


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


@dataclass(frozen=True)
class Empirical(Prior):
    """A law known by samples, whitened by its mean and covariance: z = mean + L u with L L^T = cov.

    It is how a W space, or any learned latent, becomes a prior. Exact where the law is Gaussian.
    """

    mean: Float[Tensor, " k"]
    factor: Float[Tensor, "k k"]

    def __post_init__(self) -> None:
        k = self.mean.numel()
        if self.mean.shape != (k,) or self.factor.shape != (k, k):
            got = f"{tuple(self.mean.shape)} and {tuple(self.factor.shape)}"
            raise ShapeError("mean and factor of an empirical prior", expected="(k,) and (k, k)", got=got)

    @property
    def size(self) -> int:
        """Number of coordinates."""
        return len(self.mean)

    @classmethod
    def fit(cls, samples: Float[Tensor, "n k"], *, shrinkage: float = 1e-5) -> Empirical:
        """Estimate mean and covariance factor from samples, shrinking towards the isotropic covariance."""
        if samples.shape[0] < 2:
            raise InputError("an empirical prior needs samples", expected="at least 2", got=samples.shape[0])
        centred = (samples - samples.mean(0)).double()
        cov = centred.T @ centred / (samples.shape[0] - 1)
        eye = torch.eye(cov.shape[0], dtype=cov.dtype, device=cov.device)
        cov = (1 - shrinkage) * cov + (shrinkage * cov.diagonal().mean() + 1e-12) * eye
        return cls(samples.mean(0), torch.linalg.cholesky(cov).to(samples.dtype))

    def to_latent(self, u: Float[Tensor, "n k"]) -> Float[Tensor, "n k"]:
        """Apply mean and factor, on the device and in the dtype of u."""
        return self.mean.to(u) + u @ self.factor.to(u).T

    def to_white(self, z: Float[Tensor, "n k"]) -> Float[Tensor, "n k"]:
        """Solve the triangular system, on the device and in the dtype of z."""
        return torch.linalg.solve_triangular(self.factor.to(z), (z - self.mean.to(z)).T, upper=False).T


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


def radial_plausibility(u: Float[Tensor, "n k"]) -> Float[Tensor, " n"]:
    r"""Return the p-value of :math:`|u|^2` under :math:`\chi^2_k`: two-sided, or the upper one below ten dimensions.

    .. math:: 2 \min\{F_k(|u|^2),\ 1 - F_k(|u|^2)\} \quad\text{or}\quad 1 - F_k(|u|^2)

    It is uniform on [0, 1] for prior draws, near 1 on the typical shell :math:`|u| \approx \sqrt{k}`, and falls to 0
    for points too far out *or* too near the origin, which is no rare place where k is small.

    Example:
        >>> shell = torch.ones(1, 100)
        >>> [round(float(radial_plausibility(s * shell)), 2) for s in (0.5, 1.0, 2.0)]
        [0.0, 0.96, 0.0]
    """
    half = torch.tensor(u.shape[1] / 2, dtype=torch.float64, device=u.device)
    square = u.double().square().sum(1) / 2
    above = torch.special.gammaincc(half, square)
    return (above if u.shape[1] < SMALL else 2 * torch.minimum(1 - above, above)).to(u.dtype)


def radial_retract(u: Float[Tensor, "n k"], level: float) -> Float[Tensor, "n k"]:
    """Move each row radially to the nearest norm whose plausibility is at least `level`; rows already there stay."""
    return between(u, *shell(u.shape[1], level))


def between(u: Float[Tensor, "n k"], low: float, high: float) -> Float[Tensor, "n k"]:
    """Move each row radially to the nearest norm between the two; rows already there stay."""
    norm = torch.linalg.vector_norm(u, dim=1, keepdim=True)
    factor = torch.where((norm < low) | (norm > high), norm.clamp(low, high) / norm.clamp_min(1e-30), 1.0)
    moved = u * factor
    return torch.where(norm > 0, moved, low / u.shape[1] ** 0.5) if bool((norm == 0).any()) else moved


@lru_cache(maxsize=256)
def shell(k: int, level: float) -> tuple[float, float]:
    """Return the radii between which a block of k coordinates is kept: where its plausibility is at least `level`.

    In fewer than ten dimensions any norm is taken that is not suspicious: there a level of 0.5 would forbid most of
    what a method can gain.
    """
    if k < SMALL:
        return 0.0, _chi_quantile(k, 1 - min(level, EDGE))
    return _chi_quantile(k, level / 2), _chi_quantile(k, 1 - level / 2)


def _chi_quantile(k: int, p: float) -> float:
    """Invert the chi distribution function by bisection (it is monotone; 200 halvings reach float64)."""
    half = torch.tensor(k / 2, dtype=torch.float64, device="cpu")
    low, high = 0.0, k**0.5 + 40.0
    for _ in range(200):
        middle = (low + high) / 2
        below = float(torch.special.gammainc(half, half.new_tensor(middle**2 / 2))) < p
        low, high = (middle, high) if below else (low, middle)
    return (low + high) / 2
