"""Comparisons that the conformance suites share: equality of plain data, closeness of samples, finite differences."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, NoReturn

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from zmax.core.samples import Samples, count, spread


def same(left: Any, right: Any) -> bool:
    """Whether two values are equal bit for bit, all the way down; tensors by dtype, shape and value, NaN like NaN."""
    if isinstance(left, Tensor) and isinstance(right, Tensor):
        return left.dtype == right.dtype and left.shape == right.shape and _equal(left.detach(), right.detach())
    if type(left) is not type(right):
        return False
    if isinstance(left, np.ndarray):
        return bool(np.array_equal(left, right))
    if is_dataclass(left):
        return all(same(getattr(left, f.name), getattr(right, f.name)) for f in fields(left))
    if isinstance(left, Mapping):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, (list, tuple)):
        return len(left) == len(right) and all(map(same, left, right))
    return bool(left == right) or (left != left and right != right)


def _equal(left: Tensor, right: Tensor) -> bool:
    return torch.equal(left, right) or bool(((left == right) | ((left != left) & (right != right))).all())


def rows(samples: Samples) -> list[Any]:
    """Return the samples one by one, tensors in float64 on the CPU."""
    if isinstance(samples, (Tensor, np.ndarray)):
        return list(torch.as_tensor(samples).detach().cpu().double())
    return [samples[i] for i in range(count(samples))]


def close(left: Sequence[Any], right: Sequence[Any], tolerance: float) -> bool:
    """Whether two lists of samples agree: tensors within tolerance of their scale, anything else exactly."""
    if len(left) != len(right):
        return False
    for a, b in zip(left, right, strict=True):
        if isinstance(a, Tensor) and isinstance(b, Tensor):
            if a.shape != b.shape or float((a - b).abs().max()) > tolerance * (1 + float(a.abs().max())):
                return False
        elif not same(a, b):
            return False
    return True


def slopes(
    function: Callable[[Tensor], Float[Tensor, " n"]], point: Float[Tensor, "n ..."], directions: int, step: float
) -> tuple[Float[Tensor, "directions n"], Float[Tensor, "directions n"]]:
    """Return the directional derivatives of a row-wise function, by autograd and by central differences.

    Args:
        function: maps (n, ...) to one value a row, each a function of its own row.
        point: where.
        directions: number of random unit directions, the same ones at every call.
        step: half the distance between the two points of a difference.
    """
    rng = torch.Generator().manual_seed(0)
    leaf = point.detach().clone().requires_grad_()
    with torch.enable_grad():
        (gradient,) = torch.autograd.grad(function(leaf).sum(), leaf)
    by_autograd, by_difference = [], []
    for _ in range(directions):
        way = torch.randn(point.shape, generator=rng, dtype=torch.float64).to(point)
        way = way / spread(way.flatten(1).norm(dim=1), way)
        with torch.no_grad():
            ahead, behind = function(point + step * way), function(point - step * way)
        by_autograd.append((gradient * way).flatten(1).sum(1).double().cpu())
        by_difference.append((ahead.double() - behind.double()).cpu() / (2 * step))
    return torch.stack(by_autograd), torch.stack(by_difference)


def slope_error(pair: tuple[Tensor, Tensor]) -> float:
    """Return the relative difference between two sets of slopes, over all rows and directions together."""
    left, right = pair
    return float((left - right).norm() / (1e-12 + torch.maximum(left.norm(), right.norm())))


def skip(reason: str) -> NoReturn:
    """Skip the running test: through pytest, imported here so that the suites load without it."""
    import pytest

    pytest.skip(reason)
