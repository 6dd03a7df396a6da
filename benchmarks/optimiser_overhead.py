"""What an optimiser itself costs: time of ask and tell per score call, ours beside the peers, in one run.

    python -m benchmarks.optimiser_overhead

One thread, population 40, a separable quadratic whose own cost is not counted. The figure is the median over
generations, the first left out, in processor time, which neighbours on the same machine disturb least, and in
wall-clock time; methods take turns, generation by generation, so that all meet the same machine. A method that has used
its share of time stops there; full covariances are tried up to d = 512, nevergrad at d = 64.
"""

from __future__ import annotations

import json
import logging
import time
import warnings
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.pages import fill
from zmax.core.proposal import Evaluation
from zmax.core.rng import stream
from zmax.core.space import Space
from zmax.core.strategy import Strategy
from zmax.search import CMA, SNES, Random, SphereCMA

ROOT = Path(__file__).parent
RESULT = ROOT / "results" / "optimiser_overhead.json"
PAGE = ROOT.parent / "docs" / "benchmarks.md"
END = "<!-- optimiser overhead end -->"
DIMENSIONS = (64, 512, 16_384, 100_000)
LIMITS = {64: 0.03, 512: 0.04, 16_384: 0.4, 100_000: 1.2}
POPULATION, GENERATIONS, SECONDS = 40, 31, 2.0
SMALL, FULL, MOST = 64, 512, 100_000
PEERS = ("cmaes", "evotorch", "cma", "nevergrad")
Clock = np.ndarray[Any, np.dtype[np.float64]]
Generation = Callable[[], Clock]
"""Runs one generation and returns the seconds spent in the optimiser, by processor and by wall clock."""


def now() -> Clock:
    """Return processor and wall-clock seconds."""
    return np.array([time.process_time(), time.perf_counter()])


def ours(method: Strategy[Any], d: int) -> Generation:
    """Return generations of a method of zmax."""
    state = [method.init(Space.of((d,)), stream(0, "overhead"))]
    ok, ids = torch.ones(POPULATION, dtype=torch.bool), range(POPULATION)

    def generation() -> Clock:
        start = now()
        u = method.ask(state[0]).u  # type: ignore[union-attr]
        asked = now()
        evaluation = Evaluation(-u.square().sum(1), ok, torch.ones(POPULATION), ids)
        scored = now()
        state[0] = method.tell(state[0], evaluation)
        return asked - start + now() - scored

    return generation


def cmaes_peer(kind: str) -> Callable[[int], Generation]:
    """Return generations of `cmaes` (numpy, one point at a time)."""

    def make(d: int) -> Generation:
        import cmaes

        optimiser = getattr(cmaes, kind)(mean=np.zeros(d), sigma=1.0, population_size=POPULATION, seed=0)

        def generation() -> Clock:
            start = now()
            points = [optimiser.ask() for _ in range(POPULATION)]
            asked = now()
            told = [(x, float(x @ x)) for x in points]
            scored = now()
            optimiser.tell(told)
            return asked - start + now() - scored

        return generation

    return make


def evotorch_peer(kind: str) -> Callable[[int], Generation]:
    """Return generations of `evotorch`; its step contains the evaluation, whose time is taken off."""

    def make(d: int) -> Generation:
        from evotorch import Problem, algorithms

        spent = [np.zeros(2)]

        def loss(x: torch.Tensor) -> torch.Tensor:
            start = now()
            value = x.square().sum(1)
            spent[0] = spent[0] + now() - start
            return value

        problem = Problem("min", loss, solution_length=d, initial_bounds=(-1, 1), vectorized=True, seed=0)
        rates = {"center_learning_rate": 0.1, "stdev_learning_rate": 0.1} if kind == "PGPE" else {}
        optimiser = getattr(algorithms, kind)(problem, popsize=POPULATION, stdev_init=1.0, **rates)

        def generation() -> Clock:
            spent[0] = np.zeros(2)
            start = now()
            optimiser.step()
            return now() - start - spent[0]

        return generation

    return make


