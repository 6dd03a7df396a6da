"""Show what a run kept to the held-out score, after the method is done."""

from __future__ import annotations

import torch

from zmax.core.budget import Ledger
from zmax.core.samples import stack
from zmax.core.score import Score
from zmax.run.evaluator import values
from zmax.store import Entry, Journal


def judge_kept(held_out: Score, journal: Journal, ledger: Ledger, batch_size: int) -> None:
    """Record the held-out score of every kept sample that has none yet; NaN where it failed."""
    entries = {e.id: e for role in ("leader", "reference") for e in journal.kept(role) if e.held_out is None}
    rows = list(entries.values())
    found: dict[int, float] = {}
    for start in range(0, len(rows), batch_size):
        part = rows[start : start + batch_size]
        found |= dict(zip((e.id for e in part), _held_out_values(held_out, part, ledger), strict=True))
    journal.set_held_out(found)


def _held_out_values(held_out: Score, entries: list[Entry], ledger: Ledger) -> list[float]:
    ledger.held_out_calls += len(entries)
    try:
        with torch.no_grad():
            return values(held_out, stack([e.sample for e in entries]), len(entries))[0].double().tolist()
    except Exception:  # noqa: BLE001 - one bad sample must not hide the others' values
        if len(entries) == 1:
            return [float("nan")]
        return [value for entry in entries for value in _held_out_values(held_out, [entry], ledger)]
