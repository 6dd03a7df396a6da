"""Show what a run kept to the held-out score, after the method is done."""

from __future__ import annotations

import math
from typing import Any

import torch

from zmax.core.budget import Ledger
from zmax.core.errors import InputError
from zmax.core.samples import stack
from zmax.core.score import Score
from zmax.run.evaluator import values
from zmax.store import Journal


def judge_kept(held_out: Score, journal: Journal, ledger: Ledger, batch_size: int) -> None:
    """Record the held-out score of every kept sample that has none yet; NaN where it failed."""
    entries = {e.id: e for role in ("leader", "reference", "draw") for e in journal.kept(role) if e.held_out is None}
    rows = list(entries.values())
    for start in range(0, len(rows), batch_size):
        part = rows[start : start + batch_size]
        found = held_out_values(held_out, [e.sample for e in part], ledger)
        journal.set_held_out(dict(zip((e.id for e in part), found, strict=True)))


def try_judge(held_out: Score, samples: list[Any], ledger: Ledger) -> None:
    """Show a judge a few samples before the run begins.

    Raises:
        InputError: it gives no value for any of them.
    """
    reasons: list[str] = []
    if samples and not any(map(math.isfinite, held_out_values(held_out, samples, ledger, reasons))):
        got = reasons[0] if reasons else "NaN"
        raise InputError(f"the held-out score {held_out.name!r} gives no value for a first sample", got=got)


def held_out_values(
    held_out: Score, samples: list[Any], ledger: Ledger, reasons: list[str] | None = None
) -> list[float]:
    """Return the held-out score of each sample, NaN where it fails; reasons are added to the list."""
    ledger.held_out_calls += len(samples)
    try:
        with torch.no_grad():
            return values(held_out, stack(samples), len(samples))[0].double().tolist()
    except Exception as error:  # noqa: BLE001 - one bad sample must not hide the others' values
        if len(samples) > 1:
            return [value for sample in samples for value in held_out_values(held_out, [sample], ledger, reasons)]
        if reasons is not None:
            reasons.append(f"{type(error).__name__}: {error}")
        return [float("nan")]