def pycma_peer(d: int) -> Generation:
    """Return generations of `cma` with a diagonal covariance."""
    import cma

    options = {"CMA_diagonal": True, "popsize": POPULATION, "seed": 1, "verbose": -9}
    optimiser = cma.CMAEvolutionStrategy(np.zeros(d), 1.0, options)

    def generation() -> Clock:
        start = now()
        points = optimiser.ask()
        asked = now()
        values = [float(x @ x) for x in points]
        scored = now()
        optimiser.tell(points, values)
        return asked - start + now() - scored

    return generation


def nevergrad_peer(d: int) -> Generation:
    """Return generations of `nevergrad`'s CMA-ES with a diagonal covariance."""
    import nevergrad

    parameters = nevergrad.p.Array(shape=(d,))
    optimiser = nevergrad.families.ParametrizedCMA(diagonal=True, popsize=POPULATION)(parameters, budget=10**6)

    def generation() -> Clock:
        start = now()
        points = [optimiser.ask() for _ in range(POPULATION)]
        asked = now()
        values = [float(point.value @ point.value) for point in points]
        scored = now()
        for point, value in zip(points, values, strict=True):
            optimiser.tell(point, value)
        return asked - start + now() - scored

    return generation


MAKERS: dict[str, tuple[int, Callable[[int], Generation]]] = {
    "zmax random": (MOST, lambda d: ours(Random(batch=POPULATION), d)),
    "zmax snes": (MOST, lambda d: ours(SNES(population=POPULATION), d)),
    "zmax sphere-cma": (MOST, lambda d: ours(SphereCMA(population=POPULATION), d)),
    "zmax cma": (FULL, lambda d: ours(CMA(population=POPULATION), d)),
    "cmaes SepCMA": (MOST, cmaes_peer("SepCMA")),
    "cmaes CMA": (FULL, cmaes_peer("CMA")),
    "evotorch SNES": (MOST, evotorch_peer("SNES")),
    "evotorch PGPE": (MOST, evotorch_peer("PGPE")),
    "pycma, diagonal": (FULL, pycma_peer),
    "nevergrad CMA, diagonal": (SMALL, nevergrad_peer),
}
"""By name: the largest dimension it is tried at, and what makes its generations."""


def measured(d: int) -> dict[str, list[float]]:
    """Return milliseconds per score call of each method at dimension d, processor and wall clock."""
    running = {name: make(d) for name, (most, make) in MAKERS.items() if d <= most}
    times: dict[str, list[Clock]] = {name: [] for name in running}
    for _ in range(GENERATIONS):
        for name, generation in running.items():
            if len(times[name]) < 3 or sum(seconds[1] for seconds in times[name]) < SECONDS:
                times[name].append(generation())
    return {name: (1e3 * np.median(seconds[1:], axis=0) / POPULATION).tolist() for name, seconds in times.items()}


def table(figures: dict[int, dict[str, list[float]]]) -> str:
    """Return the figures as a table of the documentation."""
    lines = ["| processor ms per score call | " + " | ".join(f"d = {d:,}" for d in DIMENSIONS) + " |"]
    lines.append("|---" * (len(DIMENSIONS) + 1) + "|")
    lines.append("| limit | " + " | ".join(f"{LIMITS[d]:g}" for d in DIMENSIONS) + " |")
    for name in MAKERS:
        cells = (f"{figures[d][name][0]:.3f}" if name in figures[d] else "" for d in DIMENSIONS)
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Measure, print and write the figures."""
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    figures: dict[int, dict[str, list[float]]] = {}
    for d in DIMENSIONS:
        figures[d] = measured(d)
    head = {"population": POPULATION, "torch": torch.__version__, "peers": {name: version(name) for name in PEERS}}
    RESULT.write_text(
        json.dumps(head | {"limits": LIMITS, "milliseconds_processor_and_wall": figures}, indent=1) + "\n"
    )
    fill(PAGE, {"optimiser overhead": table(figures)}, END)
    print(table(figures))


if __name__ == "__main__":
    main()
