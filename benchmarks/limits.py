"""Constraints and bounds, against optima that are known and against peers.

    python -m benchmarks.limits                                   # all: an hour or two on one core
    python -m benchmarks.limits --methods cma --seeds 1 --calls 500   # a quick look

Constraints: five problems whose best feasible sample is known, at feasible shares of 50, 10 and 1 %, on samples and on
latents. A figure is the share of the way from the median feasible draw to that optimum that is left, over the seeds:
median, and worst. Peers are shown S(R(u)) and c(R(u)), R being the retraction that every method has: `pycma` is
fmin_con, `optuna` TPE with constraints; each has as many evaluations, and its best feasible one counts.

Bounds: the sum of 8 and of 30 uniform coordinates, as a share of what is there.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import zmax
from benchmarks.pages import fill, markdown
from zmax.core.errors import CapabilityError
from zmax.core.priors import EDGE
from zmax.core.rng import stream
from zmax.core.space import Space

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "limits.json"
PAGE = ROOT / "docs" / "constraints.md"
METHODS = ("auto", "gradient", "cma", "snes", "es", "trust", "turbo", "surrogate", "sphere", "random")
PEERS = ("pycma", "optuna")
BOUNDED = ("gradient", "cma", "snes", "es", "trust", "turbo", "sphere", "sphere-cma", "lbfgs", "spsa", "surrogate")
NONE = 1e6
"""What is left where no feasible sample was found."""
DRAWS = 200_000

Slack = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Problem:
    """A score of samples that are the latents, and constraints of known optimum.

    Attributes:
        prior: of the latents.
        dim: their number.
        value: S.
        slacks: constraints, met where not negative.
        best: S of the best feasible sample.
        latents: whether constraints are on latents.
    """

    prior: str
    dim: int
    value: Slack
    slacks: tuple[Slack, ...]
    best: float
    latents: bool

    def generator(self) -> zmax.Generator:
        """Return G."""
        return zmax.generator(torch.nn.Identity(), shape=(self.dim,), prior=self.prior, modality="vector")

    def score(self) -> zmax.Score:
        """Return S with its constraints."""
        judges = [zmax.score(c, name=f"slack {i}", latents=self.latents) for i, c in enumerate(self.slacks)]
        return zmax.score(self.value, name="S").where(*(judge >= 0 for judge in judges))


@lru_cache(maxsize=16)
def problem(name: str) -> Problem:
    """Return the problem of that name.

    Of S = -|z - a|^2 the best point that meets linear constraints is a projection; so it is for a cone about b, and
    the sum of coordinates in a ball of radius r is largest where all are equal.
    """
    b, c, w = torch.linalg.qr(torch.randn(16, 3, generator=stream(0, "limits"), dtype=torch.float64))[0].T.float()
    if name == "sum in a ball, 10 %":
        square = Space.of((8,), "uniform").latents(_draws(8))
        assert isinstance(square, Tensor)
        r = float(square.square().sum(1).quantile(0.1))
        return Problem("uniform", 8, lambda x: x.sum(1), (lambda x: r - x.square().sum(1),), math.sqrt(8 * r), False)
    if name == "cone, 1 %":
        cosine = float((_draws(16) @ b / _draws(16).norm(dim=1)).quantile(0.99))
        a = -1.0 * b + 5.0 * w
        best = (float(a @ b) * cosine + 5.0 * math.sqrt(1 - cosine**2)) ** 2 - float(a @ a)
        return Problem("normal", 16, _near(a), (lambda z: z @ b / z.norm(dim=1) - cosine,), best, True)
    if name == "two planes, 10 %":
        t = 0.4785
        a = -b - c + 3.5 * w
        return Problem("normal", 16, _near(a), (lambda z: z @ b - t, lambda z: z @ c - t), -2 * (1 + t) ** 2, True)
    t = {"plane, 50 %": 0.0, "plane, 1 %": 2.326}[name]
    return Problem("normal", 16, _near(-2 * b + 3.6 * w), (lambda x: x @ b - t,), -((2 + t) ** 2), False)


NAMES = ("plane, 50 %", "sum in a ball, 10 %", "two planes, 10 %", "plane, 1 %", "cone, 1 %")


def main() -> None:
    """Run what is asked for, add it to the results, and rebuild the tables."""
    options = arguments()
    torch.set_num_threads(1)
    known = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    start = time.monotonic()
    cells = [("constraint", n, m, options.calls) for n in options.problems for m in options.methods]
    cells += [("bound", f"sum of {d}", m, c) for d, c in ((8, 500), (30, 1000)) for m in options.bounded]
    for kind, name, method, calls in cells:
        key = {"kind": kind, "problem": name, "method": method, "calls": calls}
        if any(key.items() <= row.items() and row["seeds"] >= options.seeds for row in known):
            continue
        try:
            found = [left(kind, name, method, calls, seed) for seed in range(options.seeds)]
            row = key | {"seeds": options.seeds, "median": statistics.median(found), "worst": max(found)}
        except (CapabilityError, ImportError) as error:
            row = key | {"seeds": options.seeds, "median": None, "reason": str(error).splitlines()[0]}
        known = [old for old in known if not key.items() <= old.items()] + [row]
        RESULTS.write_text("[\n" + ",\n".join(map(json.dumps, known)) + "\n]\n")
        print(f"{time.monotonic() - start:6.0f} s  {row}", flush=True)
    if PAGE.exists():
        fill(PAGE, {"constraints": table(known, "constraint"), "bounds": table(known, "bound")})


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.limits")
    parser.add_argument("--problems", nargs="*", choices=NAMES, default=NAMES)
    parser.add_argument("--methods", nargs="*", default=(*METHODS, *PEERS))
    parser.add_argument("--bounded", nargs="*", default=BOUNDED)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--calls", type=int, default=1000)
    return parser.parse_args()


def left(kind: str, name: str, method: str, calls: int, seed: int) -> float:
    """Return the share that is left of what is there."""
    if kind == "bound":
        return bound_left(int(name.split()[-1]), method, calls, seed)
    task = problem(name)
    best = PEER[method](task, calls, seed) if method in PEER else ours(task, method, calls, seed)
    return NONE if math.isinf(best) else (task.best - best) / (task.best - middle(name))


def ours(task: Problem, method: str, calls: int, seed: int) -> float:
    """Return the best feasible score of one of our methods."""
    best = zmax.maximize(task.generator(), task.score(), method, calls, seed=seed, progress=False).best
    return best.score if best.feasible else -math.inf


def bound_left(dim: int, method: str, calls: int, seed: int) -> float:
    """Return the share of the sum of uniform coordinates that a method leaves."""
    G = zmax.generator(torch.nn.Identity(), shape=(dim,), prior="uniform", modality="vector")
    return 1 - zmax.maximize(G, lambda x: x.sum(1), method, calls, seed=seed, progress=False).best.score / dim


@lru_cache(maxsize=16)
def middle(name: str) -> float:
    """Return the median score of feasible prior draws."""
    task = problem(name)
    z = task.generator().space.latents(_draws(task.dim))
    assert isinstance(z, Tensor)
    met = torch.stack([slack(z) for slack in task.slacks]).min(0).values >= 0
    return float(task.value(z[met]).median())


class Counted:
    """A problem as peers see it: f to be minimised and g to be at most 0, in whitened coordinates, so many calls."""

    def __init__(self, task: Problem, calls: int) -> None:
        """Begin with no call spent."""
        self.task, self.left, self.best = task, calls, -math.inf
        self.space = task.generator().space
        self._known: dict[bytes, tuple[float, list[float]]] = {}

    def both(self, point: Any) -> tuple[float, list[float]]:
        """Return f and g of a point, each point counted once."""
        u = torch.as_tensor(point, dtype=torch.float32)[None]
        key = u.numpy().tobytes()
        if key not in self._known:
            if not self.left:
                raise StopIteration
            self.left -= 1
            z = self.space.latents(self.space.retract(u, EDGE))
            assert isinstance(z, Tensor)
            value, slack = float(self.task.value(z)), [float(c(z)) for c in self.task.slacks]
            self._known[key] = -value, [-s for s in slack]
            self.best = max(self.best, value) if min(slack) >= 0 else self.best
        return self._known[key]


def pycma(task: Problem, calls: int, seed: int) -> float:
    """Return the best feasible score of pycma's augmented Lagrangian, from a prior draw, again whenever it stops."""
    import cma

    seen, rng = Counted(task, calls), stream(seed, "limits", "pycma")
    while seen.left:
        start = torch.randn(task.dim, generator=rng, device="cpu", dtype=torch.float64).numpy()
        options = {"seed": int(torch.randint(1, 2**31, (), generator=rng)), "verbose": -9, "maxfevals": seen.left}
        try:
            cma.fmin_con(lambda u: seen.both(u)[0], start, 0.5, g=lambda u: seen.both(u)[1], options=options)
        except StopIteration:
            break
    return seen.best


