"""A quadratic score, under which Gaussians stay Gaussian."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from zmax.core.errors import ShapeError
from zmax.core.samples import Samples, describe
from zmax.core.score import Score

Array = Tensor | Sequence[Any]


class QuadraticScore(Score):
    """S(x) = -x^T A x / 2 + b^T x; see :func:`quadratic_score`."""

    def __init__(self, A: Array | None = None, b: Array | None = None) -> None:
        matrix = None if A is None else torch.as_tensor(A, dtype=torch.float64)
        vector = None if b is None else torch.as_tensor(b, dtype=torch.float64)
        _check(matrix, vector)
        self.matrix = None if matrix is None else (matrix + matrix.T) / 2
        self.vector = vector
        self.name = "quadratic"
        self.differentiable = True
        self.bounds = self._bounds()

    @property
    def dim(self) -> int | None:
        """Length of the samples it takes, None where neither A nor b says."""
        known = self.matrix if self.matrix is not None else self.vector
        return None if known is None else len(known)

    def terms_for(self, dim: int) -> tuple[Float[Tensor, "dim dim"], Float[Tensor, " dim"]]:
        """Return A (symmetric) and b in float64, zeros where they were left out.

        Raises:
            ShapeError: the score is made for samples of another length.
        """
        if self.dim not in (None, dim):
            raise ShapeError("quadratic score", expected=f"A ({dim}, {dim}) and b ({dim},)", got=f"d = {self.dim}")
        zero = torch.zeros(dim, dim, dtype=torch.float64)
        return zero if self.matrix is None else self.matrix, zero[:, 0] if self.vector is None else self.vector

    def __call__(self, samples: Samples) -> Float[Tensor, " n"]:
        """Return the values, in the dtype of the samples."""
        if not isinstance(samples, Tensor) or samples.ndim != 2 or self.dim not in (None, samples.shape[1]):
            raise ShapeError("samples of a quadratic score", expected=f"(n, {self.dim or 'd'})", got=describe(samples))
        matrix, vector = (term.to(samples) for term in self.terms_for(samples.shape[1]))
        return samples @ vector - torch.einsum("ni,ij,nj->n", samples, matrix, samples) / 2

    def _bounds(self) -> tuple[float, float]:
        if self.dim is None:
            return 0.0, 0.0
        matrix, vector = self.terms_for(self.dim)
        return -_supremum(-matrix, -vector), _supremum(matrix, vector)


def quadratic_score(A: Array | None = None, b: Array | None = None) -> QuadraticScore:
    r"""Return a score that is quadratic in the sample.

    .. math:: S(x) = -\tfrac12 x^\top A x + b^\top x

    Args:
        A: (d, d), any symmetric matrix; only its symmetric part matters. None means zero.
        b: (d,). None means zero.

    Returns:
        A differentiable score of samples (n, d), with the exact bounds.

    Raises:
        ShapeError: A is not square, or A and b disagree on d.

    Example:
        >>> S = quadratic_score(A=[[2.0, 0.0], [0.0, 1.0]], b=[2.0, 0.0])
        >>> S(torch.tensor([[1.0, 0.0], [0.0, 2.0]])).tolist(), S.bounds[1]
        ([1.0, -2.0], 1.0)
    """
    return QuadraticScore(A, b)


def _supremum(matrix: Tensor, vector: Tensor) -> float:
    """Return sup -x^T A x / 2 + b^T x: b^T A^+ b / 2 if A >= 0 and b lies in its range, else infinity."""
    values, basis = torch.linalg.eigh(matrix)
    along = basis.T @ vector
    flat = values.abs() <= 1e-12 * float(values.abs().max())
    if bool((values[~flat] < 0).any()) or float(along[flat].norm()) > 1e-12 * float(vector.norm()):
        return math.inf
    return float((along[~flat].square() / values[~flat]).sum()) / 2


def _check(matrix: Tensor | None, vector: Tensor | None) -> None:
    if matrix is not None and (matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]):
        raise ShapeError("A of a quadratic score", expected="(d, d)", got=tuple(matrix.shape))
    if vector is not None and vector.ndim != 1:
        raise ShapeError("b of a quadratic score", expected="(d,)", got=tuple(vector.shape))
    if matrix is not None and vector is not None and len(matrix) != len(vector):
        raise ShapeError("A and b of a quadratic score", expected=f"b ({len(matrix)},)", got=tuple(vector.shape))
