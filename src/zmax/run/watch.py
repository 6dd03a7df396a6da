"""Look at the held-out score while a run goes on, and say when it falls while the score rises."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from zmax.run.evaluator import Evaluator
from zmax.store import Entry, Journal

LOOKS = 20
"""How often a run is looked at, at equal shares of its budget."""

TOP = 4
"""Leaders that a look judges."""

STOPPED = "held_out"


class Watch:
    """Judges the top leaders at twentieths of the budget; methods never see what it finds.

    Args:
        evaluator: asks the judge and pays for the calls.
        journal: keeps what each look found.
        patience: looks without a better held-out score, while the score rose, after which the run should stop.
    """

    def __init__(self, evaluator: Evaluator, journal: Journal, patience: int | None) -> None:
        self._evaluator, self._journal, self._patience = evaluator, journal, patience
        self._looks: list[dict[str, Any]] = journal.get("watched", [])
        self._known = {e.id: e.held_out for e in journal.kept("leader") if e.held_out is not None}

    def look(self, share: float, leaders: tuple[Entry, ...]) -> None:
        """Judge the first of the leaders, best first, if another twentieth of the budget is spent."""
        top = leaders[:TOP]
        done = self._looks[-1]["look"] if self._looks else 0
        if not top or int(share * LOOKS) <= done:
            return
        new = [e for e in top if e.id not in self._known]
        found = self._evaluator.judge([e.sample for e in new]) if new else []
        self._known |= dict(zip((e.id for e in new), found, strict=True))
        ledger = self._evaluator.ledger
        score = sum(e.score for e in top) / len(top)
        judged = sum(float(self._known[e.id] or 0.0) for e in top) / len(top)
        look = {"look": int(share * LOOKS), "calls": ledger.score_calls, "score": score, "held_out": judged}
        self._looks.append(look)
        self._journal.set_held_out({e.id: self._known[e.id] for e in new}, ledger, self._looks)

    def fooled(self) -> bool:
        """Say whether the held-out score has not risen for `patience` looks although the score has."""
        if self._patience is None or len(self._looks) <= self._patience:
            return False
        best = max(range(len(self._looks)), key=lambda i: self._looks[i]["held_out"])
        since = self._looks[best:]
        risen = sum(b["score"] > a["score"] for a, b in pairwise(since))
        return len(since) > self._patience and risen >= self._patience
