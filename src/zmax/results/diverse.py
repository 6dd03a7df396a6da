"""Good samples that differ from each other, by any distance."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from zmax.core.errors import InputError
from zmax.core.generator import Generator, decoded
from zmax.core.samples import describe, row, stack
from zmax.store import Chunk, Entry

Distance = Callable[..., Any]
"""Of two samples a number; or of a batch of samples their features (n, ...), those of truth values fingerprints."""

SIZE = 32
"""Samples decoded at once."""


def dispersed(k: int, n: int, apart: Callable[[int], Float[Tensor, " n"]]) -> list[int]:
    r"""Return k of n rows as far apart from each other as a greedy choice makes them, row 0 first.

    .. math:: i_1 = 0, \qquad i_{j+1} = \arg\max_i \min_{l \le j} d(i, i_l)

    Of all sets with row 0 none has a least distance of more than twice theirs.

    Reference: Ravi, Rosenkrantz and Tayi, *Heuristic and special case algorithms for dispersion problems*, Operations
    Research 42, 1994, theorem 2, https://doi.org/10.1287/opre.42.2.299.

    Args:
        k: how many.
        n: of how many.
        apart: distances of all rows from one.

    Example:
        >>> x = torch.tensor([0.0, 1.0, 2.0, 10.0, 11.0])
        >>> dispersed(3, 5, lambda i: (x - x[i]).abs())
        [0, 4, 2]
    """
    chosen: list[int] = []
    nearest = torch.full((n,), float("inf"), dtype=torch.float64)
    while len(chosen) < min(k, n):
        chosen.append(int(nearest.argmax()))
        nearest = torch.minimum(nearest, apart(chosen[-1]).double().cpu())
        nearest[chosen] = -1.0
    return chosen


def between(distance: Distance | None, u: Tensor, samples: Sequence[Any]) -> Callable[[int], Tensor]:
    """Return what gives the distances of all from one: in latents, by features, or by a distance of two samples.

    Raises:
        InputError: features are not as many as samples, or the callable takes neither one argument nor two.
    """
    if distance is None:
        return lambda i: torch.linalg.vector_norm(u.double() - u[i].double(), dim=1)
    places = [p for p in inspect.signature(distance).parameters.values() if p.default is p.empty]
    if len(places) == 2:
        return lambda i: torch.tensor([float(distance(samples[i], other)) for other in samples], dtype=torch.float64)
    if len(places) != 1:
        expected = "a function of two samples, or of a batch of samples"
        raise InputError("diverse(distance=...)", expected=expected, got=f"one of {len(places)}")
    with torch.no_grad():
        found = distance(stack(samples))
    features = torch.as_tensor(found).detach().cpu().reshape(len(samples), -1) if len(found) == len(samples) else None
    if features is None:
        raise InputError("features of diverse(distance=...)", expected=f"{len(samples)} rows", got=describe(found))
    if features.dtype == torch.bool:
        return lambda i: tanimoto(features, features[i])
    return lambda i: torch.linalg.vector_norm(features.double() - features[i].double(), dim=1)


def tanimoto(bits: Tensor, one: Tensor) -> Float[Tensor, " n"]:
    r"""Return the Tanimoto distance of fingerprints from one, :math:`1 - |a \cap b| / |a \cup b|`.

    Example:
        >>> bits = torch.tensor([[True, True, False], [True, False, False]])
        >>> tanimoto(bits, bits[0]).tolist()
        [0.0, 0.5]
    """
    both, either = (bits & one).sum(1).double(), (bits | one).sum(1).double()
    return 1 - both / either.clamp_min(1)


def entries_of(chunks: Sequence[Chunk], least: float, generator: Generator) -> list[Entry]:
    """Return all points that scored so much as entries without samples, best first."""
    space, found = generator.space, list[Entry]()
    for c in chunks:
        if c.u is None or not len(c.score):
            continue
        plausibility = space.plausibility(c.u)
        for i in (c.score >= least).nonzero().flatten().tolist():
            u = c.u[i].clone()
            numbers = c.first_id + i, float(c.score[i]), float(plausibility[i])
            found.append(Entry(*numbers, u=u, z=space.latent(u), sample=None, why=c.whys.get(i, "")))
    return sorted(found, key=lambda e: (-e.score, e.id))


def shown(entries: Sequence[Entry], generator: Generator) -> list[Any]:
    """Return the samples of entries, made again."""
    samples = decoded(generator, torch.stack([e.u for e in entries]), SIZE)
    return [row(samples, i) for i in range(len(entries))]
