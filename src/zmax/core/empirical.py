"""A law known by samples, as a normal law of their mean and covariance; near them where that is not their law."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from zmax.core.errors import InputError, ShapeError
from zmax.core.fit import Fit, as_codes, tested
from zmax.core.priors import EDGE, Prior

KEPT, ROUNDING = 4096, 1e-4
"""Codes kept of a law that is not normal, at most; and how much nearer to one than need be points are moved."""


@dataclass(frozen=True, eq=False)
class Empirical(Prior):
    """A law known by samples, whitened by its mean and covariance: z = mean + L u with L L^T = cov.

    It is how a W space, or any learned latent, becomes a prior. Exact where the law is Gaussian. Where a test on
    held-out samples says that it is not, as of several clusters, what is plausible is what lies as near to a sample as
    samples lie to each other, and points are held there; `zmax.Mixture` and `zmax.FlowPrior` are laws of such samples.

    Attributes:
        mean: of the samples.
        factor: L, a lower triangle.
        codes: samples, where the normal law is not theirs; else None.
        held_out: how the law fits samples that were held out, None where that was not tested.
    """

    mean: Float[Tensor, " k"]
    factor: Float[Tensor, "k k"]
    codes: Float[Tensor, "n k"] | None = field(default=None, kw_only=True)
    held_out: Fit | None = field(default=None, kw_only=True)
    _apart: Float[Tensor, " n"] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        k = self.mean.numel()
        if self.mean.shape != (k,) or self.factor.shape != (k, k):
            got = f"{tuple(self.mean.shape)} and {tuple(self.factor.shape)}"
            raise ShapeError("mean and factor of an empirical prior", expected="(k,) and (k, k)", got=got)
        near = self.mean[:0] if self.codes is None else _nearest(self.codes, self.codes, k=2)[0].sort().values
        object.__setattr__(self, "_apart", near)

    @property
    def size(self) -> int:
        """Number of coordinates."""
        return len(self.mean)

    @property
    def radial(self) -> bool:  # type: ignore[override]
        """Whether the norm of u says something about z: where the law is normal."""
        return self.codes is None

    @property
    def bounded(self) -> bool:  # type: ignore[override]
        """Whether no norm of u is held: where the law is not normal."""
        return self.codes is not None

    @property
    def doubt(self) -> str:
        """What a run says of the law, "" where it fits."""
        if self.held_out is None or not self.held_out.bad:
            return ""
        return (
            f"is known by codes of no normal law (p = {self.held_out.p:.2g} on {self.held_out.n} held out), so "
            f"points are held near codes; zmax.Mixture.fit(codes) or zmax.FlowPrior.fit(codes) know more"
        )

    @classmethod
    def fit(cls, samples: Any, *, shrinkage: float = 1e-5, held_out: float = 0.2) -> Empirical:
        """Estimate mean and covariance factor from samples, shrinking towards the isotropic covariance.

        Args:
            samples: (n, k): a tensor, an array or a DataFrame.
            shrinkage: share of the isotropic covariance.
            held_out: share of the samples that tests whether their law is normal (from 100 samples on); 0 for no test.

        Raises:
            InputError: there are fewer than two, or they are no finite numbers.
        """
        codes = as_codes(samples)
        if codes.shape[0] < 2:
            raise InputError("an empirical prior needs samples", expected="at least 2", got=codes.shape[0])
        law, found = tested(codes, held_out, lambda some: _normal(some, shrinkage))
        known = codes[:KEPT] if found is not None and found.bad else None
        return replace(law, codes=known, held_out=found)

    def to_latent(self, u: Float[Tensor, "n k"]) -> Float[Tensor, "n k"]:
        """Apply mean and factor, on the device and in the dtype of u."""
        return self.mean.to(u) + u @ self.factor.to(u).T

    def to_white(self, z: Float[Tensor, "n k"]) -> Float[Tensor, "n k"]:
        """Solve the triangular system, on the device and in the dtype of z."""
        return torch.linalg.solve_triangular(self.factor.to(z), (z - self.mean.to(z)).T, upper=False).T

    def log_prob(self, z: Float[Tensor, "n k"]) -> Float[Tensor, " n"]:
        """Return the log density of the normal law, in nats."""
        square = self.to_white(z).square().sum(1)
        return -(square + self.size * math.log(2 * math.pi)) / 2 - self.factor.to(z).diagonal().log().sum()

    def tails(self, u: Float[Tensor, "n k"]) -> Float[Tensor, "n m"]:
        """Return the share of samples that lie at least as far from the next one, where the law is not normal."""
        if self.codes is None:
            return u[:, :0]
        nearer = torch.searchsorted(self._apart, _nearest(self.to_latent(u), self.codes)[0].to(self._apart))
        return (1 - nearer.double() / len(self._apart)).clamp_min(1 / (len(self._apart) + 1))[:, None]

    def retract(self, u: Float[Tensor, "n k"], level: float) -> Float[Tensor, "n k"]:
        """Where the law is not normal, move points towards the next sample until they are as near as is plausible."""
        if self.codes is None:
            return super().retract(u, level)
        z = self.to_latent(u)
        far, row = _nearest(z, self.codes)
        most = self._apart[int((1 - min(level, EDGE)) * len(self._apart)) - 1].to(u)
        code = self.codes.to(u)[row]
        moved = code + (z - code) * (most / far.clamp_min(1e-30))[:, None] * (1 - ROUNDING)
        return torch.where((far > most)[:, None], self.to_white(moved), u)

    def shell(self, k: int, level: float) -> tuple[float, float]:
        """Return the radii between which retraction keeps k coordinates."""
        if self.codes is None:
            return super().shell(k, level)
        return 0.0, float(self.to_white(self.codes).norm(dim=1).max())


def _normal(samples: Float[Tensor, "n k"], shrinkage: float) -> Empirical:
    """Return the normal law of the samples' mean and covariance."""
    centred = (samples - samples.mean(0)).double()
    cov = centred.T @ centred / (samples.shape[0] - 1)
    eye = torch.eye(cov.shape[0], dtype=cov.dtype, device=cov.device)
    cov = (1 - shrinkage) * cov + (shrinkage * cov.diagonal().mean() + 1e-12) * eye
    return Empirical(samples.mean(0), torch.linalg.cholesky(cov).to(samples.dtype))


def _nearest(z: Float[Tensor, "n k"], codes: Float[Tensor, "m k"], k: int = 1) -> tuple[Tensor, Tensor]:
    """Return distance and row of the code that is k-th nearest to each point; a code is nearest to itself."""
    distance, row = torch.cdist(z.detach(), codes.to(z)).topk(k, dim=1, largest=False)
    return distance[:, -1], row[:, -1]
