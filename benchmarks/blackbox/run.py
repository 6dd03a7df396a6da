"""Run the black-box suite.

    python -m benchmarks.blackbox.run                                        # all of it; hours
    python -m benchmarks.blackbox.run --methods cma snes --problems mlp:64   # some of it
    python -m benchmarks.blackbox.run --tables                               # only write the tables anew

Each run is one line of `benchmarks/build/blackbox.jsonl`, appended when it ends, and is not done twice unless `--again`
asks for it. Figures go to `benchmarks/results/blackbox.json` and `docs/black-box-suite.md`.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import traceback
import warnings
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.blackbox.harness import BlackBox, drive, play
from benchmarks.blackbox.peers import PEERS, Peer
from benchmarks.blackbox.problems import SUITE, Row, mlp
from benchmarks.blackbox.tables import write
from zmax.search import methods

CACHE = Path(__file__).parents[1] / "build" / "blackbox.jsonl"
FIRST_MARK = 500
TUNING_SEED = 9000
MAX_DIM = {"cma": 1024}
"""Largest dimension of zmax's methods that keep a full matrix."""
Key = tuple[Any, ...]


@dataclass(frozen=True)
class Job:
    """All seeds of one method on one problem."""

    problem: str
    method: str
    seeds: int
    calls: int
    seconds: float
    again: bool


def key(record: dict[str, Any]) -> Key:
    """What tells runs apart."""
    return tuple(record[name] for name in ("problem", "method", "setting", "seed", "budget"))


def cached() -> dict[Key, dict[str, Any]]:
    """Return the runs done so far; of two of the same, the later."""
    lines = CACHE.read_text().splitlines() if CACHE.exists() else []
    return {key(record): record for record in map(json.loads, lines)}


def wanted(name: str, problem: str) -> bool:
    """Tell whether a method can do a problem."""
    row = SUITE[problem]
    dim = row.make(0).dim
    if name in PEERS:
        return dim <= PEERS[name].max_dim and (not PEERS[name].only or problem in PEERS[name].only)
    kind = methods.load(name)
    possible = (row.gradient or not kind.needs_grad) and (row.jacobian or not kind.needs_jacobian)
    return possible and dim <= MAX_DIM.get(name, dim)


def work(job: Job) -> str:
    """Do what is missing of a job, and append it to the cache."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    try:
        return _peer(job, PEERS[job.method]) if job.method in PEERS else _ours(job)
    except Exception:  # noqa: BLE001 - one method that breaks must not end the suite
        return f"{job.problem} {job.method} FAILED\n{traceback.format_exc()}"


def _ours(job: Job) -> str:
    kind = methods.load(job.method)
    needs = "gradient" if kind.needs_grad else "Jacobian" if kind.needs_jacobian else ""
    done = [_once(job, lambda box, seed: drive(kind(), box, seed), None, s, job.calls, needs) for s in range(job.seeds)]
    return _line(job, None, done)


def _peer(job: Job, peer: Peer) -> str:
    calls, row = min(job.calls, peer.max_calls), SUITE[job.problem]
    _warm(peer)
    tuned = Job(row.tuned or job.problem, job.method, job.seeds, calls, job.seconds, again=False)
    trials = {}
    for setting in peer.settings if len(peer.settings) > 1 else ():
        trials[setting] = _once(tuned, partial(_play, peer, setting), setting, TUNING_SEED, calls)
    setting = max(trials, key=lambda each: trials[each]["winners"][-1]["seen"], default=peer.settings[0])
    seeds = range(min(job.seeds, peer.seeds))
    done = [_once(job, partial(_play, peer, setting), setting, seed, calls) for seed in seeds]
    return _line(job, setting, done)


def _play(peer: Peer, setting: float, box: BlackBox, seed: int) -> None:
    peer.run(box, seed, setting)


def _warm(peer: Peer) -> None:
    """Import and compile what a peer needs, so that its first run is not charged for it."""
    play(partial(_play, peer, peer.settings[0]), BlackBox(mlp(8, TUNING_SEED), (60,), 20.0), TUNING_SEED)


def _once(
    job: Job, method: Callable[[BlackBox, int], None], setting: float | None, seed: int, calls: int, needs: str = ""
) -> dict[str, Any]:
    """Return one run, from the cache if it is there."""
    head: dict[str, Any] = {"problem": job.problem, "method": job.method, "setting": setting, "seed": seed}
    head |= {"budget": calls, "kind": "peer" if job.method in PEERS else "zmax", "needs": needs}
    if not job.again and (known := cached().get(key(head))):
        return known
    row: Row = SUITE[job.problem]
    marks = sorted({min(FIRST_MARK, calls), calls})
    record = head | play(method, BlackBox(row.make(seed), marks, job.seconds), seed)
    CACHE.parent.mkdir(parents=True, exist_ok=True)
    with CACHE.open("a") as file:
        file.write(json.dumps(record) + "\n")
    return record


def _line(job: Job, setting: float | None, done: list[dict[str, Any]]) -> str:
    mean = sum(each["winners"][-1]["seen"] / (each["origin"] or 1.0) for each in done) / len(done)
    cost = sum(each["ms_per_call"] for each in done) / len(done)
    return f"{job.problem} {job.method} {setting}: {mean:.4f}, {cost:.2f} ms a call"


def expand(names: Iterable[str]) -> list[str]:
    """Replace "peers" and "zmax" by what they stand for."""
    groups = {"peers": list(PEERS), "zmax": list(methods)}
    return list(dict.fromkeys(each for name in names for each in groups.get(name, [name])))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Run the black-box suite.")
    parser.add_argument("--methods", nargs="+", default=["zmax", "peers"], help="names, or the groups zmax and peers")
    parser.add_argument("--problems", nargs="+", default=list(SUITE), choices=list(SUITE))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--calls", type=int, default=2000)
    parser.add_argument("--seconds", type=float, default=600.0, help="processor seconds of a method in one run")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--again", action="store_true", help="do again what is in the cache")
    parser.add_argument("--tables", action="store_true", help="run nothing, write the tables")
    return parser.parse_args()


def main() -> None:
    """Run what is asked for, then write the figures of all that is in the cache."""
    args = arguments()
    if not args.tables:
        for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
            os.environ[name] = "1"
        pairs = [(p, m) for p in args.problems for m in expand(args.methods) if wanted(m, p)]
        jobs = [Job(p, m, args.seeds, args.calls, args.seconds, args.again) for p, m in pairs]
        with ProcessPoolExecutor(args.workers, multiprocessing.get_context("spawn")) as pool:
            for done in as_completed([pool.submit(work, job) for job in jobs]):
                print(done.result(), flush=True)
    write(list(cached().values()), args.calls, TUNING_SEED)


if __name__ == "__main__":
    main()
