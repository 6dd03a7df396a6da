"""From runs to the page's tables: means with intervals, who wins where, and that among plausible answers too."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.blackbox.harness import Run, Winner
from benchmarks.blackbox.peers import PEERS
from benchmarks.blackbox.problems import SUITE
from benchmarks.blackbox.records import Job
from benchmarks.pages import fill, interval, markdown
from zmax.core.methods import registry
from zmax.core.strategy import Need

PAGE = Path(__file__).parents[2] / "docs" / "black-box-suite.md"
EARLY, LATE = 500, 2000


@dataclass(frozen=True)
class Entry:
    """One method on one problem: the runs of all seeds, for each setting."""

    problem: str
    method: str
    budget: int
    runs: dict[float | None, list[Run]]

    @property
    def peer(self) -> bool:
        return self.method in PEERS

    @property
    def needs(self) -> str:
        ours = not self.peer and self.method in registry  # rows of methods that are no longer here stay
        return "Jacobian" if ours and Need.JACOBIAN in registry.load(self.method).needs else ""

    @property
    def lower(self) -> bool:
        """Whether smaller figures are better: where the remaining loss is reported."""
        return self.problem.startswith("mlp")

    def values(self, calls: int, plausible: bool = False) -> list[float]:
        """Return, seed by seed, the value of the answer, or of the best plausible one, with the setting best for it.

        Empty if it did not run so long, or if in every setting a seed has no plausible answer.
        """
        if calls > self.budget:
            return []
        each = [answers(runs, calls, plausible) for runs in self.runs.values()]
        return max(filter(None, each), key=self.worth, default=[])

    def worth(self, values: Sequence[float]) -> float:
        """Return the mean, larger is better; of nothing, the worst there is."""
        return statistics.mean(values) * (-1 if self.lower else 1) if values else -math.inf

    def shown(self) -> list[Run]:
        """Return the runs of the setting with the best answers in the end."""
        return max(self.runs.values(), key=lambda runs: self.worth(answers(runs, self.budget)))


def entries(records: Mapping[Job, Run]) -> list[Entry]:
    """Group the runs by problem and method, in the suite's order."""
    found: dict[tuple[str, str], Entry] = {}
    for job, run in sorted(records.items(), key=lambda item: (list(SUITE).index(item[0].problem), item[0].seed)):
        entry = found.setdefault((job.problem, job.method), Entry(job.problem, job.method, job.budget, {}))
        entry.runs.setdefault(job.setting, []).append(run)
    return list(found.values())


def answers(runs: Sequence[Run], calls: int, plausible: bool = False) -> list[float]:
    """Return scores without noise, or remaining losses, of what is returned after so many calls.

    Under noise that is the points that scored best or those recommended, whichever are better.
    """
    winners = [at(run, calls) for run in runs]
    seen = [w.plausible if plausible else w.seen for w in winners]
    recommended = [w.plausible_favourite if plausible else w.favourite for w in winners]
    complete = [[value for value in each if value is not None] for each in (seen, recommended)]
    scores = max((each for each in complete if len(each) == len(runs)), key=statistics.mean, default=[])
    return [score / (run.origin or 1.0) for score, run in zip(scores, runs, strict=False)]


def at(run: Run, calls: int) -> Winner:
    """Return the winner after so many calls, or the last one if it stopped before."""
    return next((winner for winner in run.winners if winner.calls >= calls), run.winners[-1])


def figure(values: Sequence[float]) -> str:
    """Return the mean with its 95 % interval, in as many digits as its size asks for."""
    return interval(values, 2 if values and abs(statistics.mean(values)) >= 1 else 4)


def table(head: str, rows: Iterable[Sequence[object]]) -> str:
    """Return a table in Markdown."""
    return markdown([head.split(" | "), *rows])


