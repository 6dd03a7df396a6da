"""Steering the path of diffusion models: exact laws, maximisers known in closed form, and avatars-flow.

`python -m benchmarks.steering` writes `results/steering.json` and the tables of `docs/steering.md`, in an hour
on one core; with names of parts (grid, roll, ring, flow, half, quarter, eighth) or methods it runs those and keeps the
other rows. Every method, any registered one, runs with its defaults; seeds from 9000 on served to choose them.
"""

from __future__ import annotations

import inspect
import json
import math
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

import zmax
from benchmarks import steering_flow as flow
from benchmarks.pages import fill, interval, markdown
from benchmarks.steering_flow import BUDGETS, Row, costs, on_flow
from zmax.core.methods import registry
from zmax.core.rng import stream
from zmax.core.strategy import Need, Population
from zmax.kit.weights import systematic
from zmax.testing import gaussian_mixture, point_cloud, quadratic_score, ring, swiss_roll
from zmax.testing.driver import drive

HERE = Path(__file__).parent
RESULT = HERE / "results" / "steering.json"
PAGE = HERE.parent / "docs" / "steering.md"

STEPS, PARTICLES, PASSES, SEEDS, SUBSET = 100, 100, 5, 10, 500
RING_STEPS, RING_NFE, RING_SEEDS = 100, 10_000, 5
LAWS = ("fk", "tds", "das", "svdd", "dps", "freedom", "mpgd", "lgdmc")
CLIMBERS = ("fk", "das", "svdd", "dps", "mpgd", "freedom", "tfg", "paths", "noises")
SEARCHES = ("random", "snes", "gradient", "halving")


def earth_mover(a: Tensor, b: Tensor) -> float:
    """Return the mean distance of the best one-to-one matching of two equally large sets."""
    cost = torch.cdist(a.double(), b.double())
    rows, columns = linear_sum_assignment(cost.numpy())
    return float(cost[rows, columns].mean())


