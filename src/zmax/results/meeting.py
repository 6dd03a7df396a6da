"""How many samples meet the constraints of a run, in words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from zmax.core.constraint import AT_LEAST
from zmax.results.history import History
from zmax.results.spec import Question
from zmax.store import Entry


def meeting(spec: Question, history: History, leaders: Sequence[Entry]) -> str:
    """Say how many samples meet the constraints, and where none does by how much the nearest misses them.

    "" where there are none, or no sample got a score.
    """
    if not spec.constraints or not leaders:
        return ""
    scored = int(np.isfinite(history.score).sum())
    names = ", ".join(f"{part} {symbol} {bound:g}" for part, symbol, bound in spec.constraints)
    best = leaders[0]
    if best.feasible:
        met = int(history.feasible.sum())
        return f"{met:,} of {scored:,} samples {'meets' if met == 1 else 'meet'} {names}; the best is the best of them"
    missed = [
        f"{part} {best.parts[part]:.4g}"
        for part, symbol, bound in spec.constraints
        if (best.parts[part] < bound if symbol == AT_LEAST else best.parts[part] > bound)
    ]
    return f"no sample of {scored:,} meets {names}; the nearest, shown as the best, has {', '.join(missed)}"
