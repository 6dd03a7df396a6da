"""Categories at equal calls, against mutation, pycma's integers and Optuna's TPE.

    python -m benchmarks.categories                                # all of it, about a quarter of an hour on one core
    python -m benchmarks.categories --methods casmopolitan --seeds 1   # a quick look

- `codes`: 32 codes of 6 values, decoded by a random network of two layers; S is minus the squared distance to what
  other codes make, relative to that of random codes (prior draws have -1 on average, the optimum is 0).
- `mixed`: 12 codes of 6 values beside 8 normal latents, decoded and scored likewise; the optimum is 0.
- `words`: a prompt of twelve words masked, each with 8 alternatives; S is the log-likelihood of the text under a table
  of pairs of neighbours, as a bigram model gives, less that of the likeliest text, in nats a word.

Figures are means over the seeds of the best of 300 calls, with 95 % intervals of the mean.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import zmax
from benchmarks.pages import fill, interval, markdown
from zmax.core.rng import stream

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "categories.json"
PAGE = ROOT / "docs" / "codes.md"
OURS = ("casmopolitan", "turbo", "cma", "snes", "random")
"""Of these `auto` chooses the first."""
CALLS, WIDTH = 300, 512


@dataclass(frozen=True)
class Problem:
    """A score of codes (n, sites) with k values each, and of normal latents (n, free).

    Attributes:
        sites: their number.
        k: values of each.
        free: number of normal latents.
        value: S.
    """

    sites: int
    k: int
    free: int
    value: Callable[[Tensor, Tensor], Tensor]

    def generator(self) -> zmax.Generator:
        """Return G, which shows the latents themselves: codes, then the normal ones."""
        code = zmax.Block("code", (self.sites,), zmax.Categorical(self.k, one_hot=False))
        if not self.free:
            return zmax.generator(lambda z: z.double(), space=zmax.Space((code,)), modality="vector")
        space = zmax.Space((code, zmax.Block("z", (self.free,))))
        return zmax.generator(lambda z: torch.cat([z["code"].double(), z["z"].double()], 1), space=space)

    def score(self, x: Tensor) -> Tensor:
        """Return S of what G shows."""
        return self.value(x[:, : self.sites].long(), x[:, self.sites :])


@lru_cache(maxsize=64)
def problem(name: str, seed: int) -> Problem:
    """Return the problem of that name, another one for each seed."""
    rng = stream(seed, "categories", name)
    if name == "words":
        table = torch.randn(12, 8, 8, generator=rng, dtype=torch.float64).mul(2).log_softmax(2)
        first = torch.randn(8, generator=rng, dtype=torch.float64).mul(2).log_softmax(0)

        def likely(codes: Tensor, _: Tensor) -> Tensor:
            steps = [table[i, codes[:, i - 1], codes[:, i]] for i in range(1, codes.shape[1])]
            return (first[codes[:, 0]] + torch.stack(steps).sum(0) - most) / codes.shape[1]

        ahead = first
        for i in range(1, 12):
            ahead = (ahead[:, None] + table[i]).max(0).values
        most = ahead.max()

        return Problem(12, 8, 0, likely)
    sites, k, free = (32, 6, 0) if name == "codes" else (12, 6, 8)
    book = torch.randn(sites, k, 8, generator=rng, dtype=torch.float64)
    push = torch.randn(free, WIDTH, generator=rng, dtype=torch.float64)
    layer = torch.randn(sites * 8, WIDTH, generator=rng, dtype=torch.float64) / (sites * 8) ** 0.5
    last = torch.randn(WIDTH, WIDTH, generator=rng, dtype=torch.float64) / WIDTH**0.5

    def decoded(codes: Tensor, z: Tensor) -> Tensor:
        words = torch.stack([book[i, codes[:, i]] for i in range(sites)], 1).flatten(1)
        return torch.tanh(words @ layer + z @ push / max(free, 1) ** 0.5) @ last

    one, many = (decoded(*random_latents(sites, k, free, n, rng)) for n in (1, 4096))
    usual = (many - one).square().sum(1).mean()
    return Problem(sites, k, free, lambda codes, z: -(decoded(codes, z) - one).square().sum(1) / usual)


def random_latents(sites: int, k: int, free: int, n: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw codes and normal latents."""
    codes = torch.randint(k, (n, sites), generator=rng, device="cpu")
    return codes, torch.randn(n, free, generator=rng, device="cpu", dtype=torch.float64)


def ours(task: Problem, method: str, calls: int, seed: int) -> float:
    """Return the best score of one of our methods."""
    score = zmax.score(task.score, name="S", differentiable=False)
    return zmax.maximize(task.generator(), score, method, calls, seed=seed, progress=False).best.score


