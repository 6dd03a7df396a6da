"""The 24 noiseless functions of BBOB under a normal prior: our evolution beside pycma, with the guard and without.

    python -m benchmarks.bbob --dims 10 40 --instances 1 2 3 --calls 20000

Functions come from `ioh`. Without the guard x = 2.5 u, so that the prior covers the box [-5, 5]^d in which optima lie.
With it x = x_opt + 2.5 (u - u_opt), u_opt being a random point with |u_opt| = sqrt(d), and every method sees S(R(u)), R
being the retraction to the typical shell. A method's figure is the share of the 51 targets f_opt + 10^2 to
f_opt + 10^-8 that it reaches, over functions and instances. pycma starts from a prior draw, as ours does, and again
whenever one of its own rules stops it; it is run at each of several first steps.

Reference: Hansen et al. 2021, *COCO: a platform for comparing continuous optimizers in a black-box setting*,
https://arxiv.org/abs/1603.08785.
"""

from __future__ import annotations

import argparse
import json
import math
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

import zmax
from benchmarks.pages import fill, markdown
from zmax.core.rng import stream

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "guards.md"
TARGETS = np.logspace(2, -8, 51)
SPREAD = 2.5
Loss = Callable[[np.ndarray], float]


def main() -> None:
    """Run every method on every problem, and keep the losses."""
    options = arguments()
    torch.set_num_threads(1)
    rows, start = [], time.monotonic()
    for dim, guarded, function, instance in problems(options):
        for method in options.methods:
            loss = run(method, problem(function, instance, dim, guarded), dim, guarded, options.calls, instance)
            rows.append([dim, guarded, function, instance, method, loss])
        if instance == options.instances[-1]:
            print(f"{time.monotonic() - start:6.0f} s  d = {dim}  f{function}", flush=True)
    result = {"calls": options.calls, "instances": options.instances, "share": shares(rows), "rows": rows}
    options.out.write_text(json.dumps(result) + "\n")
    fill(PAGE, {"bbob": table(result)})


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bbob")
    parser.add_argument("--dims", nargs="+", type=int, default=[10, 40])
    parser.add_argument("--instances", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--functions", nargs="+", type=int, default=list(range(1, 25)))
    parser.add_argument("--guarded", nargs="+", type=int, default=[0, 1])
    parser.add_argument("--calls", type=int, default=20_000)
    parser.add_argument("--methods", nargs="+", default=["cma", "pycma:0.3", "pycma:1"])
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "bbob.json")
    return parser.parse_args()


def problems(options: argparse.Namespace) -> Iterator[tuple[int, bool, int, int]]:
    """Return dimension, guard, function and instance of each problem."""
    for dim in options.dims:
        for guarded in map(bool, options.guarded):
            for function in options.functions:
                for instance in options.instances:
                    yield dim, guarded, function, instance


def problem(function: int, instance: int, dim: int, guarded: bool) -> Loss:
    """Return f - f_opt as a function of whitened coordinates."""
    import ioh

    f = ioh.get_problem(function, instance, dim, ioh.ProblemClass.BBOB)
    centre, shift = np.array(f.optimum.x), np.zeros(dim)
    if guarded:
        turn = torch.randn(dim, generator=stream(instance, "optimum", function), dtype=torch.float64, device="cpu")
        shift = centre - SPREAD * (turn / turn.norm()).numpy() * math.sqrt(dim)
    best = f.optimum.y
    return lambda u: float(f((shift + SPREAD * u).tolist())) - best


def run(method: str, loss: Loss, dim: int, guarded: bool, calls: int, seed: int) -> float:
    """Return the least loss that a method finds."""
    name, _, setting = method.partition(":")
    if name == "pycma":
        return pycma(loss, dim, guarded, calls, seed, float(setting))
    found = [math.inf]

    def score(x: torch.Tensor) -> torch.Tensor:
        losses = [loss(row) for row in x.double().numpy()]
        found[0] = min(found[0], *losses)
        return -torch.tensor(losses, dtype=torch.float64)

    generator = zmax.generator(torch.nn.Identity(), shape=(dim,), modality="vector", differentiable=False)
    guard = "retract" if guarded else "report"
    params: dict[str, Any] = {"step": float(setting)} if setting else {}
    judge = zmax.score(score, differentiable=False)
    zmax.maximize(
        generator, judge, name, budget=calls, seed=seed, guard=guard, params=params, progress=False, batch_size=4096
    )
    return found[0]


def pycma(loss: Loss, dim: int, guarded: bool, calls: int, seed: int, step: float) -> float:
    """Run pycma from prior draws, again whenever it stops by itself."""
    import cma

    space, rng, spent, best = zmax.Space.of((dim,)), stream(seed, "pycma"), 0, math.inf
    while spent < calls:
        start = space.sample(1, rng)[0].double().numpy()
        options = {"seed": seed * 1000 + spent + 1, "verbose": -9, "verb_log": 0}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            search = cma.CMAEvolutionStrategy(start, step, options)
            while not search.stop() and spent < calls:
                points = search.ask()[: calls - spent]
                u = torch.tensor(np.array(points))
                losses = [loss(row) for row in (space.retract(u) if guarded else u).numpy()]
                spent, best = spent + len(losses), min(best, *losses)
                if len(losses) == search.popsize:
                    search.tell(points, losses)
    return best


def shares(rows: list[list[Any]]) -> dict[str, float]:
    """Return the share of targets that each method reaches, by dimension and guard."""
    groups: dict[str, list[float]] = {}
    for dim, guarded, _, _, method, loss in rows:
        key = f"d = {dim}, {'guarded' if guarded else 'unguarded'}, {method}"
        groups.setdefault(key, []).append(float((loss <= TARGETS).mean()))
    return {key: sum(values) / len(values) for key, values in groups.items()}


def table(result: dict[str, Any]) -> str:
    """Return the table of shares, a row for each dimension and guard."""
    cells: dict[str, dict[str, str]] = {}
    for key, share in result["share"].items():
        place, _, method = key.rpartition(", ")
        cells.setdefault(place, {})[method] = f"{100 * share:.1f} %"
    methods = list(next(iter(cells.values())))
    rows = [[place, *(row[method] for method in methods)] for place, row in cells.items()]
    return markdown([[f"{result['calls']:,} calls", *methods], *rows])


if __name__ == "__main__":
    main()