def drawn(name: str, generator: zmax.Generator, score: zmax.Score, seed: int) -> Population:
    """Run one method for the NFE of five passes of 100 particles, and return its population."""
    kind: Any = registry.load(name)
    options = {name: argument.default for name, argument in inspect.signature(kind).parameters.items()}
    size = next(key for key in ("particles", "batch", "rows") if key in options)
    strategy = kind(temperature=1.0, **{size: PARTICLES // options.get("children", 1)})
    population: Population | None = strategy.draws(drive(strategy, generator, score, PASSES * STEPS, seed).state)
    assert population is not None
    return population


def picked(population: Population, generator: Any, n: int, seed: int) -> Tensor:
    """Return n samples of a weighted population."""
    rows = systematic(population.log_weight, n, stream(seed, "pick"))
    x: Tensor = generator.decode(generator.space.latents(population.u))[rows]
    return x


def grid(name: str) -> Row:
    """Return how far a method's samples are from the exact tilted law of nine modes, and its estimate of log Z."""
    centres = [[x, y] for x in (-4.0, 0.0, 4.0) for y in (-4.0, 0.0, 4.0)]
    law = gaussian_mixture(centres, [(0.3 * torch.eye(2)).tolist()] * 9, [1 / 9] * 9)
    score = quadratic_score([[0.02, 0.0], [0.0, 2.0]], [0.0, 0.0])
    tilted, generator = law.tilt(score), law.generator(steps=STEPS, eta=1.0)
    distances, evidence = [], []
    for seed in range(SEEDS):
        target = tilted.sample(SUBSET, stream(seed, "target"))
        if name == "target":
            distances.append(earth_mover(tilted.sample(SUBSET, stream(seed, "again")), target))
            continue
        population = drawn(name, generator, score, seed)
        distances.append(earth_mover(picked(population, generator, SUBSET, seed), target))
        evidence += [] if population.log_z is None else [float(population.log_z)]
    row = {"emd": distances, "log_z": evidence, "exact": tilted.log_z}
    if name == "target":
        x = generator.decode(generator.space.latents(generator.space.sample(200_000, stream(0, "plain"))))
        row["plain"] = float(score(x).logsumexp(0)) - math.log(len(x))
    return row


def roll(name: str) -> Row:
    """Return the mean reward of a method's samples on the Swiss roll, and that of the exact tilted law."""
    law = point_cloud(swiss_roll(10_000, stream(0, "roll")), 0.0)
    score = zmax.score(lambda x: -x[:, 0].square() / 100 - x[:, 1].square() / 100 - x[:, 2].square(), name="roll")
    score.differentiable = True
    exact = law.tilt(score)
    generator = law.generator(steps=STEPS, eta=1.0)
    rewards = []
    for seed in range(3):
        if name == "target":
            rewards.append(float(score(exact.sample(SUBSET, stream(seed, "target"))).mean()))
            continue
        population = drawn(name, generator, score, seed)
        rewards.append(float(score(picked(population, generator, SUBSET, seed)).mean()))
    return {"reward": rewards, "exact": float(exact.weights @ score(exact.points))}


def ring_score(x: Tensor) -> Tensor:
    """Return sin 4 pi x + sin 4 pi y - ((x - 1)^2 - y^2) / 5."""
    return (4 * math.pi * x).sin().sum(1) - ((x[:, 0] - 1).square() - x[:, 1].square()) / 5


def on_ring(name: str) -> Row:
    """Return the best score of a method at the NFE of best-of-100 on the ring."""
    law = point_cloud(ring(2000, stream(0, "ring")), 0.0)
    score = zmax.score(ring_score, name="ring", differentiable=True)
    black = zmax.score(ring_score, name="ring", differentiable=False)
    kind = registry.load(name)
    generator = law.generator(steps=RING_STEPS, eta=1.0)
    runs = [
        zmax.maximize(generator, score if Need.GRADIENT in kind.needs else black, name, zmax.Budget(nfe=RING_NFE), seed)
        for seed in range(RING_SEEDS)
    ]
    return {"best": [r.best.score for r in runs], **costs(runs)}


PARTS: dict[str, tuple[Callable[[str], Row], tuple[str, ...]]] = {
    "grid": (grid, ("target", *LAWS)),
    "roll": (roll, ("target", *LAWS)),
    "ring": (on_ring, (*SEARCHES, *CLIMBERS)),
    "flow": (partial(on_flow, nfe=BUDGETS["flow"]), (*flow.SEARCHES, *flow.PARTICLES, *flow.GRADED, *flow.VARIANTS)),
    **{part: (partial(on_flow, nfe=nfe), flow.CURVES) for part, nfe in BUDGETS.items() if part != "flow"},
}


def tables(rows: dict[str, dict[str, Row]]) -> dict[str, str]:
    """Return one Markdown table a part."""
    plain = rows["grid"].get("target", {}).get("plain", math.nan)
    lines = {
        "grid": [["method", "earth mover's distance", f"log Z (of the sampler {plain:.3f})"]],
        "roll": [["method", "mean reward", "exact"]],
        "ring": [["method", "best score", "NFE", "of them backward too", "score calls"]],
        **{part: flow.lines(rows[part]) for part in flow.TABLED},
    }
    for name, r in rows["grid"].items():
        lines["grid"].append([name, interval(r["emd"]), interval(r["log_z"]) or f"{r['exact']:.3f} exact"])
    for name, r in rows["roll"].items():
        lines["roll"].append([name, interval(r["reward"]), f"{r['exact']:.3f}"])
    for name, r in sorted(rows["ring"].items(), key=lambda item: -mean(item[1]["best"])):
        lines["ring"].append(
            [name, interval(r["best"]), *(f"{mean(r[k]):.0f}" for k in ("nfe", "nfe_backward", "score_calls"))]
        )
    return {part: markdown(cells) for part, cells in lines.items()}


def chosen(asked: list[str]) -> list[tuple[str, str]]:
    """Return the parts and methods to run: those asked for, in any part asked for, or else where they are listed."""
    parts, names = [p for p in PARTS if p in asked], [a for a in asked if a not in PARTS]
    pairs = [(p, n) for p in parts or PARTS for n in (names if parts and names else PARTS[p][1])]
    pairs = [(p, n) for p, n in pairs if n == "target" or (n in registry or (p in BUDGETS and flow.known(n)))]
    lost = set(names) - {n for _, n in pairs}
    if lost:
        raise SystemExit(f"no part of {', '.join(parts or PARTS)} has {', '.join(sorted(lost))}")
    return [(p, n) for p, n in pairs if not names or n in names]


def main() -> None:
    """Run, write the figures, and put the tables into the docs."""
    torch.set_num_threads(1)
    old = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    rows: dict[str, dict[str, Row]] = {part: dict(old.get(part, {})) for part in PARTS}
    for part, name in chosen(sys.argv[1:]):
        rows[part][name] = PARTS[part][0](name)
        print(part, name, rows[part][name], flush=True)
        _write({p: _ordered(by, PARTS[p][1]) for p, by in rows.items()})


def _ordered(by: dict[str, Row], names: tuple[str, ...]) -> dict[str, Row]:
    return {n: by[n] for n in dict.fromkeys((*names, *by)) if n in by}


def _write(rows: dict[str, dict[str, Row]]) -> None:
    RESULT.write_text(json.dumps(rows, indent=1) + "\n")
    fill(PAGE, tables(rows))


if __name__ == "__main__":
    main()
