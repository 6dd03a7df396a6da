"""From runs to figures: means with intervals, who wins where, the JSON file and the page's tables."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.blackbox.peers import PEERS
from benchmarks.blackbox.problems import SUITE

HERE = Path(__file__).parent
RESULT = HERE.parent / "results" / "blackbox.json"
PAGE = HERE.parents[1] / "docs" / "black-box-suite.md"
START, END = "<!-- suite -->", "<!-- end -->"
EARLY = 500
STUDENT = (math.nan, 12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)
"""Quantile 0.975 of Student's t, by degrees of freedom."""


@dataclass(frozen=True)
class Mark:
    """One method on one problem after so many calls, seed by seed.

    Attributes:
        value: score without noise of what it returns, or remaining loss.
        norm: |u| / sqrt d of it.
        plausibility: of it.
        calls: made; fewer than asked for where seconds ran out.
    """

    value: list[float]
    norm: list[float]
    plausibility: list[float]
    calls: list[int]

    @property
    def mean(self) -> float:
        return statistics.mean(self.value)


@dataclass(frozen=True)
class Entry:
    """One method on one problem."""

    problem: str
    method: str
    kind: str
    needs: str
    setting: float | None
    ms_per_call: float
    products: float
    marks: dict[str, Mark]

    @property
    def label(self) -> str:
        needs = f" ({self.needs})" if self.needs else ""
        return f"**{self.method}**{needs}" if self.kind == "zmax" else self.method

    def at(self, calls: int) -> float | None:
        """Return the mean after so many calls, larger is better, None if it did not run so long."""
        mark = self.marks.get(str(calls))
        return None if mark is None else mark.mean * (-1 if lower(self.problem) else 1)


def lower(problem: str) -> bool:
    """Tell whether smaller figures are better: where the remaining loss is reported."""
    return problem.startswith("mlp")


