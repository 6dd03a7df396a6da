"""Samples of a conditioned generator as entries, some at each of nine levels of what was asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from jaxtyping import Bool, Float
from torch import Tensor

from zmax.core.proposal import Evaluation
from zmax.core.samples import Samples, row
from zmax.core.space import Space
from zmax.kit.asked import columns
from zmax.results.conditioning import ASKED
from zmax.store import Entry

LEVELS, EACH = 9, 4
"""Levels of what was asked at which samples are kept, and how many at each."""


def at_levels(
    space: Space,
    u: Float[Tensor, "n dim"],
    samples: Samples,
    evaluation: Evaluation,
    asked: Float[Tensor, "n k"],
    names: Sequence[str],
) -> list[Entry]:
    """Return some samples at each level of the first score, their requests among their parts."""
    told = columns_by([f"{ASKED} {name}" for name in names], asked)
    told |= columns_by(names, columns(evaluation, names)) if len(names) > 1 else {}
    return kept_of(space, u, samples, evaluation.score, told, shown(asked[:, 0], evaluation.ok))


def shown(asked: Float[Tensor, " n"], ok: Bool[Tensor, " n"]) -> list[int]:
    """Return the rows of some samples at each of nine levels of what was asked, from the lowest on."""
    alive = ok.nonzero().flatten()
    order = alive[asked[alive].argsort(stable=True)]
    found: list[int] = []
    for part in order.tensor_split(LEVELS):
        middle = max(0, (len(part) - EACH) // 2)
        found += part[middle : middle + EACH].tolist()
    return found


def kept_of(
    space: Space, u: Tensor, samples: Samples, score: Tensor, parts: Mapping[str, Tensor], rows: Sequence[int]
) -> list[Entry]:
    """Return these rows of what was sampled as entries, numbered in their order."""
    plausibility = space.plausibility(u)
    return [
        Entry(
            id=number,
            score=float(score[i]),
            plausibility=float(plausibility[i]),
            u=u[i],
            z=space.latent(u[i]),
            sample=row(samples, i),
            parts={name: float(values[i]) for name, values in parts.items()},
        )
        for number, i in enumerate(rows)
    ]


def columns_by(names: Sequence[str], values: Float[Tensor, "n k"]) -> dict[str, Tensor]:
    """Return the columns of a table by name."""
    return dict(zip(names, values.unbind(1), strict=True))
