"""Steering the path of diffusion models: exact laws, maximisers known in closed form, and avatars-flow.

`python -m benchmarks.steering` writes `results/steering.json` and the tables of `docs/steering.md`, in half an hour
on one core; with names of parts (grid, roll, ring, flow, quarter) or methods it runs those and keeps the other rows.
Every method runs with its defaults; seeds from 9000 on served to choose them.
"""

from __future__ import annotations

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
from benchmarks.pages import fill, interval
from zmax.core.methods import methods
from zmax.core.rng import stream
from zmax.core.strategy import Population
from zmax.guide.weights import systematic
from zmax.testing import gaussian_mixture, point_cloud, quadratic_score, ring, swiss_roll
from zmax.testing.driver import drive

HERE = Path(__file__).parent
RESULT = HERE / "results" / "steering.json"
PAGE = HERE.parent / "docs" / "steering.md"

STEPS, PARTICLES, PASSES, SEEDS, SUBSET = 100, 100, 5, 10, 500
RING_STEPS, RING_NFE, RING_SEEDS = 100, 10_000, 5
FLOW_STEPS, FLOW_NFE, FLOW_SEEDS = 20, 2000, 3
LAWS = ("fk", "tds", "das", "svdd", "dps", "freedom", "mpgd", "lgdmc")
CLIMBERS = ("fk", "das", "svdd", "dps", "mpgd", "freedom", "tfg", "paths", "noises", "trajectories")
SEARCHES = ("random", "snes", "gradient", "halving")

Row = dict[str, Any]


def earth_mover(a: Tensor, b: Tensor) -> float:
    """Return the mean distance of the best one-to-one matching of two equally large sets."""
    cost = torch.cdist(a.double(), b.double())
    rows, columns = linear_sum_assignment(cost.numpy())
    return float(cost[rows, columns].mean())


def drawn(name: str, generator: zmax.Generator, score: zmax.Score, seed: int) -> Population:
    """Run one method for the NFE of five passes of 100 particles, and return its population."""
    kind: Any = methods.load(name)
    options = kind.__init__.__kwdefaults__
    size = next(key for key in ("particles", "batch", "rows") if key in options)
    strategy = kind(temperature=1.0, **{size: PARTICLES // options.get("children", 1)})
    population = strategy.draws(drive(strategy, generator, score, PASSES * STEPS, seed).state)
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
    kind = methods.load(name)
    generator = law.generator(steps=RING_STEPS, eta=1.0)
    runs = [
        zmax.maximize(generator, score if kind.needs_grad else black, name, zmax.Budget(nfe=RING_NFE), seed)
        for seed in range(RING_SEEDS)
    ]
    return {"best": [r.best.score for r in runs], **_costs(runs)}


def on_flow(name: str, nfe: int = FLOW_NFE) -> Row:
    """Return best score, held-out score, plausibility and diversity on avatars-flow, by problem."""
    problems = {
        "attribute:glasses": "attribute-judge:glasses",
        "compressibility": None,
        "attribute:glasses + 20*brightness": "attribute-judge:glasses",
    }
    kind, row = methods.load(name), {}
    for s, judge in problems.items():
        score = zmax.load_score(s)
        if kind.needs_grad and not score.differentiable:
            continue
        generator = zmax.load_generator(f"avatars-flow:{FLOW_STEPS}")
        runs = [
            zmax.maximize(generator, score, name, zmax.Budget(nfe=nfe), seed, held_out=judge)
            for seed in range(FLOW_SEEDS)
        ]
        row[s] = {
            "best": [r.best.score for r in runs],
            "held_out": [r.best.held_out for r in runs],
            "plausibility": [r.best.plausibility for r in runs],
            "diversity": [_diversity(r) for r in runs],
            **_costs(runs),
        }
    return row


def _diversity(result: Any) -> float:
    top = torch.stack([e.sample for e in result.top(8)]).flatten(1)
    return float(torch.pdist(top).mean()) if len(top) > 1 else 0.0


def _costs(runs: list[Any]) -> dict[str, list[int]]:
    return {name: [getattr(r.ledger, name) for r in runs] for name in ("nfe", "nfe_backward", "score_calls")}


PARTS: dict[str, tuple[Callable[[str], Row], tuple[str, ...]]] = {
    "grid": (grid, ("target", *LAWS)),
    "roll": (roll, ("target", *LAWS)),
    "ring": (on_ring, (*SEARCHES, *CLIMBERS)),
    "flow": (on_flow, (*SEARCHES, *CLIMBERS)),
    "quarter": (partial(on_flow, nfe=FLOW_NFE // 4), ("das", "mpgd", "dps")),
}


def tables(rows: dict[str, dict[str, Row]]) -> dict[str, str]:
    """Return one Markdown table a part."""
    plain = rows["grid"].get("target", {}).get("plain", math.nan)
    lines = {
        "grid": [["method", "earth mover's distance", f"log Z (of the sampler {plain:.3f})"]],
        "roll": [["method", "mean reward", "exact"]],
        "ring": [["method", "best score", "NFE", "of them backward too", "score calls"]],
        **{
            part: [["score", "method", "best", "held-out", "plausibility", "diversity", "NFE", "backward"]]
            for part in FLOWS
        },
    }
    for name, r in rows["grid"].items():
        lines["grid"].append([name, interval(r["emd"]), interval(r["log_z"]) or f"{r['exact']:.3f} exact"])
    for name, r in rows["roll"].items():
        lines["roll"].append([name, interval(r["reward"]), f"{r['exact']:.3f}"])
    for name, r in sorted(rows["ring"].items(), key=lambda item: -mean(item[1]["best"])):
        lines["ring"].append([name, interval(r["best"]), *(f"{mean(r[k]):.0f}" for k in COSTS)])
    found = [(part, s, name, r) for part in FLOWS for name, by in rows[part].items() for s, r in by.items()]
    for part, s, name, r in sorted(found, key=lambda item: (item[1], -mean(item[3]["best"]))):
        judged = interval([v for v in r["held_out"] if v is not None], 2)
        cells = [interval(r["best"], 3), judged, f"{mean(r['plausibility']):.2f}", f"{mean(r['diversity']):.1f}"]
        lines[part].append([f"`{s}`", name, *cells, *(f"{mean(r[k]):.0f}" for k in COSTS[:2])])
    return {part: _markdown(cells) for part, cells in lines.items()}


COSTS = ("nfe", "nfe_backward", "score_calls")
FLOWS = ("flow", "quarter")


def _markdown(cells: list[list[str]]) -> str:
    head, *body = ["| " + " | ".join(row) + " |" for row in cells]
    return "\n".join([head, "|" + "---|" * len(cells[0]), *body])


def main() -> None:
    """Run, write the figures, and put the tables into the docs."""
    torch.set_num_threads(1)
    asked = sys.argv[1:]
    old = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    rows: dict[str, dict[str, Row]] = {part: dict(old.get(part, {})) for part in PARTS}
    for part in [p for p in PARTS if p in asked] or list(PARTS):
        work, names = PARTS[part]
        named = [name for name in names if name in asked] or list(names)
        for name in (n for n in named if n == "target" or n in methods):
            rows[part][name] = work(name)
            print(part, name, rows[part][name], flush=True)
            _write({p: {n: rows[p][n] for n in PARTS[p][1] if n in rows[p]} for p in PARTS})


def _write(rows: dict[str, dict[str, Row]]) -> None:
    RESULT.write_text(json.dumps(rows, indent=1) + "\n")
    fill(PAGE, tables(rows))


if __name__ == "__main__":
    main()
