"""The numbers behind the figures of a finetune; nothing here draws."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from zmax.report.measures import Column
from zmax.results.looks import QUANTILES, Look
from zmax.results.tuning import TuneResult

KINDS = {"natural": "natural share", "distance": "mean distance", "vendi": "Vendi score"}
"""Numbers of a look that say whether samples are still what the parent could make, and how they are called."""

PICTURES = {"colours": "colour entropy", "edges": "edges", "norm": "norm"}
"""Cheap statistics of samples, and how they are called."""


@dataclass(frozen=True)
class Course:
    """What fresh samples were like as training went on.

    Attributes:
        calls: score calls at each look (k,).
        quantiles: of the scores (k, 5), NaN where one is not finite.
        held_out: mean held-out score (k,), None where there is none.
        held_out_error: its standard error.
        kinds, pictures: by name, as shares of the parent's (k,).
        chosen: number of the look whose weights are returned.
    """

    calls: Column
    quantiles: Column
    held_out: Column | None
    held_out_error: Column
    kinds: dict[str, Column]
    pictures: dict[str, Column]
    chosen: int


def course(result: TuneResult) -> Course | None:
    """Return the curve of a finetune, None with fewer than two looks."""
    looks = result.rounds.looks
    if len(looks) < 2:
        return None
    quantiles = np.array([[look.quantile(q) for q in QUANTILES] for look in looks])
    held_out = _column(look.judged for look in looks)
    return Course(
        calls=_column(look.score_calls for look in looks),
        quantiles=np.where(np.isfinite(quantiles), quantiles, np.nan),
        held_out=held_out if np.isfinite(held_out).any() else None,
        held_out_error=_column(look.judged_error for look in looks),
        kinds=_shares(looks, KINDS),
        pictures=_shares(looks, PICTURES),
        chosen=result.chosen,
    )


def share(look: Look, parent: Look, name: str) -> float:
    """Return a number of a look as a share of the parent's, NaN where one is not known or the parent's is 0."""
    ours, theirs = (_value(each, name) for each in (look, parent))
    return ours / theirs if theirs else float("nan")


def _value(look: Look, name: str) -> float:
    return float(getattr(look, name) if name in KINDS else look.statistics.get(name, float("nan")))


def _shares(looks: Sequence[Look], names: dict[str, str]) -> dict[str, Column]:
    found = {shown: _column(share(look, looks[0], name) for look in looks) for name, shown in names.items()}
    return {name: column for name, column in found.items() if np.isfinite(column).sum() > 1}


def _column(values: Iterable[float]) -> Column:
    return np.array([float(value) for value in values])
