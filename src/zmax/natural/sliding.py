"""How samples that were asked for a score differ from data of that score, in a window that slides over the scores."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from zmax.natural.diversity import frechet, pairwise_distance

LEVELS, WINDOW, FEWEST = 9, 0.2, 8
"""Levels that are looked at, the share of the samples that is in a window around one, and the fewest of them."""

COMPONENTS = 64
"""Principal components of the features of the data, at most, in which is measured."""


@dataclass(frozen=True)
class Level:
    """Samples asked for about one score, beside as many of the data that have it.

    Attributes:
        asked: the score.
        frechet: Fréchet distance of the samples to data of about that score.
        frechet_data: that of such data to other such data, of as many.
        distance: mean distance of two samples.
        distance_data: that of two of the data.
    """

    asked: float
    frechet: float
    frechet_data: float
    distance: float
    distance_data: float


def sliding(
    data: Float[Tensor, "m f"], score: Float[Tensor, " m"], samples: Float[Tensor, "n f"], asked: Float[Tensor, " n"]
) -> list[Level]:
    r"""Return the Fréchet distance of samples to data of the score that they were asked for, level by level.

    .. math:: d(s) = d_F\bigl(\{x : S(x) \approx s\}, \{G(z, s') : s' \approx s\}\bigr)

    At each level the nearest fifth of the samples and of the data is taken, and the data are dealt into two halves. The
    distance is the mean of those to both, of as many samples each, beside that of one half to the other, which so few
    cause by chance alone.

    Reference: Ding et al. 2021, *CcGAN*, supplement S.V ("sliding FID"), https://arxiv.org/abs/2011.07466.

    Args:
        data: features of the data.
        score: of those.
        samples: features of the samples.
        asked: what each was asked for.

    Returns:
        The levels from the lowest on; none of fewer than eight samples, or sixteen of the data.

    Example:
        >>> rng = torch.Generator().manual_seed(0)
        >>> x = torch.randn(2000, 2, generator=rng)
        >>> same, other = (sliding(x, x[:, 0], y, x[:, 0])[4] for y in (x, x + torch.tensor([0.0, 3.0])))
        >>> same.frechet < 0.1, abs(other.frechet - 9) < 1
        (True, True)
    """
    share = max(WINDOW, FEWEST / max(1, len(samples)), 2 * FEWEST / max(1, len(data)))
    if share > 1:
        return []
    basis = _principal(data.double())
    x, y = data.double() @ basis, samples.double() @ basis
    places = torch.arange(1, LEVELS + 1, device="cpu", dtype=torch.float64) / (LEVELS + 1)
    found = []
    for s in asked.double().quantile(places).tolist():
        known, came = _nearest(score, s, share), _nearest(asked, s, share)
        n = min(len(known) // 2, len(came))
        one, other, came = x[_thin(known[0::2], n)], x[_thin(known[1::2], n)], y[_thin(came, n)]
        off = (frechet(one, came) + frechet(other, came)) / 2
        apart = (pairwise_distance(one) + pairwise_distance(other)) / 2
        found.append(Level(s, off, frechet(one, other), pairwise_distance(came), apart))
    return found


def _nearest(values: Float[Tensor, " n"], s: float, share: float) -> Int[Tensor, " k"]:
    return (values.double() - s).abs().argsort(stable=True)[: round(share * len(values))]


def _thin(rows: Int[Tensor, " n"], k: int) -> Int[Tensor, " k"]:
    """Return k of the rows, evenly spaced."""
    return rows[torch.linspace(0, len(rows) - 1, k, device="cpu").round().long()]


def _principal(x: Float[Tensor, "m f"]) -> Float[Tensor, "f c"]:
    """Return the directions in which data differ most; all where there are few."""
    if x.shape[1] <= COMPONENTS:
        return torch.eye(x.shape[1], device="cpu", dtype=x.dtype)
    return torch.linalg.eigh(x.T.cov())[1][:, -COMPONENTS:]