def entries(records: Iterable[dict[str, Any]], calls: int, tuning: int) -> list[Entry]:
    """Group the runs of the suite by problem and method, in the suite's order."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for record in records:
        name = record["method"]
        budget = min(calls, PEERS[name].max_calls) if name in PEERS else calls
        if record["seed"] < tuning and record["budget"] in (budget, EARLY) and record["problem"] in SUITE:
            groups.setdefault((record["problem"], name), []).append(record)
    order = list(SUITE)
    return [_entry(runs, calls) for _, runs in sorted(groups.items(), key=lambda item: order.index(item[0][0]))]


def _entry(runs: list[dict[str, Any]], calls: int) -> Entry:
    longest = max(run["budget"] for run in runs)
    last = [run for run in runs if run["budget"] == longest]
    runs = sorted((run for run in last if run["setting"] == last[-1]["setting"]), key=lambda run: run["seed"])
    head, marks = runs[0], {}
    for index, mark in enumerate(sorted({min(EARLY, head["budget"]), head["budget"]})):
        winners = [run["winners"][min(index, len(run["winners"]) - 1)] for run in runs]
        marks[str(mark)] = Mark(
            value=_values(winners, [run["origin"] for run in runs]),
            norm=[w["norm"] for w in winners],
            plausibility=[w["plausibility"] for w in winners],
            calls=[w["calls"] for w in winners],
        )
    return Entry(
        **{name: head[name] for name in ("problem", "method", "kind", "needs", "setting")},
        ms_per_call=statistics.median(run["ms_per_call"] for run in runs),
        products=statistics.mean(run["products"] for run in runs),
        marks=marks,
    )


def _values(winners: Sequence[dict[str, Any]], origins: Sequence[float | None]) -> list[float]:
    """Return scores, or remaining losses; under noise, of the points seen best or recommended, whichever are better."""
    seen = [w["seen"] for w in winners]
    recommended = [w["favourite"] for w in winners if w["favourite"] is not None]
    if len(recommended) == len(seen) and statistics.mean(recommended) > statistics.mean(seen):
        seen = recommended
    return [value / (origin or 1.0) for value, origin in zip(seen, origins, strict=True)]


def interval(mark: Mark | None) -> str:
    """Return the mean with its 95 % interval."""
    if mark is None:
        return ""
    n = len(mark.value)
    half = STUDENT[n - 1] * statistics.stdev(mark.value) / math.sqrt(n) if n > 1 else math.nan
    digits = 2 if abs(mark.mean) >= 1 else 4
    return f"{mark.mean:.{digits}f} ± {half:.{digits}f}"


def problem_table(rows: list[Entry], calls: int) -> str:
    """Return the table of one problem, best first."""
    lines = [
        f"| method | {EARLY} calls | {calls:,} calls | norm | plausibility | ms a call | setting |",
        "|---|---|---|---|---|---|---|",
    ]

    def rank(row: Entry) -> tuple[float, float]:
        return tuple(-math.inf if (at := row.at(n)) is None else at for n in (calls, EARLY))  # type: ignore[return-value]

    for row in sorted(rows, key=rank, reverse=True):
        last = list(row.marks.values())[-1]
        short = "" if min(last.calls) >= int(list(row.marks)[-1]) else f" (stopped after {min(last.calls)})"
        cells = [
            row.label + short,
            *(interval(row.marks.get(str(n))) for n in (EARLY, calls)),
            f"{statistics.mean(last.norm):.2f}",
            f"{statistics.mean(last.plausibility):.2f}",
            f"{row.ms_per_call:.2f}",
            "" if row.setting is None else f"{row.setting:.2g}",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def best(rows: Iterable[Entry], calls: int) -> Entry | None:
    """Return the row with the best mean after so many calls."""
    ran = [row for row in rows if row.at(calls) is not None]
    return max(ran, key=lambda row: row.at(calls) or 0.0, default=None)


def overview(rows: list[Entry], calls: int) -> str:
    """Return one line a problem: the best peer and the best of zmax's black-box methods after each number of calls."""
    lines = [
        f"| problem | best peer, {EARLY} | best of zmax, {EARLY} | best peer, {calls:,} | best of zmax, {calls:,} |",
        "|---|---|---|---|---|",
    ]
    for problem in dict.fromkeys(row.problem for row in rows):
        here = [row for row in rows if row.problem == problem]
        sides = [[r for r in here if r.kind == "peer"], [r for r in here if r.kind == "zmax" and not r.needs]]
        cells = [_cell(best(side, n), n) for n in (EARLY, calls) for side in sides]
        lines.append(f"| {problem} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(row: Entry | None, calls: int) -> str:
    return "" if row is None else f"{row.method} {interval(row.marks[str(calls)])}"


def tally(rows: list[Entry], calls: int) -> list[dict[str, Any]]:
    """Count, for each of zmax's methods, the problems on which its mean beats that of every peer."""
    peers = {p: [r for r in rows if r.problem == p and r.kind == "peer"] for p in SUITE}
    tops = {(p, n): top.at(n) for p in SUITE for n in (EARLY, calls) if (top := best(peers[p], n)) is not None}
    out = []
    for method in dict.fromkeys(row.method for row in rows if row.kind == "zmax"):
        mine = [r for r in rows if r.method == method and r.kind == "zmax" and (r.problem, calls) in tops]
        pairs = ((EARLY, EARLY), (calls, calls), (EARLY, calls))
        counts = [sum((r.at(a) or -math.inf) > (tops[r.problem, b] or 0.0) for r in mine) for a, b in pairs]
        head = {"method": method, "needs": mine[0].needs if mine else "", "problems": len(mine)}
        names = ("beats_all_early", "beats_all", "early_beats_all_late")
        out.append(head | dict(zip(names, counts, strict=True)))
    return sorted(out, key=lambda each: -each["beats_all"])


def tally_table(counts: list[dict[str, Any]], calls: int) -> str:
    lines = [
        f"| method | needs | problems | beats every peer at {EARLY} | at {calls:,} | "
        f"at {EARLY} reaches the best peer's {calls:,} |",
        "|---|---|---|---|---|---|",
    ]
    return "\n".join(lines + ["| " + " | ".join(map(str, each.values())) + " |" for each in counts])


def write(records: list[dict[str, Any]], calls: int, tuning: int) -> None:
    """Write the JSON file and the tables of the page."""
    rows = entries(records, calls, tuning)
    counts = tally(rows, calls)
    RESULT.parent.mkdir(exist_ok=True)
    out = {"calls": [EARLY, calls], "tally": counts, "entries": [asdict(row) for row in rows]}
    RESULT.write_text(json.dumps(_rounded(out)) + "\n")
    parts = [tally_table(counts, calls), overview(rows, calls)]
    for problem in dict.fromkeys(row.problem for row in rows):
        better = "remaining loss, smaller is better" if lower(problem) else "score, larger is better"
        table = problem_table([row for row in rows if row.problem == problem], calls)
        parts.append(f"## {problem}\n\nd = {SUITE[problem].make(0).dim}; {better}.\n\n{table}")
    text = PAGE.read_text()
    before, after = text.split(START)[0], text.split(END)[1]
    PAGE.write_text(f"{before}{START}\n\n" + "\n\n".join(parts) + f"\n\n{END}{after}")


def _rounded(value: Any) -> Any:
    """Keep six digits of every float: no figure has more."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {name: _rounded(each) for name, each in value.items()}
    return [_rounded(each) for each in value] if isinstance(value, list) else value
