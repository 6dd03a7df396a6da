"""What the loop, ledger, journal and progress cost over a bare decode-and-score loop, measured in one process.

Both sides decode and score the same latents of `avatars-gan` in batches of 64 with `attribute:glasses`; the bare side
is the loop a person would write, nothing but decode, score and keep the best. The two take turns; the ratio is that of
the medians over all turns, in wall-clock time and in processor time (which other processes do not disturb).
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import zmax
from zmax.core.rng import stream

BATCH, CALLS, TURNS = 64, 4096, 7
RESULT = Path(__file__).parent / "results" / "overhead.json"


class Progress:
    """A listener that costs what the terminal's bar costs between refreshes, and redraws into nowhere."""

    def __init__(self) -> None:  # noqa: D107
        from rich.console import Console

        from zmax.run.progress import RichProgress

        self.bar = RichProgress(Console(file=open("/dev/null", "w"), force_terminal=True))  # noqa: SIM115
        self.started, self.updated, self.finished = self.bar.started, self.bar.updated, self.bar.finished


def bare(generator: zmax.Generator, score: zmax.Score) -> None:
    """The loop a person would write."""
    rng = stream(0, "bare")
    best = float("-inf")
    with torch.no_grad():
        for _ in range(CALLS // BATCH):
            u = generator.space.sample(BATCH, rng)
            best = max(best, float(score(generator.decode(generator.space.latents(u))).max()))


def full(generator: zmax.Generator, score: zmax.Score) -> None:
    """The same work through `maximize`, journalled on disk and watched."""
    with tempfile.TemporaryDirectory() as folder:
        method = zmax.search.Random(batch=BATCH)
        zmax.maximize(generator, score, method, CALLS, batch_size=BATCH, out=f"{folder}/run", progress=Progress())


def timed(side: Callable[[zmax.Generator, zmax.Score], None], *problem: Any) -> tuple[float, float]:
    """Return (wall-clock, processor) milliseconds a batch."""
    wall, cpu = time.perf_counter(), time.process_time()
    side(*problem)
    scale = 1000 * BATCH / CALLS
    return scale * (time.perf_counter() - wall), scale * (time.process_time() - cpu)


def main() -> None:
    """Measure, print and write the ratios."""
    torch.set_num_threads(1)
    problem = zmax.load_generator("avatars-gan"), zmax.load_score("attribute:glasses")
    timed(full, *problem)
    turns = [(timed(bare, *problem), timed(full, *problem)) for _ in range(TURNS)]
    out: dict[str, float] = {"calls": CALLS, "batch": BATCH, "turns": TURNS}
    for i, clock in enumerate(("wall", "processor")):
        plain, whole = (statistics.median(turn[side][i] for turn in turns) for side in (0, 1))
        out |= {f"{clock}_bare_ms": plain, f"{clock}_full_ms": whole, f"{clock}_ratio": whole / plain}
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(out, indent=2) + "\n")
    print(json.dumps(out, indent=2))


if __name__ == "__main__":
    main()