def mutation(task: Problem, calls: int, seed: int, heavy: bool = False) -> float:
    """Return the best of a (1+1) evolution: each code changed with probability 1/n, or many by a heavy-tailed rate."""
    rng = stream(seed, "categories", "mutation")
    codes, z = random_latents(task.sites, task.k, task.free, 1, rng)
    best = float(task.value(codes, z))
    rates = torch.arange(1, task.sites // 2 + 1, dtype=torch.float64) ** -1.5
    for _ in range(calls - 1):
        rate = 1 + int(torch.searchsorted(rates.cumsum(0) / rates.sum(), torch.rand(1, generator=rng))) if heavy else 1
        change = torch.rand(codes.shape, generator=rng) < rate / task.sites
        change[0, int(torch.randint(task.sites, (1,), generator=rng))] = True
        step = torch.randint(1, task.k, codes.shape, generator=rng, device="cpu")
        there = torch.where(change, (codes + step) % task.k, codes)
        moved = 0.95 * z + 0.31 * torch.randn(z.shape, generator=rng, dtype=torch.float64)
        value = float(task.value(there, moved))
        if value >= best:
            codes, z, best = there, moved, value
    return best


def fastga(task: Problem, calls: int, seed: int) -> float:
    """Return the best of the fast genetic algorithm of Doerr et al. 2017, https://arxiv.org/abs/1703.03334."""
    return mutation(task, calls, seed, heavy=True)


def pycma(task: Problem, calls: int, seed: int) -> float:
    """Return the best of pycma with `integer_variables`, from the middle, again whenever it stops."""
    import cma

    best, used = -math.inf, 0
    start = [(task.k - 1) / 2] * task.sites + [0.0] * task.free
    low, high = [0] * task.sites + [None] * task.free, [task.k - 1] * task.sites + [None] * task.free
    while used < calls:
        options = {
            "integer_variables": list(range(task.sites)),
            "bounds": [low, high],
            "CMA_stds": [(task.k - 1) / 4] * task.sites + [1.0] * task.free,
            "seed": 1 + seed + used,
            "verbose": -9,
        }
        evolution = cma.CMAEvolutionStrategy(start, 1.0, options)
        while used < calls and not evolution.stop():
            points = evolution.ask()[: calls - used] if calls - used < evolution.popsize else evolution.ask()
            x = torch.tensor([list(map(float, point)) for point in points], dtype=torch.float64)
            codes = x[:, : task.sites].round().long().clamp(0, task.k - 1)
            values = task.value(codes, x[:, task.sites :])
            used, best = used + len(points), max(best, float(values.max()))
            if len(points) < evolution.popsize:
                break
            evolution.tell(points, (-values).tolist())
    return best


def optuna(task: Problem, calls: int, seed: int) -> float:
    """Return the best of Optuna's TPE with categorical variables."""
    import optuna as peer

    peer.logging.set_verbosity(peer.logging.ERROR)
    study = peer.create_study(direction="maximize", sampler=peer.samplers.TPESampler(seed=seed))

    def objective(trial: Any) -> float:
        codes = [trial.suggest_categorical(f"c{i}", list(range(task.k))) for i in range(task.sites)]
        z = [trial.suggest_float(f"z{i}", -4.0, 4.0) for i in range(task.free)]
        return float(task.value(torch.tensor([codes]), torch.tensor([z], dtype=torch.float64)))

    study.optimize(objective, n_trials=calls)
    return float(study.best_value)


PEERS: dict[str, Callable[[Problem, int, int], float]] = {
    "mutation": mutation,
    "fastga": fastga,
    "pycma": pycma,
    "optuna": optuna,
}
NAMES = ("codes", "mixed", "words")
FIRST = 100


def main() -> None:
    """Run what is asked for, add it to the results, and rebuild the table."""
    options = arguments()
    torch.set_num_threads(1)
    rows = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    for name in options.problems:
        for method in options.methods:
            began = time.monotonic()
            seeds = range(options.first, options.first + options.seeds)
            bests = [best(name, method, options.calls, seed) for seed in seeds]
            row = {"problem": name, "method": method, "calls": options.calls, "best": bests}
            row["seconds"] = (time.monotonic() - began) / len(bests)
            print(name, method, interval(bests), f"{row['seconds']:.1f} s", flush=True)
            rows = [r for r in rows if (r["problem"], r["method"], r["calls"]) != (name, method, options.calls)] + [row]
            if not options.dry:
                RESULTS.write_text("[\n" + ",\n".join(map(json.dumps, rows)) + "\n]\n")
    if PAGE.exists() and not options.dry:
        fill(PAGE, {"categories": table(rows)})


def best(name: str, method: str, calls: int, seed: int) -> float:
    """Return the best score of a method on a problem."""
    task = problem(name, seed)
    return PEERS[method](task, calls, seed) if method in PEERS else ours(task, method, calls, seed)


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.categories")
    parser.add_argument("--problems", nargs="*", choices=NAMES, default=NAMES)
    parser.add_argument("--methods", nargs="*", default=(*OURS, *PEERS))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first", type=int, default=FIRST, help="of the seeds; settings were chosen on those from 0")
    parser.add_argument("--calls", type=int, default=CALLS)
    parser.add_argument("--dry", action="store_true", help="write nothing")
    return parser.parse_args()


def table(rows: list[dict[str, Any]]) -> str:
    """Return the table: a row a method, a column a problem, mean and interval."""
    cells: list[list[object]] = [["best of 300 calls", *NAMES]]
    for method in dict.fromkeys(row["method"] for row in rows):
        found = {row["problem"]: row for row in rows if row["method"] == method and row["calls"] == CALLS}
        cells.append([method, *(interval(found[name]["best"]) if name in found else "" for name in NAMES)])
    return markdown(cells)


if __name__ == "__main__":
    main()