def problem_table(rows: Iterable[Entry]) -> str:
    """Return the table of one problem, best first."""
    ranked = sorted(rows, key=lambda row: [row.worth(row.values(calls)) for calls in (LATE, EARLY)], reverse=True)
    head = f"method | {EARLY} calls | {LATE:,} calls | plausible, {EARLY} | plausible, {LATE:,} | norm | plausibility"
    return table(f"{head} | ms a call | seeds", map(_cells, ranked))


def _cells(row: Entry) -> list[str]:
    runs = row.shown()
    last = [at(run, row.budget) for run in runs]
    made = min(winner.calls for winner in last)
    name = row.method if row.peer else f"**{row.method}**"
    return [
        name + (f" ({row.needs})" if row.needs else "") + (f" (stopped after {made})" if made < row.budget else ""),
        *(figure(row.values(calls, plausible)) for plausible in (False, True) for calls in (EARLY, LATE)),
        f"{statistics.mean(winner.norm for winner in last):.2f}",
        f"{statistics.mean(winner.plausibility for winner in last):.2f}",
        f"{statistics.median(run.ms_per_call for run in runs):.2f}",
        str(len(runs)),
    ]


def overview(rows: Sequence[Entry]) -> str:
    """Return one line a problem: the best peer and the best of zmax's methods that need no Jacobian."""
    head = "problem" + "".join(f" | best peer, {n:,} | best of zmax, {n:,}" for n in (EARLY, LATE))
    lines = []
    for problem in dict.fromkeys(row.problem for row in rows):
        here = [row for row in rows if row.problem == problem and not row.needs]
        sides = [[row for row in here if row.peer == peer] for peer in (True, False)]
        lines.append([problem, *(_best(side, calls) for calls in (EARLY, LATE) for side in sides)])
    return table(head, lines)


def _best(rows: Iterable[Entry], calls: int) -> str:
    ran = [row for row in rows if row.values(calls)]
    best = max(ran, key=lambda row: row.worth(row.values(calls)), default=None)
    return f"{best.method} {figure(best.values(calls))}" if best else ""


def tally(rows: Sequence[Entry]) -> str:
    """Count, for each of zmax's methods, the problems on which its mean beats that of every peer."""
    head = (
        f"method | problems | beats every peer at {EARLY} | at {LATE:,} | at {EARLY} beats every peer's {LATE:,} | "
        f"beats every plausible answer at {EARLY} | at {LATE:,}"
    )
    peers = {problem: [row for row in rows if row.peer and row.problem == problem] for problem in SUITE}
    compared = (
        (EARLY, EARLY, False),
        (LATE, LATE, False),
        (EARLY, LATE, False),
        (EARLY, EARLY, True),
        (LATE, LATE, True),
    )
    lines = []
    for method in dict.fromkeys(row.method for row in rows if not row.peer):
        ran = [row for row in rows if row.method == method]
        name = method + (f" ({ran[0].needs})" if ran[0].needs else "")
        lines.append(
            [name, len(ran), *(sum(beats(row, peers[row.problem], *each) for row in ran) for each in compared)]
        )
    return table(head, sorted(lines, key=lambda each: each[3:] + each[2:3], reverse=True))


def beats(row: Entry, peers: Iterable[Entry], mine: int, theirs: int, plausible: bool) -> bool:
    """Tell whether the mean after so many calls beats that of all peers that have one after so many."""
    worth = row.worth(row.values(mine, plausible))
    return worth > max((peer.worth(peer.values(theirs, plausible)) for peer in peers), default=math.inf)


def write(records: Mapping[Job, Run]) -> None:
    """Write the tables of the page."""
    rows = entries(records)
    parts = [tally(rows), overview(rows)]
    for problem in dict.fromkeys(row.problem for row in rows):
        here = [row for row in rows if row.problem == problem]
        better = "remaining loss, smaller is better" if here[0].lower else "score, larger is better"
        parts.append(f"## {problem}\n\nd = {SUITE[problem].make(0).dim}; {better}.\n\n{problem_table(here)}")
    fill(PAGE, {"suite": "\n" + "\n\n".join(parts) + "\n"})
