"""Run the black-box suite.

    python -m benchmarks.blackbox.run                                        # all of it; hours of one processor
    python -m benchmarks.blackbox.run --methods cma snes --problems mlp:64   # some of it
    python -m benchmarks.blackbox.run --tables                               # only write the tables anew

Each run is one line of `benchmarks/results/blackbox.jsonl`, appended when it ends, and is not done twice: take its line
out to have it done again. The tables go to `docs/black-box-suite.md`.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import traceback
import warnings
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch

from benchmarks.blackbox.harness import BlackBox, Run, drive, play
from benchmarks.blackbox.peers import PEERS
from benchmarks.blackbox.problems import SUITE, mlp
from benchmarks.blackbox.records import RESULT, Job, line, read
from benchmarks.blackbox.tables import EARLY, LATE, write
from zmax.core.methods import registry


@dataclass(frozen=True)
class Limits:
    """Where a method is feasible, as for a `Peer`."""

    max_dim: int = 1_000_000
    max_calls: int = 1_000_000
    seeds: int = 1_000_000


OURS = {
    **dict.fromkeys(("random", "noises", "spsa", "es", "snes", "sphere-cma", "trust", "zeroth"), Limits()),
    "cma": Limits(max_dim=1024),  # it keeps a full matrix
    "turbo": Limits(seeds=3),
    "surrogate": Limits(max_dim=512, max_calls=500),
}
"""zmax's methods that search and need no gradient of S."""
DEAR = ("botorch-turbo", "turbo", "optuna-tpe", "optuna-cma", "surrogate")
"""What takes long, the longest first."""


def plan(problems: Iterable[str], names: Iterable[str], seeds: int) -> list[Job]:
    """Return what there is to do: slow problems last, before them long runs first, then seed by seed."""
    jobs = [job for problem in problems for name in names for job in _jobs(problem, name, seeds)]
    return sorted(jobs, key=lambda job: (SUITE[job.problem].seeds < 5, _rank(job), job.seed))


def _rank(job: Job) -> int:
    return DEAR.index(job.method) if job.method in DEAR else len(DEAR)


def _jobs(problem: str, name: str, seeds: int) -> list[Job]:
    row, peer = SUITE[problem], PEERS.get(name)
    limits = peer or OURS.get(name, Limits())
    settings = peer.settings if peer else (None,)
    if row.make(0).dim > limits.max_dim or (peer and peer.only and problem not in peer.only):
        return []
    seeds, budget = min(seeds, row.seeds, limits.seeds), min(LATE, limits.max_calls)
    return [Job(problem, name, setting, seed, budget) for setting in settings for seed in range(seeds)]


def work(job: Job, seconds: float) -> Run:
    """Do one run, of which the method may take so many processor seconds."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    _warm(job.method)
    box = BlackBox(SUITE[job.problem].make(job.seed), sorted({min(EARLY, job.budget), job.budget}), seconds)
    return _play(job.method, job.setting, box, job.seed)


def _play(name: str, setting: float | None, box: BlackBox, seed: int) -> Run:
    if setting is None:
        return play(lambda box, seed: drive(registry.load(name)(), box, seed), box, seed)
    return play(lambda box, seed: PEERS[name].run(box, seed, setting), box, seed)


@cache
def _warm(name: str) -> None:
    """Import and compile what a method needs, so that no run is charged for it."""
    setting = PEERS[name].settings[0] if name in PEERS else None
    _play(name, setting, BlackBox(mlp(8, 9000), (60,), 20.0), 9000)


def run(jobs: Iterable[Job], results: Path, processes: int, seconds: float) -> None:
    """Do the jobs, and append each as it ends; one that breaks must not end the suite."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ[name] = "1"
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool, results.open("a") as file:
        futures = {pool.submit(work, job, seconds): job for job in jobs}
        for future in as_completed(futures):
            job = futures[future]
            try:
                file.write(line(job, future.result()))
                file.flush()
                print("done", job, flush=True)
            except BrokenProcessPool:
                raise
            except Exception:  # noqa: BLE001
                print("FAILED", job, traceback.format_exc(), flush=True)


def expand(names: Iterable[str]) -> list[str]:
    """Replace "peers" and "zmax" by what they stand for."""
    groups = {"peers": list(PEERS), "zmax": list(OURS)}
    return list(dict.fromkeys(each for name in names for each in groups.get(name, [name])))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Run the black-box suite.")
    parser.add_argument("--methods", nargs="+", default=["zmax", "peers"], help="names, or the groups zmax and peers")
    parser.add_argument("--problems", nargs="+", default=list(SUITE), choices=list(SUITE))
    parser.add_argument("--seeds", type=int, default=5, help="at most")
    parser.add_argument("--seconds", type=float, default=300.0, help="processor seconds of a method in one run")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--results", type=Path, default=RESULT, help="the file of runs")
    parser.add_argument("--tables", action="store_true", help="run nothing, write the tables")
    return parser.parse_args()


def main() -> None:
    """Run what is asked for and missing, then write the tables of all that is in the file."""
    args = arguments()
    if not args.tables:
        done = read(args.results)
        jobs = [job for job in plan(args.problems, expand(args.methods), args.seeds) if job not in done]
        run(jobs, args.results, args.processes, args.seconds)
    write(read(args.results))


if __name__ == "__main__":
    main()
