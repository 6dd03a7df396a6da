"""How many kinds of samples there are, and how far two sets of samples are from each other, in features."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from zmax.core.checks import positive, whole
from zmax.core.errors import CapabilityError, InputError
from zmax.core.samples import Samples, describe

LARGEST = 16
"""Height and width beyond which images are averaged down."""


def features(samples: Samples) -> Float[Tensor, "n f"]:
    """Return the values of each sample, for where nothing better is known; images are averaged to at most 16 x 16.

    Args:
        samples: images (n, c, h, w), or tensors (n, ...) that are flattened.

    Raises:
        CapabilityError: the samples are no numbers.

    Example:
        >>> features(torch.zeros(5, 3, 64, 8)).shape, features(torch.zeros(5, 7)).shape
        (torch.Size([5, 384]), torch.Size([5, 7]))
    """
    if not isinstance(samples, Tensor) or samples.ndim == 0 or samples.is_complex():
        raise CapabilityError("features of these samples", expected="images or vectors", got=describe(samples))
    x = samples.detach().float()
    if x.ndim == 4:
        x = functional.adaptive_avg_pool2d(x, (min(LARGEST, x.shape[2]), min(LARGEST, x.shape[3])))
    return x.unsqueeze(-1).flatten(1)


def pairwise_distance(features: Float[Tensor, "n f"]) -> float:
    r"""Return the mean Euclidean distance of two samples.

    .. math:: \frac{2}{n (n - 1)} \sum_{i < j} |x_i - x_j|

    Raises:
        InputError: there are fewer than two.

    Example:
        >>> pairwise_distance(torch.tensor([[0.0, 0.0], [3.0, 4.0], [6.0, 8.0]])).__round__(6)
        6.666667
    """
    return float(_pairs(features, "pairwise_distance").mean())


def median_distance(features: Float[Tensor, "n f"]) -> float:
    """Return the median Euclidean distance of two samples, the usual bandwidth of a Gaussian kernel.

    Raises:
        InputError: there are fewer than two.

    Example:
        >>> median_distance(torch.tensor([[0.0], [1.0], [9.0]]))
        8.0
    """
    return float(_pairs(features, "median_distance").median())


def vendi(features: Float[Tensor, "n f"], bandwidth: float) -> float:
    r"""Return the Vendi score, the effective number of different samples: from 1, all equal, to n, all unlike.

    .. math:: \exp\bigl(-\sum_i \lambda_i \log \lambda_i\bigr), \qquad
              \lambda = \mathrm{eig}(K / n), \quad K_{ij} = \exp\bigl(-|x_i - x_j|^2 / 2 h^2\bigr)

    It grows with n: compare sets of one size, at one bandwidth.

    Reference: Friedman and Dieng 2023, *The Vendi score: a diversity evaluation metric for machine learning*,
    https://arxiv.org/abs/2210.02410, definition 3.1.

    Args:
        features: of the samples.
        bandwidth: h; for a child and its parent the :func:`median_distance` of the parent.

    Raises:
        InputError: there are no samples, or h is not positive.

    Example:
        >>> round(vendi(torch.tensor([[0.0], [0.0], [9.0], [9.0]]), 1.0), 6)
        2.0
    """
    positive("vendi", bandwidth=bandwidth)
    _enough("vendi", features, 1)
    kernel = torch.exp(-_distances(features, features).square() / (2 * bandwidth**2))
    shares = torch.linalg.eigvalsh(kernel / len(features)).clamp_min(0)
    return float(torch.special.entr(shares).sum().exp())


def precision_recall(reference: Float[Tensor, "n f"], samples: Float[Tensor, "m f"], k: int = 5) -> tuple[float, float]:
    r"""Return the share of samples that lie where the reference does, and the converse share.

    A set lies in the balls around its members, each as large as the distance to the k-th nearest other member.

    Reference: Kynkäänniemi et al. 2019, *Improved precision and recall metric for assessing generative models*,
    https://arxiv.org/abs/1904.06991, equations 1 and 2.

    Args:
        reference: features of what the samples should be like.
        samples: features of the samples; both sets of about one size, as balls shrink with it.
        k: of the k-th nearest.

    Raises:
        InputError: there are not more than k of each.

    Example:
        >>> line = torch.arange(8.0)[:, None]
        >>> precision_recall(line, line[:4], k=1)
        (1.0, 0.625)
    """
    whole("precision_recall", k=k)
    _enough("precision_recall", reference, k + 1)
    _enough("precision_recall", samples, k + 1)
    between = _distances(reference, samples)
    precision = (between <= _radius(reference, k)[:, None]).any(0).double().mean()
    recall = (between <= _radius(samples, k)).any(1).double().mean()
    return float(precision), float(recall)


def frechet(reference: Float[Tensor, "n f"], samples: Float[Tensor, "m f"]) -> float:
    r"""Return the Fréchet distance of two sets, as if each were Gaussian: the square of their distance W2.

    .. math:: |\mu - \nu|^2 + \mathrm{tr}\bigl(A + B - 2 (A^{1/2} B A^{1/2})^{1/2}\bigr)

    References: Dowson and Landau 1982, *The Fréchet distance between multivariate normal distributions*; of features
    of samples, Heusel et al. 2017, https://arxiv.org/abs/1706.08500, equation 6.

    Raises:
        InputError: there are fewer than two of each.

    Example:
        >>> x = torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.0, 2.0], [2.0, 2.0]])
        >>> round(frechet(x, x + torch.tensor([3.0, 0.0])), 6)
        9.0
    """
    _enough("frechet", reference, 2)
    _enough("frechet", samples, 2)
    x, y = reference.double(), samples.double()
    a, b = x.T.cov().reshape(x.shape[1], -1), y.T.cov().reshape(y.shape[1], -1)
    values, vectors = torch.linalg.eigh(a)
    root = vectors * values.clamp_min(0).sqrt() @ vectors.T
    common = torch.linalg.eigvalsh(root @ b @ root).clamp_min(0).sqrt().sum()
    return max(0.0, float((x.mean(0) - y.mean(0)).square().sum() + a.trace() + b.trace() - 2 * common))


def _radius(x: Float[Tensor, "n f"], k: int) -> Float[Tensor, " n"]:
    return _distances(x, x).kthvalue(k + 1).values


def _distances(x: Float[Tensor, "n f"], y: Float[Tensor, "m f"]) -> Float[Tensor, "n m"]:
    """Return all distances, without the shortcut by inner products, in which equal points are apart."""
    return torch.cdist(x.double(), y.double(), compute_mode="donot_use_mm_for_euclid_dist")


def _pairs(x: Float[Tensor, "n f"], what: str) -> Float[Tensor, " pairs"]:
    _enough(what, x, 2)
    return functional.pdist(x.double())


def _enough(what: str, x: Float[Tensor, "n f"], least: int) -> None:
    if len(x) < least:
        raise InputError(f"{what} of so few samples", expected=f"at least {least}", got=len(x))
