"""Look at a run as it goes on, and say when it should end early: fooled, or at a standstill."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from zmax.results.history import History
from zmax.run.evaluator import Evaluator
from zmax.store import Entry, Journal

LOOKS = 20
"""How often a run is looked at, at equal shares of its budget."""

TOP = 4
"""Leaders that a look judges."""


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

    def ended(self) -> str:
        """Say "held_out" once the held-out score has not risen for `patience` looks although the score has, else ""."""
        if self._patience is None or len(self._looks) <= self._patience:
            return ""
        best = max(range(len(self._looks)), key=lambda i: self._looks[i]["held_out"])
        since = self._looks[best:]
        risen = sum(b["score"] > a["score"] for a, b in pairwise(since))
        return "held_out" if len(since) > self._patience and risen >= self._patience else ""


class Plateau:
    """Looks at the best score at twentieths of the budget.

    Args:
        journal: keeps what each look found.
        patience: looks without a better score after which the run should stop.
        goals: where there are several, their hypervolume is looked at in place of a score.
    """

    def __init__(self, journal: Journal, patience: int, goals: tuple[str, ...] = ()) -> None:
        self._journal, self._patience, self._goals = journal, patience, goals
        self._bests: list[float] = journal.get("best at looks", [])

    def look(self, share: float, leaders: tuple[Entry, ...]) -> None:
        """Note the best score for every twentieth of the budget that was spent since the last look."""
        passed = int(share * LOOKS) - len(self._bests)
        if leaders and passed > 0:
            volume = History.of(self._journal.chunks(), goals=self._goals).hypervolume() if self._goals else None
            self._bests += passed * [leaders[0].merit if volume is None else float(volume[-1])]
            self._journal.set("best at looks", self._bests)

    def ended(self) -> str:
        """Say "plateau" once the best score has not risen for `patience` looks, else ""."""
        level = len(self._bests) > self._patience and self._bests[-1] <= self._bests[-1 - self._patience]
        return "plateau" if level else ""
