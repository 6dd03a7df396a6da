"""Quality diversity against pyribs and best-of-N at the same number of score calls, over five seeds.

    python -m benchmarks.quality_diversity   # about four minutes on one core

The question: avatars with glasses, of every brightness and colourfulness (20 x 20 cells). Every archive keeps the best
sample of each cell whose score exceeds the floor; coverage and QD-score (sum of score - floor) are those of pyribs.
zmax runs with its defaults through `zmax.maximize`, whose reference batch is charged. pyribs runs its CMA-MAE
(improvement ranking, basic restarts, batches of 36, from the origin) in each of the SETTINGS: the paper's learning rate
with five emitters, then the learning rate that zmax uses, with five emitters and with one. It has no notion of the
prior, so each is run again on points moved to the prior's shell. Figures go to `results/quality_diversity.json` and
into the table of `docs/diverse.md`.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

import zmax
from benchmarks.pages import fill, interval
from zmax.core.rng import stream
from zmax.search.diversity.archive import Archive, add
from zmax.search.diversity.descriptors import as_descriptor

CALLS = 2000
SEEDS = range(5)
GENERATOR, SCORE = "avatars-gan", "attribute:glasses"
LOW, HIGH, CELLS = torch.tensor([0.4, 30.0]), torch.tensor([0.9, 130.0]), torch.tensor([20, 20])
FLOOR = -20.0
BATCH = 36
SETTINGS = ((0.01, 5, 0.5), (0.5, 5, 0.5), (0.5, 1, 1.0))
"""Learning rate, emitters and first step of pyribs."""
HERE = Path(__file__).parent
RESULT = HERE / "results" / "quality_diversity.json"
TABLE = HERE.parent / "docs" / "diverse.md"


@dataclass(frozen=True)
class Row:
    """One run."""

    method: str
    seed: int
    coverage: float
    qd_score: float
    best: float
    plausibility: float
    gradients: int
    seconds: float


class Problem:
    """G, S and the descriptor, with the archive of all that was scored."""

    def __init__(self, generator: str, score: str) -> None:
        """Load both."""
        self.G, self.S = zmax.load_generator(generator), zmax.load_score(score)
        self.describe = as_descriptor("brightness,colourfulness")

    def empty(self) -> Archive:
        return Archive.empty(LOW, HIGH, CELLS, FLOOR, self.G.space.dim)

    @torch.no_grad()
    def judged(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Return scores and descriptors of points."""
        x = self.G.decode(self.G.space.latents(u))
        return self.S(x).double(), self.describe(x)[1].double()

    def row(self, method: str, seed: int, archive: Archive, start: float, gradients: int = 0) -> Row:
        plausibility = float(self.G.space.plausibility(archive.u[archive.filled]).median())
        seconds = time.process_time() - start
        numbers = archive.coverage, archive.qd_score, archive.best, plausibility
        return Row(method, seed, *numbers, gradients, seconds)


def by_chance(problem: Problem, seed: int) -> Row:
    start, archive = time.process_time(), problem.empty()
    for u in problem.G.space.sample(CALLS, stream(seed, "chance")).split(100):
        archive, _ = add(archive, u, *problem.judged(u), 1.0)
    return problem.row("random", seed, archive, start)


def ours(problem: Problem, method: str, seed: int) -> Row:
    start = time.process_time()
    bounds = ",".join(f"{low}:{high}" for low, high in zip(LOW.tolist(), HIGH.tolist(), strict=True))
    params = {"ranges": bounds, "cells": "20x20", "floor": FLOOR}
    r = zmax.maximize(problem.G, problem.S, method, CALLS, seed=seed, batch_size=64, params=params)
    assert r.archive is not None
    return problem.row(f"zmax {method}", seed, r.archive, start, r.ledger.score_grads)


def peer(problem: Problem, setting: tuple[float, int, float], seed: int, *, retract: bool = False) -> Row:
    """Run pyribs' CMA-MAE as its documentation does."""
    from ribs.archives import GridArchive
    from ribs.emitters import EvolutionStrategyEmitter
    from ribs.schedulers import Scheduler

    start, kept, (rate, number, step) = time.process_time(), problem.empty(), setting
    d, space = problem.G.space.dim, problem.G.space
    ranges = list(zip(LOW.tolist(), HIGH.tolist(), strict=True))
    soft = GridArchive(
        solution_dim=d, dims=CELLS.tolist(), ranges=ranges, learning_rate=rate, threshold_min=FLOOR, seed=seed
    )
    emitters = [
        EvolutionStrategyEmitter(
            soft,
            x0=np.zeros(d),
            sigma0=step,
            ranker="imp",
            selection_rule="mu",
            restart_rule="basic",
            batch_size=BATCH,
            seed=1000 * seed + i,
        )
        for i in range(number)
    ]
    scheduler = Scheduler(soft, emitters)
    for _ in range(CALLS // (BATCH * number)):
        u = torch.as_tensor(scheduler.ask()).float()
        u = space.retract(u) if retract else u
        score, place = problem.judged(u)
        kept, _ = add(kept, u, score, place, 1.0)
        scheduler.tell(score.numpy(), place.numpy())
    name = f"pyribs CMA-MAE, rate {rate:g}, {number} x {BATCH}, step {step:g}" + ", retracted" * retract
    return problem.row(name, seed, kept, start)


def run_all() -> Iterator[Row]:
    """Run best-of-N, zmax, then pyribs in all settings, as it is and with retraction."""
    problem = Problem(GENERATOR, SCORE)
    yield from (by_chance(problem, seed) for seed in SEEDS)
    yield from (ours(problem, method, seed) for method in ("cma-mae", "cma-mega") for seed in SEEDS)
    for setting in SETTINGS:
        for retract in (False, True):
            yield from (peer(problem, setting, seed, retract=retract) for seed in SEEDS)


def table(rows: list[Row]) -> str:
    """Return the Markdown table."""
    heads = "method", "coverage", "QD-score", "best", "plausibility", "gradients", "CPU s"
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for method in dict.fromkeys(row.method for row in rows):
        runs = [row for row in rows if row.method == method]
        cells = [
            method,
            interval([row.coverage for row in runs], 2),
            interval([row.qd_score for row in runs], 0),
            interval([row.best for row in runs], 1),
            f"{statistics.median(row.plausibility for row in runs):.2f}",
            f"{runs[0].gradients:,}",
            f"{statistics.median(row.seconds for row in runs):.1f}",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Run, write the figures, and put the table into the docs."""
    torch.set_num_threads(1)
    rows = []
    for row in run_all():
        rows.append(row)
        print(f"{row.method} seed {row.seed}: {row.coverage:.2f} {row.qd_score:.0f}", flush=True)
    RESULT.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    fill(TABLE, {"quality diversity": table(rows)})
    print(table(rows))


if __name__ == "__main__":
    main()
