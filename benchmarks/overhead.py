"""What the loop, ledger, journal and progress cost over a bare decode-and-score loop, measured in one run.

`maximize` runs best-of-N on `avatars-gan` with `attribute:glasses` in batches of 64, journalled on disk, with the
terminal's progress bar. After each of its batches the benchmark does one bare batch of its own, nothing but draw,
decode, score and keep the best, so that both sides meet the same machine, caches and allocator, batch by batch. The
figure is the median over runs of the ratio of mean times, in wall-clock time and in processor time, with quartiles.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from pathlib import Path

import torch
from rich.console import Console

import zmax
from zmax.core.rng import stream
from zmax.results.spec import RunSpec
from zmax.run.progress import RichProgress, Snapshot

BATCH, CALLS, RUNS = 64, 4096, 7
RESULT = Path(__file__).parent / "results" / "overhead.json"
Clock = tuple[float, float]


def now() -> Clock:
    """Return wall-clock and processor seconds."""
    return time.perf_counter(), time.process_time()


class Alternate:
    """Shows the bar, then does a bare batch; keeps the times of both sides."""

    def __init__(self, generator: zmax.Generator, score: zmax.Score) -> None:  # noqa: D107
        self.generator, self.score = generator, score
        self.rng, self.best = stream(0, "bare"), float("-inf")
        self.bar = RichProgress(Console(file=open("/dev/null", "w"), force_terminal=True))  # noqa: SIM115
        self.mark = now()
        self.full: list[Clock] = []
        self.bare: list[Clock] = []

    def started(self, spec: RunSpec) -> None:
        """Open the bar."""
        self.bar.started(spec)
        self.mark = now()

    def updated(self, snapshot: Snapshot) -> None:
        """Close the full batch, do a bare one."""
        self.bar.updated(snapshot)
        middle = now()
        with torch.no_grad():
            u = self.generator.space.sample(BATCH, self.rng)
            values = self.score(self.generator.decode(self.generator.space.latents(u)))
            self.best = max(self.best, float(values.max()))
        end = now()
        self.full.append((middle[0] - self.mark[0], middle[1] - self.mark[1]))
        self.bare.append((end[0] - middle[0], end[1] - middle[1]))
        self.mark = end

    def finished(self, stop_reason: str) -> None:
        """Close the bar."""
        self.bar.finished(stop_reason)

    def means(self, clock: int) -> tuple[float, float]:
        """Return mean seconds a batch, bare and full, without the first (reference) and last (partial) batch."""
        sides = ([times[clock] for times in side[1:-1]] for side in (self.bare, self.full))
        bare, full = (statistics.mean(side) for side in sides)
        return bare, full


def main() -> None:
    """Measure, print and write the ratios."""
    torch.set_num_threads(1)
    problem = zmax.load_generator("avatars-gan"), zmax.load_score("attribute:glasses")
    runs: list[Alternate] = []
    for _ in range(RUNS + 1):
        runs.append(Alternate(*problem))
        with tempfile.TemporaryDirectory() as folder:
            method = zmax.search.Random(batch=BATCH)
            zmax.maximize(*problem, method, CALLS, batch_size=BATCH, out=f"{folder}/run", progress=runs[-1])
    out: dict[str, object] = {"calls": CALLS, "batch": BATCH, "runs": RUNS}
    for clock, name in enumerate(("wall", "processor")):
        pairs = [run.means(clock) for run in runs[1:]]
        ratios = sorted(full / bare for bare, full in pairs)
        out[f"{name}_bare_ms"] = 1000 * statistics.median(bare for bare, _ in pairs)
        out[f"{name}_full_ms"] = 1000 * statistics.median(full for _, full in pairs)
        out[f"{name}_ratio"] = statistics.median(ratios)
        out[f"{name}_ratio_quartiles"] = [ratios[len(ratios) // 4], ratios[-1 - len(ratios) // 4]]
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(out, indent=2) + "\n")
    print(json.dumps(out, indent=2))


if __name__ == "__main__":
    main()
