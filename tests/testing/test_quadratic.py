"""The quadratic score: values, gradient, exact bounds."""

import math

import pytest
import torch

from zmax.core.errors import ShapeError
from zmax.testing import ScoreConformance, quadratic_score

A = torch.tensor([[2.0, 0.5], [0.5, 1.0]], dtype=torch.float64)
B = torch.tensor([1.0, -1.0], dtype=torch.float64)


def test_value_and_gradient_follow_the_formula():
    x = torch.randn(7, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64, requires_grad=True)
    S = quadratic_score(A, B)
    expected = torch.stack([-row @ A @ row / 2 + B @ row for row in x])
    torch.testing.assert_close(S(x), expected)
    (gradient,) = torch.autograd.grad(S(x).sum(), x)
    torch.testing.assert_close(gradient, B - x.detach() @ A)


def test_only_the_symmetric_part_counts():
    skew = torch.tensor([[0.0, 3.0], [-3.0, 0.0]], dtype=torch.float64)
    x = torch.randn(5, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.testing.assert_close(quadratic_score(A + skew, B)(x), quadratic_score(A, B)(x))


def test_parts_left_out_are_zero():
    x = torch.randn(5, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert torch.equal(quadratic_score()(x), torch.zeros(5, dtype=torch.float64))
    torch.testing.assert_close(quadratic_score(A)(x) + quadratic_score(b=B)(x), quadratic_score(A, B)(x))


def test_bounds_are_exact():
    peak = torch.linalg.solve(A, B)
    assert quadratic_score(A, B).bounds == (-math.inf, pytest.approx(float(quadratic_score(A, B)(peak[None]))))
    assert quadratic_score(-A, B).bounds == (pytest.approx(float(quadratic_score(-A, B)(-peak[None]))), math.inf)
    assert quadratic_score(b=B).bounds == (-math.inf, math.inf)
    assert quadratic_score().bounds == (0.0, 0.0)
    flat = torch.diag(torch.tensor([1.0, 0.0]))
    assert quadratic_score(flat, [2.0, 0.0]).bounds[1] == pytest.approx(2.0)
    assert quadratic_score(flat, [2.0, 1.0]).bounds[1] == math.inf


def test_shapes_are_checked():
    with pytest.raises(ShapeError, match="A of"):
        quadratic_score(torch.zeros(2, 3))
    with pytest.raises(ShapeError, match="b of"):
        quadratic_score(b=torch.zeros(2, 3))
    with pytest.raises(ShapeError, match="A and b"):
        quadratic_score(A, torch.zeros(3))
    with pytest.raises(ShapeError, match=r"\(n, 2\)"):
        quadratic_score(A)(torch.zeros(4, 3))


class TestConformance(ScoreConformance):
    tolerance = 1e-12
    fd_tolerance = 1e-8

    def make(self):
        return quadratic_score(A, B)

    def samples(self):
        return torch.randn(6, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