def optuna(task: Problem, calls: int, seed: int) -> float:
    """Return the best feasible score of Optuna's TPE with constraints."""
    import optuna as peer

    seen = Counted(task, calls)
    peer.logging.set_verbosity(peer.logging.ERROR)
    sampler = peer.samplers.TPESampler(seed=seed, constraints_func=lambda trial: trial.user_attrs["g"])
    study = peer.create_study(sampler=sampler)

    def objective(trial: Any) -> float:
        f, g = seen.both([trial.suggest_float(f"u{i}", -4.0, 4.0) for i in range(task.dim)])
        trial.set_user_attr("g", g)
        return f

    study.optimize(objective, n_trials=calls)
    return seen.best


PEER = {"pycma": pycma, "optuna": optuna}


def table(rows: list[dict[str, Any]], kind: str) -> str:
    """Return the table of a kind: a row a method, a column a problem, what is left in per cent, median and worst."""
    own = [row for row in rows if row["kind"] == kind]
    columns = list(dict.fromkeys((row["problem"], row["calls"]) for row in own))
    cells: list[list[object]] = [["left, median (worst)", *(f"{name}, {calls:,} calls" for name, calls in columns)]]
    for method in dict.fromkeys(row["method"] for row in own):
        found = {(row["problem"], row["calls"]): row for row in own if row["method"] == method}
        cells.append([method, *(figure(found.get(column)) for column in columns)])
    return markdown(cells)


def figure(row: dict[str, Any] | None) -> str:
    """Return what is left as words."""
    if row is None or row["median"] is None:
        return ""
    words = ["none" if row[key] == NONE else f"{100 * row[key]:.2g} %" for key in ("median", "worst")]
    return f"{words[0]} ({words[1]})"


def _near(a: Tensor) -> Slack:
    return lambda x: -(x - a.to(x)).square().sum(1)


@lru_cache(maxsize=4)
def _draws(dim: int) -> Tensor:
    return torch.randn(DRAWS, dim, generator=stream(0, "limits", "draws", dim), device="cpu")


if __name__ == "__main__":
    main()
