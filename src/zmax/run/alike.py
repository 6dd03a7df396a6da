"""How far apart two samples are, whatever they are."""

from __future__ import annotations

import math

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from zmax.core.samples import Sample

PLAIN = (str, bytes, bool, int, float, complex, type(None))


def difference(one: Sample, other: Sample) -> float | None:
    """Return the root mean square difference of two samples: infinite for others, None where nobody can say.

    Example:
        >>> difference(torch.zeros(4), torch.ones(4)), difference("a", "b"), difference([1, "a"], [1, "a"])
        (1.0, inf, 0.0)
    """
    a, b = _numbers(one), _numbers(other)
    if a is not None and b is not None:
        same = a.shape == b.shape and torch.equal(a.isnan(), b.isnan())
        return _rms(a - b) if same else math.inf
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        parts = [difference(x, y) for x, y in zip(one, other, strict=False)]
        known = [part for part in parts if part is not None]
        return math.inf if len(one) != len(other) else max(known, default=0.0 if not parts else None)
    if isinstance(one, dict) and isinstance(other, dict):
        return difference([one[k] for k in sorted(one, key=repr)], [other[k] for k in sorted(other, key=repr)])
    if isinstance(one, PLAIN) and isinstance(other, PLAIN):
        return 0.0 if one == other else math.inf
    return math.inf if type(one) is not type(other) else None


def size(sample: Sample) -> float:
    """Return the root mean square of a sample's numbers, 1 where it has none."""
    numbers = _numbers(sample)
    return 1.0 if numbers is None else _rms(numbers)


def differ(one: float, other: float, spread: float, by: tuple[float, float]) -> bool:
    """Say whether two scores differ by more than those shares of value and spread; two failures do not.

    Example:
        >>> differ(1.0, 1.1, 9.0, (0.001, 0.02)), differ(1.0, 1.1, 0.0, (0.0, 0.0)), differ(math.nan, 1.0, 9.0, (1, 1))
        (False, True, True)
    """
    if not (math.isfinite(one) and math.isfinite(other)):
        return math.isfinite(one) != math.isfinite(other)
    return abs(one - other) > by[0] * max(abs(one), abs(other)) + by[1] * spread


def _numbers(sample: Sample) -> Tensor | None:
    if isinstance(sample, Tensor):
        return sample.detach().cpu().to(torch.complex128 if sample.is_complex() else torch.float64)
    if isinstance(sample, Image.Image) or (isinstance(sample, np.ndarray) and sample.dtype.kind in "biuf"):
        return torch.from_numpy(np.array(sample, dtype=np.float64))
    return None


def _rms(values: Tensor) -> float:
    """Return the root mean square of numbers, of which those that are none count as 0."""
    return float(values.abs().nan_to_num(0.0).square().mean().sqrt()) if values.numel() else 0.0
