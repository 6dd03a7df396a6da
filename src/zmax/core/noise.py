"""Whether noises that should be white still look like it, beyond their norm: along steps, channels and sizes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from zmax.core.samples import spread

GROUP = 8
"""Consecutive values whose covariance is looked at, at most."""

MODES = 4
"""Waves along an axis that count as low frequencies, at most."""

LEAST = 16
"""Values below which a noise is too short to tell."""


def noise_scores(x: Float[Tensor, "n steps *shape"]) -> Float[Tensor, "n tests"]:
    r"""Return standard scores that are nearly N(0, 1) where x is white noise; the overall scale of x plays no part.

    x holds the noises of a path, one behind the other, or a single one; it is scaled to unit mean square. Looked at
    are its :func:`mean`, the covariance of groups of consecutive values, its :func:`low_frequencies`, and along every
    axis its :func:`neighbours`, what all slices have in :func:`common`, the :func:`means` and :func:`norms` of the
    slices; the :func:`spectrum` of steps and of channels, and the :func:`rhythm` of steps. Optimised noise fails these
    tests long before its norm looks odd. What has fewer than 16 values has no tests.

    Reference: Tang et al. 2024, *Inference-time alignment of diffusion models with direct noise optimization*,
    section 4, https://arxiv.org/abs/2405.18881, has mean and covariance of one noise.

    Example:
        >>> white = torch.randn(1, 5, 3, 16, 16, generator=torch.Generator().manual_seed(0))
        >>> alike = white + 0.3 * white[:, :1]
        >>> [bool(noise_scores(x).abs().max() < 4) for x in (white, white + 1, alike)]
        [True, False, False]
    """
    if x[0].numel() < LEAST:
        return x.new_zeros(len(x), 0)
    return torch.stack(list(_tests(_scaled(x))), dim=1)


def path_scores(noises: Sequence[Tensor]) -> Float[Tensor, "n tests"]:
    """Return the :func:`noise_scores` of single noises, of all that have one shape joined, and the mean of all.

    Each is (n, steps, *shape), of one step or many.

    Example:
        >>> first, others = torch.randn(9, 1, 3, 8, 8), torch.randn(9, 4, 3, 8, 8)
        >>> path_scores([first, others]).shape[1] == noise_scores(first).shape[1] + noise_scores(others).shape[1]
        True
    """
    shapes = list(dict.fromkeys(x.shape[2:] for x in noises))
    joined = [torch.cat([x for x in noises if x.shape[2:] == shape], dim=1) for shape in shapes]
    single = [x for x in noises if x.shape[1] == 1 and all(x.shape != whole.shape for whole in joined)]
    scores = [noise_scores(x) for x in (*single, *joined)]
    if len(joined) > 1:
        scores.append(mean(_scaled(torch.cat([x.flatten(1) for x in joined], dim=1)))[:, None])
    return torch.cat(scores, dim=1)


def _scaled(x: Tensor) -> Tensor:
    return x / spread(x.flatten(1).square().mean(1).sqrt().clamp_min(1e-12), x)


def _tests(x: Tensor) -> Iterator[Tensor]:
    yield mean(x)
    axes = [axis for axis in range(1, x.ndim) if x.shape[axis] > 1]
    values, group = x[0].numel(), max(size for size in range(1, GROUP + 1) if x[0].numel() % size == 0)
    if group > 1:
        yield spectrum(x.reshape(len(x), -1, group), 2)
    if x.shape[1] > 1 or x[0, 0, 0].numel() > 1:
        yield low_frequencies(x)
    for axis in axes:
        size = x.shape[axis]
        rest = values // size
        yield neighbours(x, axis)
        if rest > 1:
            yield common(x, axis)
            yield norms(x, axis)
        if len(axes) > 2:
            yield means(x, axis)
        if (axis == 1 and rest > 1) or (axis == 2 and len(axes) > 2):
            yield spectrum(x, axis)
    if x.shape[1] > 3:
        yield rhythm(x)


def mean(x: Float[Tensor, "n ..."]) -> Float[Tensor, " n"]:
    r"""Return :math:`\sqrt k\,\bar x` for x of k values and unit mean square."""
    return x[0].numel() ** 0.5 * x.flatten(1).mean(1)


def neighbours(x: Float[Tensor, "n ..."], axis: int) -> Float[Tensor, " n"]:
    r"""Return the correlation of the p pairs of neighbours, :math:`\sum x_i x_{i+1} / \sqrt{p k / (k + 2)}`."""
    products = x.narrow(axis, 1, x.shape[axis] - 1) * x.narrow(axis, 0, x.shape[axis] - 1)
    return products.flatten(1).sum(1) / _spread(products[0].numel(), x[0].numel())


def common(x: Float[Tensor, "n ..."], axis: int) -> Float[Tensor, " n"]:
    """Return the score of the energy that lies in the sum of all slices: are they pairwise correlated?"""
    return share_score((x.sum(axis) / x.shape[axis] ** 0.5).flatten(1), x[0].numel())


def means(x: Float[Tensor, "n ..."], axis: int) -> Float[Tensor, " n"]:
    """Return the score of the energy that lies in the means of the slices."""
    rest = x[0].numel() // x.shape[axis]
    return share_score(x.sum(_others(x, axis)) / rest**0.5, x[0].numel())


def norms(x: Float[Tensor, "n ..."], axis: int) -> Float[Tensor, " n"]:
    r"""Return the score of Bartlett's test that T slices of m values are equally long.

    .. math:: \chi^2_{T - 1} = -\frac{m \sum_t \ln(|s_t|^2 / m)}{1 + (T + 1) / (3 T m)}

    Reference: Bartlett 1937, *Properties of sufficiency and statistical tests*, https://doi.org/10.1098/rspa.1937.0109.
    """
    squares = x.square().mean(_others(x, axis))
    size, m = x.shape[axis], x[0].numel() // x.shape[axis]
    value = -m * squares.clamp_min(1e-12).log().sum(1) / (1 + (size + 1) / (3 * size * m))
    return chi_square_score(value, size - 1)


def spectrum(x: Float[Tensor, "n ..."], axis: int) -> Float[Tensor, " n"]:
    r"""Return the score of the spread of the Gram matrix's spectrum, for the directions of T slices of m values.

    .. math:: v = m \sum_{i<j} \cos^2(s_i, s_j), \qquad E v = T (T - 1) / 2, \qquad
              \mathrm{Var}\, v = E v\, \frac{2 m - 2}{m + 2},

    taken for a multiple of a chi-squared value with that mean and variance.
    """
    slices = x.movedim(axis, 1).flatten(2)
    slices = slices.mT if slices.shape[1] > slices.shape[2] else slices
    slices = slices / torch.linalg.vector_norm(slices, dim=2, keepdim=True).clamp_min(1e-12)
    size, m = slices.shape[1:]
    gram = slices @ slices.mT
    pairs = size * (size - 1) / 2
    degrees = pairs * (m + 2) / (m - 1)
    return chi_square_score((gram.square().sum((1, 2)) - size) * (m * degrees / (2 * pairs)), degrees)


def rhythm(x: Float[Tensor, "n steps *shape"]) -> Float[Tensor, " n"]:
    """Return the score of :func:`norms` for the waves along the steps: are steps correlated that are any lag apart?"""
    return norms(_waves(x, 1, x.shape[1]), 1)


def low_frequencies(x: Float[Tensor, "n steps channels *sizes"]) -> Float[Tensor, " n"]:
    """Return the score of the energy in the lowest waves along every axis but channels."""
    values = x[0].numel()
    for axis in (*range(x.ndim - 1, 2, -1), 1):  # the last axis, which is quickest, makes the others short
        x = _waves(x, axis, min(MODES, (x.shape[axis] + 1) // 2)) if x.shape[axis] > 1 else x
    return share_score(x.flatten(1), values)


def _waves(x: Tensor, axis: int, count: int) -> Tensor:
    """Return the first coefficients of the orthonormal cosine transform along an axis."""
    size = x.shape[axis]
    places = torch.arange(size, dtype=x.dtype, device=x.device)[:, None] + 0.5
    waves = torch.cos(places * torch.arange(count, dtype=x.dtype, device=x.device) * (torch.pi / size))
    return (x.movedim(axis, -1) @ (waves / torch.linalg.vector_norm(waves, dim=0))).movedim(-1, axis)


def _others(x: Tensor, axis: int) -> list[int]:
    return [other for other in range(1, x.ndim) if other != axis]


def _spread(products: int, values: int) -> float:
    """Return the standard deviation of a sum of products of distinct values on the sphere of radius sqrt(values)."""
    return (products * values / (values + 2)) ** 0.5


def share_score(part: Float[Tensor, "n a"], values: int) -> Float[Tensor, " n"]:
    r"""Return the standard score of the energy in a of k orthogonal directions, where all k hold :math:`k`.

    Its share is a Beta(a/2, (k - a)/2) variable; F = share / (1 - share) (k - a) / a becomes normal by

    .. math:: z = \frac{(1 - v_2) F^{1/3} - (1 - v_1)}{\sqrt{v_2 F^{2/3} + v_1}}, \qquad
              v_1 = \frac{2}{9 a}, \quad v_2 = \frac{2}{9 (k - a)}

    Reference: Paulson 1942, *An approximate normalization of the analysis of variance distribution*,
    https://doi.org/10.1214/aoms/1177731608.
    """
    a = part.shape[1]
    share = part.square().sum(1) / values
    root = ((share / a) / ((1 - share).clamp_min(1e-6) / (values - a))).clamp_min(1e-12) ** (1 / 3)
    v_1, v_2 = 2 / (9 * a), 2 / (9 * (values - a))
    return ((1 - v_2) * root - (1 - v_1)) / (v_2 * root.square() + v_1).sqrt()


def chi_square_score(value: Float[Tensor, " n"], degrees: float) -> Float[Tensor, " n"]:
    r"""Return the standard score of a chi-squared value, differentiable in it.

    .. math:: z = \frac{(v / k)^{1/3} - (1 - 2 / (9k))}{\sqrt{2 / (9k)}}

    Reference: Wilson and Hilferty 1931, *The distribution of chi-square*, https://doi.org/10.1073/pnas.17.12.684.

    Example:
        >>> [round(v, 1) for v in chi_square_score(torch.tensor([3.94, 9.5, 18.31]), 10).tolist()]
        [-1.6, 0.0, 1.6]
    """
    variance = 2 / (9 * degrees)
    return ((value / degrees).clamp_min(1e-12) ** (1 / 3) - (1 - variance)) / variance**0.5
