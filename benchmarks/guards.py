"""Whether the guard binds every method, and what it costs: scores of a plain latent, default settings, ten seeds.

    python -m benchmarks.guards                             # all: about half an hour on one core
    python -m benchmarks.guards --dims 2 --methods cma      # a quick look

Scores of u itself, so that the best that the guard allows is known:

- `linear`: S = b^T u with |b| = 1
- `inside`, `edge`, `on`: S = -|u - u*|^2 with |u*| halfway to the rim of the shell, at its rim, and sqrt(d); below ten
  dimensions there is no inner rim, and they lie at half, all and three quarters of the outer one
- `mixture`: the log density of eight normals of deviation 0.5 at prior draws

A figure is the mean over the seeds of the best score, beside the mean of best-of-N's and the least plausibility of a
winner. Every method has 500 calls, and the laws of evolution 6,000 on the sphere of squares about a typical point.
"""

from __future__ import annotations

import argparse
import functools
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import zmax
from benchmarks.pages import fill, markdown
from zmax.core.errors import CapabilityError
from zmax.core.methods import methods
from zmax.core.priors import shell
from zmax.core.rng import stream

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "guards.json"
PAGE = ROOT / "docs" / "guards.md"
DIMS = (1, 2, 3, 64, 512)
SCORES = ("linear", "inside", "edge", "on", "mixture")
EVOLUTION = ("cma", "snes", "sphere-cma")
DEAR = {"surrogate": 200, "turbo": 200}
"""Methods that take tens of milliseconds a call get fewer calls, as best-of-N beside them."""
METHODS = [m.name for m in methods() if m.road == "search" and m.name not in ("cma-mae", "cma-mega", "dno-hybrid")]
"""All that search latents, without those that need a descriptor or a path."""
Score = Callable[[Tensor], Tensor]


def main() -> None:
    """Run what is asked for, add it to the results, and rebuild the table."""
    options = arguments()
    torch.set_num_threads(1)
    known = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    start = time.monotonic()
    for method, dim, name in cells(options):
        calls = calls_of(method, name, dim, options.calls)
        key = {"method": method, "dim": dim, "score": name, "calls": calls}
        if any(key.items() <= row.items() and row["seeds"] >= options.seeds for row in known):
            continue
        row = key | {"seeds": options.seeds} | measured(method, dim, name, calls, options.seeds)
        known = [old for old in known if not key.items() <= old.items()] + [row]
        RESULTS.write_text("[\n" + ",\n".join(map(json.dumps, known)) + "\n]\n")
        print(f"{time.monotonic() - start:6.0f} s  {method} d={dim} {name}: {row['best']}", flush=True)
    fill(PAGE, {"guards": table(known)})


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.guards")
    parser.add_argument("--methods", nargs="+", default=METHODS)
    parser.add_argument("--dims", nargs="+", type=int, default=DIMS)
    parser.add_argument("--scores", nargs="+", choices=SCORES, default=SCORES)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--calls", type=int, default=500)
    return parser.parse_args()


def cells(options: argparse.Namespace) -> Iterator[tuple[str, int, str]]:
    """Return the runs, best-of-N first in each group."""
    for dim in options.dims:
        for name in options.scores:
            for method in options.methods:
                yield method, dim, name


def calls_of(method: str, name: str, dim: int, calls: int) -> int:
    """Return the budget of a run."""
    if method in EVOLUTION and name == "on" and dim >= 10:
        return 12 * calls
    return min(calls, DEAR.get(method, calls))


def measured(method: str, dim: int, name: str, calls: int, seeds: int) -> dict[str, Any]:
    """Run a method and best-of-N over the seeds."""
    found: dict[str, list[float]] = {"best": [], "plausibility": [], "random": []}
    try:
        for seed in range(seeds):
            best = run(method, dim, name, calls, seed).best
            found["best"].append(best.score)
            found["plausibility"].append(best.plausibility)
            found["random"].append(best_of_n(dim, name, calls, seed))
    except CapabilityError as error:
        return {"best": None, "reason": str(error).splitlines()[0]}
    mean = {key: sum(values) / len(values) for key, values in found.items()}
    return mean | {"plausibility": min(found["plausibility"])}


def run(method: str, dim: int, name: str, calls: int, seed: int) -> zmax.Result:
    """Return the result of one run."""
    generator = zmax.generator(torch.nn.Identity(), shape=(dim,), modality="vector")
    judge = zmax.score(score(name, dim, seed), differentiable=True)
    return zmax.maximize(generator, judge, method, calls, seed=seed, progress=False)


@functools.lru_cache(maxsize=10_000)
def best_of_n(dim: int, name: str, calls: int, seed: int) -> float:
    """Return the best score of so many prior draws, held by the guard as all points are."""
    return run("random", dim, name, calls, seed).best.score


def score(name: str, dim: int, seed: int) -> Score:
    """Return one of the scores."""
    rng = stream(seed, "guards", name, dim)
    if name == "mixture":
        centres = torch.randn(8, dim, generator=rng, device="cpu")
        return lambda u: torch.logsumexp(-2 * torch.cdist(u, centres.to(u)).square(), 1)
    way = torch.randn(dim, generator=rng, device="cpu")
    way = way / way.norm()
    if name == "linear":
        return lambda u: u @ way.to(u)
    low, high = shell(dim, 0.5)
    far = {"inside": (low + high) / 2, "edge": high, "on": dim**0.5 if dim >= 10 else 0.75 * high}[name]
    return lambda u: -(u - far * way.to(u)).square().sum(1)


def table(rows: list[dict[str, Any]]) -> str:
    """Return the table: by method and dimension, each score's mean less that of best-of-N, and the plausibility."""
    cells: list[list[object]] = [["method", "d", *SCORES, "least plausibility"]]
    for method in dict.fromkeys(row["method"] for row in rows):
        for dim in DIMS:
            own = {row["score"]: row for row in rows if row["method"] == method and row["dim"] == dim}
            done = [row for row in own.values() if row["best"] is not None]
            if done:
                least = min(row["plausibility"] for row in done)
                cells.append([method, dim, *(gain(own.get(name)) for name in SCORES), f"{least:.2f}"])
    return markdown(cells)


def gain(row: dict[str, Any] | None) -> str:
    """Return what a method gains over best-of-N."""
    if row is None or row["best"] is None:
        return ""
    better = row["best"] - row["random"]
    return f"{better:+.2g}" if abs(better) > 1e-9 else "0"


if __name__ == "__main__":
    main()
