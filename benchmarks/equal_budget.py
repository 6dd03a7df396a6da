"""Every method against best-of-N at the same number of score calls, on the shipped generators, over five seeds.

`python -m benchmarks.equal_budget` runs all problems and writes `results/equal_budget.json` and the table in
`docs/benchmarks.md`; with the name of a generator it runs the problems of that one and keeps the other rows. Defaults
of the methods were chosen in `benchmarks/first_step.py` on other problems and seeds.
"""

from __future__ import annotations

import json
import math
import statistics
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

import zmax
from benchmarks.pages import fill

CALLS = 2000
SEEDS = range(5)
STUDENT = 2.776
"""Quantile 0.975 of Student's t with four degrees of freedom."""
HERE = Path(__file__).parent
RESULT = HERE / "results" / "equal_budget.json"
TABLE = HERE.parent / "docs" / "benchmarks.md"


@dataclass(frozen=True)
class Case:
    """One generator and score, with the methods that suit them."""

    generator: str
    score: str
    held_out: str | None
    methods: tuple[str, ...]


CASES = (
    Case("avatars-gan", "attribute:glasses", "attribute-judge:glasses", ("gradient", "cma", "snes")),
    Case("avatars-flow:8", "attribute:glasses", "attribute-judge:glasses", ("gradient",)),
    Case("avatars-gan", "compressibility", None, ("cma", "snes")),
    Case("avatars-flow:8", "compressibility", None, ("cma", "snes")),
)


@dataclass(frozen=True)
class Row:
    """One run."""

    generator: str
    score: str
    method: str
    seed: int
    best: float
    top_mean: float
    held_out: float | None
    plausibility: float
    score_calls: int
    nfe: int
    nfe_backward: int
    seconds: float


def run(case: Case, method: str, seed: int) -> Row:
    """Run one method once."""
    r = zmax.maximize(case.generator, case.score, method, CALLS, seed=seed, batch_size=64, held_out=case.held_out)
    top = r.top(16)
    return Row(
        generator=case.generator,
        score=case.score,
        method=method,
        seed=seed,
        best=r.best.score,
        top_mean=statistics.mean(e.score for e in top),
        held_out=r.best.held_out,
        plausibility=r.best.plausibility,
        score_calls=r.ledger.score_calls,
        nfe=r.ledger.nfe,
        nfe_backward=r.ledger.nfe_backward,
        seconds=r.ledger.seconds,
    )


def run_all(cases: Sequence[Case]) -> Iterator[Row]:
    """Run the cases, best-of-N first in each."""
    for case in cases:
        for method in ("random", *case.methods):
            for seed in SEEDS:
                row = run(case, method, seed)
                print(f"{row.generator} {row.score} {row.method} seed {seed}: {row.best:.3f} in {row.seconds:.0f} s")
                sys.stdout.flush()
                yield row


def interval(values: list[float]) -> str:
    """Return the mean with its 95 % interval."""
    half = STUDENT * statistics.stdev(values) / math.sqrt(len(values))
    digits = 2 if max(map(abs, values)) >= 1 else 3
    return f"{statistics.mean(values):.{digits}f} ± {half:.{digits}f}"


def table(rows: list[Row]) -> str:
    """Return the Markdown table: best score, gain over best-of-N seed by seed, and what it cost."""
    lines = [
        "| generator | score | method | best | gain over best-of-N | wins | held-out of best | plausibility | NFE |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    base = {(r.generator, r.score, r.seed): r.best for r in rows if r.method == "random"}
    for key in dict.fromkeys((r.generator, r.score, r.method) for r in rows):
        mine = [r for r in rows if (r.generator, r.score, r.method) == key]
        gains = [r.best - base[r.generator, r.score, r.seed] for r in mine]
        held = [r.held_out for r in mine if r.held_out is not None]
        gain = "" if key[2] == "random" else interval(gains)
        wins = "" if key[2] == "random" else f"{sum(g > 0 for g in gains)} of {len(gains)}"
        nfe = f"{mine[0].nfe:,}" + (f" + {mine[0].nfe_backward:,} backward" if mine[0].nfe_backward else "")
        least = f"{min(r.plausibility for r in mine):.2f}"
        cells = [*key, interval([r.best for r in mine]), gain, wins, interval(held) if held else "", least, nfe]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Run, write the figures, and put the table into the docs."""
    torch.set_num_threads(1)
    chosen = [case for case in CASES if len(sys.argv) < 2 or case.generator in sys.argv[1:]]
    old = [Row(**row) for row in json.loads(RESULT.read_text())] if RESULT.exists() and len(chosen) < len(CASES) else []
    names = {case.generator for case in chosen}
    rows = [row for row in old if row.generator not in names] + list(run_all(chosen))
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps([asdict(r) for r in rows], indent=1) + "\n")
    fill(TABLE, {"equal budget": table(rows)})
    print(table(rows))


if __name__ == "__main__":
    main()
