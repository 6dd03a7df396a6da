"""Requests for scores: what methods that condition a generator share."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from zmax.core.generator import Generator
from zmax.core.proposal import Evaluation
from zmax.generators.conditioned import Conditioned


def conditioned(generator: Generator) -> Conditioned:
    """Return a generator that was conditioned, as one."""
    assert isinstance(generator, Conditioned), "made so before"
    return generator


def columns(evaluation: Evaluation, names: Sequence[str]) -> Float[Tensor, "n k"]:
    """Return the scores of an evaluation that were asked for by name, of several each its own term."""
    if len(names) == 1:
        return evaluation.score[:, None]
    return torch.stack([evaluation.parts[name] for name in names], 1)


def dropped(requests: Float[Tensor, "n k"], share: float, rng: torch.Generator) -> Float[Tensor, "n k"]:
    """Return requests of which a share of rows ask for nothing, and of several scores some for a part of them."""
    n, k = requests.shape
    keep = torch.rand(n, 1, generator=rng, device="cpu") >= share
    if k > 1:
        part = torch.rand(n, k, generator=rng, device="cpu") < 0.5
        some = torch.rand(n, 1, generator=rng, device="cpu") < 0.5
        keep = keep & (part | ~some)
    return torch.where(keep, requests.float(), math.nan)
