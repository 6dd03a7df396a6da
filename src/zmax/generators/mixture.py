"""A mixture of normal laws as a prior of codes."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from zmax.core.categorical import RAREST, Categorical
from zmax.core.checks import whole
from zmax.core.errors import InputError, MissingExtraError, ShapeError
from zmax.core.fit import Fit, as_codes, doubtful, tested
from zmax.core.priors import FAR, Prior, radial_retract, shell
from zmax.core.rng import stream

COMPONENTS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)
"""Numbers of components that are tried where none is given."""

PATIENCE = 4
"""Fits that make held-out codes no likelier, after which no more components are tried."""

UNLIKE = 30.0
"""Ratio of the spreads of coordinates above which each is taken in its own unit; else clusters lie where they lie."""


@dataclass(frozen=True, eq=False)
class Mixture(Prior):
    r"""A mixture of normal laws; one more whitened coordinate than latents chooses the component.

    .. math:: z = m_j + L_j u_{1:k}, \qquad j = F_w^{-1}(\Phi(u_0)), \qquad L_j L_j^\top = \Sigma_j

    The law is exact. A point is as plausible as it is in its own component, so that what lies between components is
    implausible; the component is a category to methods that know such.

    Args:
        weights: of the components (m,), up to a factor.
        means: of the components (m, k).
        factors: lower triangles L_j (m, k, k).
        held_out: how the law fits codes that were held out, None where that was not tested.

    Raises:
        ShapeError: these do not fit each other.

    Reference: Bishop, *Pattern recognition and machine learning*, 2006, section 9.2.

    Example:
        >>> law = Mixture(torch.tensor([0.5, 0.5]), torch.tensor([[-9.0], [9.0]]), torch.ones(2, 1, 1))
        >>> law.to_latent(torch.tensor([[-1.0, 0.5], [0.1, 0.5]])).tolist()
        [[-8.5], [9.5]]
    """

    weights: Float[Tensor, " m"]
    means: Float[Tensor, "m k"]
    factors: Float[Tensor, "m k k"]
    held_out: Fit | None = field(default=None, kw_only=True)
    radial: ClassVar[bool] = False
    bounded: ClassVar[bool] = True

    def __post_init__(self) -> None:
        m, k = self.means.shape if self.means.ndim == 2 else (0, 0)
        if not m or self.weights.shape != (m,) or self.factors.shape != (m, k, k):
            got = f"{tuple(self.weights.shape)}, {tuple(self.means.shape)} and {tuple(self.factors.shape)}"
            raise ShapeError("weights, means and factors of a mixture", expected="(m,), (m, k) and (m, k, k)", got=got)

    @classmethod
    def fit(cls, codes: Any, components: int | None = None, *, held_out: float = 0.2, seed: int = 0) -> Mixture:
        """Fit a mixture to codes by expectation maximisation, and test it on codes that were held out.

        Args:
            codes: (n, k): a tensor, an array or a DataFrame.
            components: their number; None takes that under which held-out codes are likeliest, with covariances that
                are full or diagonal.
            held_out: share of the codes that are held out, for the test and for choosing.
            seed: of the first components.

        Raises:
            InputError: the codes are no table of finite numbers, or fewer than the components.
            MissingExtraError: scikit-learn is not installed.

        Example:
            >>> two = torch.cat([torch.randn(200, 2) - 9, torch.randn(200, 2) + 9])
            >>> law = Mixture.fit(two, 2)
            >>> law.means.sort(dim=0).values[:, 0].round().tolist(), law.doubt
            ([-9.0, 9.0], '')
        """
        whole("Mixture.fit", components=components)
        found = as_codes(codes)
        if len(found) < max(2, components or 1):
            raise InputError("codes of a mixture", expected=f"at least {max(2, components or 1)}", got=len(found))
        kind = _likeliest(found, components, held_out, seed)
        law, fit = tested(found, held_out, lambda some: cls(*_estimated(some, *kind, seed)))
        return replace(law, held_out=fit)

    @property
    def size(self) -> int:
        """Number of latents."""
        return self.means.shape[1]

    @property
    def doubt(self) -> str:
        """What a run says of the law, "" where it fits."""
        return doubtful(self.held_out, "more components, or zmax.FlowPrior.fit(codes)")

    def width(self, shape: tuple[int, ...]) -> int:
        """Return the number of latents, and one more where there are several components."""
        return math.prod(shape) + self._sites

    def levels(self, k: int) -> tuple[int, ...]:
        """Return the number of components, where there are several."""
        return (len(self.weights),) * self._sites

    def parted(self, u: Float[Tensor, "n d"]) -> tuple[Int[Tensor, "n sites"], Float[Tensor, "n k"]]:
        """Return the component, where there are several, and the coordinates in it."""
        chooser, free = u[:, : self._sites], u[:, self._sites :]
        return (self._choice.parted(chooser)[0], free) if self._sites else (chooser.long(), free)

    def joined(self, codes: Int[Tensor, "n sites"], free: Float[Tensor, "n k"]) -> Float[Tensor, "n d"]:
        """Return the point of a component, from the middle of what chooses it."""
        return torch.cat([self._choice.joined(codes, free[:, :0]), free], 1) if self._sites else free

    def normed(self, u: Float[Tensor, "n d"]) -> Float[Tensor, "n k"]:
        """Return the coordinates in the component."""
        return u[:, self._sites :]

    def to_latent(self, u: Float[Tensor, "n d"]) -> Float[Tensor, "n k"]:
        """Apply mean and factor of the component."""
        codes, free = self.parted(u)
        row = codes[:, 0] if self._sites else codes.new_zeros(len(u))
        return self.means.to(u)[row] + torch.einsum("nij,nj->ni", self.factors.to(u)[row], free)

    def to_white(self, z: Float[Tensor, "n k"]) -> Float[Tensor, "n d"]:
        """Return the point in the component that is likeliest for z."""
        white, log = self._seen(z)
        row = log.argmax(1)
        free = white[torch.arange(len(z), device=z.device), row]
        return self.joined(row[:, None], free)

    def log_prob(self, z: Float[Tensor, "n k"]) -> Float[Tensor, " n"]:
        """Return the log density, in nats."""
        return self._seen(z)[1].logsumexp(1)

    def retract(self, u: Float[Tensor, "n d"], level: float) -> Float[Tensor, "n d"]:
        """Move each point, in its component, to the nearest norm of plausibility at least `level`."""
        chooser, free = u[:, : self._sites].clamp(-FAR, FAR), u[:, self._sites :]
        return torch.cat([chooser, radial_retract(free, level)], 1)

    def shell(self, k: int, level: float) -> tuple[float, float]:
        """Return the radii between which retraction keeps points."""
        low, high = shell(self.size, level)
        return (0.0, math.hypot(high, FAR)) if self._sites else (low, high)

    def _seen(self, z: Tensor) -> tuple[Float[Tensor, "n m k"], Float[Tensor, "n m"]]:
        """Return coordinates of latents in each component, and the log of its weight times density."""
        factors, away = self.factors.to(z), z[:, None] - self.means.to(z)
        white = torch.linalg.solve_triangular(factors, away.movedim(0, 2), upper=False).movedim(2, 0)
        log = -(white.square().sum(2) + self.size * math.log(2 * math.pi)) / 2
        return white, log - factors.diagonal(dim1=1, dim2=2).log().sum(1) + (self.weights / self.weights.sum()).to(
            z
        ).log()

    @property
    def _sites(self) -> int:
        return int(len(self.weights) > 1)

    @property
    def _choice(self) -> Categorical:
        return Categorical(len(self.weights), one_hot=False, weights=tuple(self.weights.tolist()))


def _likeliest(codes: Tensor, components: int | None, held_out: float, seed: int) -> tuple[int, str]:
    """Return the number of components and the kind of covariances under which held-out codes are likeliest."""
    n, k = codes.shape
    codes = codes[torch.randperm(n, generator=stream(seed, "mixture"), device="cpu")]
    numbers = COMPONENTS if components is None else (components,)
    kept = codes[: max(2, n - int(held_out * n))]
    out = codes[len(kept) :]
    if not len(out):
        return numbers[0], "full" if n > k * numbers[0] else "diag"
    best, found, waited = -math.inf, (numbers[0], "diag"), 0
    for m in [m for m in numbers if m == numbers[0] or len(kept) >= 5 * m]:
        for kind in ("full", "diag") if len(kept) > 2 * k * m else ("diag",):
            log = float(Mixture(*_estimated(kept, m, kind, seed)).log_prob(out.double()).mean())
            best, found, waited = (log, (m, kind), 0) if log > best else (best, found, waited + 1)
        if waited >= PATIENCE:
            break
    return found


def _estimated(codes: Tensor, components: int, kind: str, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return weights, means and factors; components of hardly any weight are left out."""
    try:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.mixture import GaussianMixture
    except ImportError as error:
        raise MissingExtraError("scikit-learn", "priors", "a mixture of normal laws as a prior") from error
    middle, own = codes.double().mean(0), codes.double().std(0).clamp_min(1e-12)
    unit = own if float(own.max() / own.min()) > UNLIKE else own.square().mean().sqrt().expand_as(own)
    model = GaussianMixture(components, covariance_type=kind, reg_covar=1e-5, random_state=seed, n_init=3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # whether it fits is told by held-out codes
        model.fit(((codes.double() - middle) / unit).numpy())
    spread = torch.from_numpy(model.covariances_)
    factors = torch.linalg.cholesky(spread) if kind == "full" else spread.sqrt().diag_embed()
    kept = torch.from_numpy(model.weights_) > RAREST * components
    parts = (torch.from_numpy(model.weights_), torch.from_numpy(model.means_) * unit + middle, unit[:, None] * factors)
    weights, means, scaled = (part[kept].to(codes.dtype) for part in parts)
    return weights, means, scaled
