"""Evaluated rows of a proposal, and how consecutive ones are put together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from zmax.core.samples import Samples, concatenated


@dataclass(frozen=True)
class Batch:
    """Some evaluated rows of a proposal: values on the CPU, samples wherever the generator left them.

    Attributes:
        rows: their number.
        u: whitened coordinates of the samples, None where they have none.
        score: values, empty where nothing was to be scored.
        samples: what S was shown; None for each row that failed or was blurred.
        shown: what the method is told that the points show.
        parts: value of each term of a combined score.
        grad: gradient or product, 0 where it was not finite.
        failures: reason by row.
        toll: what a guard takes off the score that the method is told, None where there is no such guard.
        together: whether they were evaluated at once.
        fine: what missed constraints, and the weights of goals, take off it; None where there are neither.
        whys: what was said of a row beside its number, where anything was.
    """

    rows: int
    u: Float[Tensor, "n dim"] | None
    score: Float[Tensor, " scored"]
    samples: Samples
    shown: Samples
    parts: dict[str, Float[Tensor, " scored"]] = field(default_factory=dict)
    grad: Tensor | None = None
    failures: dict[int, str] = field(default_factory=dict)
    toll: Float[Tensor, " scored"] | None = None
    together: bool = True
    fine: Float[Tensor, " scored"] | None = None
    whys: dict[int, str] = field(default_factory=dict)


def join(batches: Sequence[Batch]) -> Batch:
    """Put consecutive batches together."""
    failures: dict[int, str] = {}
    whys: dict[int, str] = {}
    offset = 0
    for batch in batches:
        failures |= {offset + i: reason for i, reason in batch.failures.items()}
        whys |= {offset + i: why for i, why in batch.whys.items()}
        offset += batch.rows
    names = list(dict.fromkeys(name for batch in batches for name in batch.parts))
    u = [batch.u for batch in batches if batch.u is not None]
    return Batch(
        rows=offset,
        u=torch.cat(u) if u else None,
        score=torch.cat([batch.score for batch in batches]),
        samples=_filled([batch.samples for batch in batches]),
        shown=concatenated([batch.shown for batch in batches]),
        parts={name: torch.cat([batch.parts[name] for batch in batches]) for name in names},
        grad=_joined([(batch.rows, batch.grad) for batch in batches]),
        failures=failures,
        toll=_paid([(len(batch.score), batch.toll) for batch in batches]),
        fine=_paid([(len(batch.score), batch.fine) for batch in batches]),
        together=False,
        whys=whys,
    )


def _paid(parts: list[tuple[int, Tensor | None]]) -> Tensor | None:
    """Join what was taken off scores; those that failed paid nothing."""
    if all(paid is None for _, paid in parts):
        return None
    return torch.cat([torch.zeros(n).double() if paid is None else paid for n, paid in parts])


def _joined(parts: list[tuple[int, Tensor | None]]) -> Tensor | None:
    """Join gradients; those of rows that failed take the others' shape."""
    known = [grad for _, grad in parts if grad is not None]
    if not known:
        return None
    shape = next((grad.shape[1:] for grad in known if bool(grad.any())), known[0].shape[1:])
    return torch.cat([g if g is not None and g.shape[1:] == shape else torch.zeros(n, *shape) for n, g in parts])


def _filled(parts: Sequence[Samples]) -> Samples:
    """Join samples; rows that failed among tensors are NaN, so that the others stay a tensor where it is."""
    like = next((part for part in parts if isinstance(part, Tensor) and part.is_floating_point()), None)
    if like is not None and all(isinstance(part, Tensor) or all(sample is None for sample in part) for part in parts):
        parts = [p if isinstance(p, Tensor) else like.new_full((len(p), *like.shape[1:]), math.nan) for p in parts]
    return concatenated(parts)
