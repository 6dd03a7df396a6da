"""Whether a law that was fitted to codes fits others of them: a two-sample test on codes that were held out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from zmax.core.errors import InputError
from zmax.core.priors import Prior
from zmax.core.rng import stream

PriorT = TypeVar("PriorT", bound=Prior)

FEWEST, MOST, PERMUTED, NEAR = 20, 500, 499, 5
"""Held-out codes below which there is no test, codes that one looks at, permutations and neighbours of it."""

BAD = 0.01
"""p-value from which on a law does not fit."""


@dataclass(frozen=True)
class Fit:
    """How a law fits codes that it was not fitted to.

    Attributes:
        n: number of held-out codes looked at.
        distance: energy distance between them and as many draws of the law, 0 where both laws are the same.
        p: p-value of that and of the nearest neighbours, by permutations; where the law fits, it is uniform on [0, 1].
        log_likelihood: mean of the held-out codes, in nats a code; None for laws without a density.
    """

    n: int
    distance: float
    p: float
    log_likelihood: float | None = None

    @property
    def bad(self) -> bool:
        """Whether the law does not fit."""
        return self.p <= BAD


def doubtful(fit: Fit | None, remedy: str) -> str:
    """Return what a run says of a law that does not fit its codes, "" if it does."""
    if fit is None or not fit.bad:
        return ""
    return f"does not fit its codes: p = {fit.p:.2g} on {fit.n} that were held out; try {remedy}"


def as_codes(codes: Any) -> Float[Tensor, "n k"]:
    """Return codes as a tensor (n, k): of a tensor, an array, a DataFrame or nested lists.

    Raises:
        InputError: they are no table of finite numbers.
    """
    expected = "a table (n, k) of finite numbers: a tensor, an array or a DataFrame"
    try:
        found = (
            codes.detach().cpu() if isinstance(codes, Tensor) else torch.from_numpy(np.array(codes, dtype=np.float64))
        )
    except (TypeError, ValueError) as error:
        raise InputError("codes of a prior", expected=expected, got=str(error)) from error
    found = found if found.is_floating_point() else found.double()
    if found.ndim != 2 or not found.numel() or not bool(found.isfinite().all()):
        got = tuple(found.shape) if found.ndim != 2 or not found.numel() else "some that are not finite"
        raise InputError("codes of a prior", expected=expected, got=got)
    return found if isinstance(codes, Tensor) else found.float()


def two_sample(prior: Prior, codes: Any, *, seed: int = 0) -> Fit:
    r"""Test whether codes are draws of a law that was not fitted to them.

    With m codes x and as many draws y of the law, each coordinate in units of the codes' spread, the statistic is

    .. math:: E = \frac{2}{m^2} \sum |x_i - y_j| - \frac{1}{m^2} \sum |x_i - x_j| - \frac{1}{m^2} \sum |y_i - y_j|

    which sees laws that are off or too wide. What lies in gaps is seen by how many of the five nearest neighbours of a
    point are of its own kind. p is twice the smaller share of random splits into halves that have as much of either.

    Reference: Szekely and Rizzo, *Energy statistics*, J. Stat. Plan. Inference 143, 2013,
    https://doi.org/10.1016/j.jspi.2013.03.018; Schilling, *Multivariate two-sample tests based on nearest neighbors*,
    J. Am. Stat. Assoc. 81, 1986, https://doi.org/10.1080/01621459.1986.10478337.

    Args:
        prior: the law.
        codes: (n, k), of any kind; the first 500 count.
        seed: of the draws and the permutations.

    Raises:
        InputError: there are fewer than 20.

    Example:
        >>> from zmax.core.priors import Normal
        >>> codes = torch.randn(300, 4, generator=torch.Generator().manual_seed(0))
        >>> two_sample(Normal(), codes).bad, two_sample(Normal(), 1.5 * codes).bad
        (False, True)
    """
    x = as_codes(codes).double()[:MOST]
    if len(x) < FEWEST:
        raise InputError("a test of a prior on held-out codes", expected=f"at least {FEWEST}", got=len(x))
    rng, m = stream(seed, "fit"), len(x)
    with torch.no_grad():
        y = prior.to_latent(torch.randn(m, prior.width((x.shape[1],)), generator=rng, dtype=torch.float32)).double()
        both = torch.cat([x, y.reshape(m, -1)])
        log = prior.log_prob(x.float())
    between = torch.cdist(both / x.std(0).clamp_min(1e-12), both / x.std(0).clamp_min(1e-12))
    order = torch.rand(PERMUTED, 2 * m, generator=rng, dtype=torch.float64).argsort(1)
    sides = torch.where(torch.cat([torch.arange(2 * m)[None], order]) < m, 1.0, -1.0).double() / m
    forms = [((sides @ form) * sides).sum(1) for form in (-between, _neighbours(both))]
    p = min(float((form[1:] >= form[0]).sum() + 1) / (PERMUTED + 1) for form in forms)
    return Fit(m, float(forms[0][0]), min(1.0, 2 * p), None if log is None else float(log.double().mean()))


def _neighbours(points: Float[Tensor, "n k"]) -> Float[Tensor, "n n"]:
    """Return 1 where a point is among the nearest of another."""
    between = torch.cdist(points, points).fill_diagonal_(float("inf"))
    near = between.topk(min(NEAR, len(points) - 1), dim=1, largest=False).indices
    return torch.zeros_like(between).scatter_(1, near, 1.0)


def tested(codes: Float[Tensor, "n k"], share: float, fit: Callable[[Tensor], PriorT]) -> tuple[PriorT, Fit | None]:
    """Return the law of all codes, and how that of the others fits a share of them; None where these are too few.

    Args:
        codes: in any order.
        share: of the codes that are held out.
        fit: makes a law of codes.

    Raises:
        InputError: the share is not in [0, 1).
    """
    if not 0 <= share < 1:
        raise InputError("held_out=", expected="a share of the codes, in [0, 1)", got=share)
    out = torch.randperm(len(codes), generator=stream(0, "held out"), device="cpu")[: int(share * len(codes))]
    if len(out) < FEWEST:
        return fit(codes), None
    rest = torch.ones(len(codes), dtype=torch.bool).index_fill(0, out, False)
    return fit(codes), two_sample(fit(codes[rest]), codes[out])
