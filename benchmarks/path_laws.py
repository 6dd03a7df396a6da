"""How near the stochastic path is to the law at few steps, and what particles on it make of the tilted law.

`python -m benchmarks.path_laws` writes `results/path_laws.json` and three tables of `docs/steering.md`, in about 15
minutes on one core; with names of parts (marginals, particles, climbs) it runs those and keeps the other rows.
"""

from __future__ import annotations

import copy
import json
import sys
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from torch import Tensor

import zmax
from benchmarks.pages import fill, interval, markdown
from benchmarks.steering import ring_score
from zmax.core.methods import registry
from zmax.core.rng import stream
from zmax.generators.diffusion.generator import DenoiserGenerator
from zmax.generators.diffusion.multistep import DPMSolver
from zmax.generators.diffusion.path import Path as NoisePath
from zmax.generators.diffusion.path import PathSpace
from zmax.generators.diffusion.samplers import Ancestral
from zmax.testing import gaussian_mixture, point_cloud, quadratic_score, ring
from zmax.testing.driver import drive

HERE = Path(__file__).parent
RESULT = HERE / "results" / "path_laws.json"
PAGE = HERE.parent / "docs" / "steering.md"

SCHEDULES = ("rectified-flow", "vp-linear", "edm", "ve")
STEPS, DRAWS, REPEATS = (5, 10, 20, 50), 4000, 3
PARTICLES, PASSES, SEEDS = 1000, 4, 5
TILTED: dict[str, tuple[int, ...]] = {"rectified-flow": (10, 20), "vp-linear": (10, 20)}
ORDERS = {"ancestral": 1, "2M": 2}

LAWS = {
    "nine modes": gaussian_mixture(
        [[x, y] for x in (-4.0, 0.0, 4.0) for y in (-4.0, 0.0, 4.0)], [(0.3 * torch.eye(2)).tolist()] * 9, [1 / 9] * 9
    ),
    "three modes": gaussian_mixture(
        [[-1.0, 0.5], [1.0, 0.0], [0.3, -1.0]],
        [[[0.1, 0.02], [0.02, 0.05]], [[0.05, 0.0], [0.0, 0.2]], [[0.02, 0.0], [0.0, 0.02]]],
        [0.5, 0.3, 0.2],
    ),
    "normal": gaussian_mixture([[0.0, 0.0]], [torch.eye(2).tolist()], [1.0]),
}
SCORE = quadratic_score([[0.02, 0.0], [0.0, 2.0]], [0.0, 0.0])


def distance(x: Tensor, log_weight: Tensor, target: Tensor) -> float:
    """Return the Wasserstein distance W1 of weighted samples to a target's, mean over eight directions of the plane."""
    angles = torch.arange(8) * torch.pi / 8
    directions = torch.stack([angles.cos(), angles.sin()]).double()
    levels = (torch.arange(len(target)).double() + 0.5) / len(target)
    found = []
    for a, b in zip((x.double() @ directions).T, (target.double() @ directions).T, strict=True):
        order = a.argsort()
        place = torch.searchsorted(log_weight.double().softmax(0)[order].cumsum(0), levels).clamp(max=len(a) - 1)
        found.append(float((a[order][place] - b.sort().values).abs().mean()))
    return mean(found)


def marginals(law: str, schedule: str, steps: int) -> dict[str, list[float]]:
    """Return W1 and variance of plain draws, of the deterministic solver and with fresh noise by either step."""
    samplers = {"DPM++2M": DPMSolver(steps), "ancestral": Ancestral(steps), "2M": DPMSolver(steps, 1.0)}
    rows: dict[str, list[float]] = {name: [] for name in (*samplers, "exact")}
    rows |= {f"variance {name}": [] for name in samplers}
    G = LAWS[law].generator(steps=steps, schedule=schedule)
    for seed in range(REPEATS):
        target, even = LAWS[law].sample(20 * DRAWS, stream(seed, "target")), torch.zeros(DRAWS)
        rows["exact"].append(distance(LAWS[law].sample(DRAWS, stream(seed, "again")), even, target))
        noises = torch.randn(DRAWS, steps, 2, generator=stream(seed, "noises"), dtype=torch.float64)
        for name, sampler in samplers.items():
            injected = noises[:, 1:] if sampler.injections else None
            with torch.no_grad():
                x = sampler(G.denoise, G.schedule, noises[:, 0], injected)
            rows[name].append(distance(x, even, target))
            rows[f"variance {name}"].append(float(x.var(0).sum() / target.var(0).sum()))
    return rows


def ancestral(generator: DenoiserGenerator) -> DenoiserGenerator:
    """Return a generator on ancestral steps, in place of those of `stochastic()`."""
    made, path = copy.copy(generator), generator.space.path
    made.sampler = Ancestral(path.steps)
    made.space = PathSpace.along(NoisePath(path.schedule, path.steps, 1.0, path.shape, order=1))
    return made


def climbs(where: str, method: str) -> dict[str, list[float]]:
    """Return the best scores by seed that a method finds on either path at equal network evaluations."""
    rows: dict[str, list[float]] = {}
    for name, order in ORDERS.items():
        for seed in range(SEEDS if where == "ring" else 3):
            if where == "ring":
                law = point_cloud(ring(2000, stream(0, "ring")), 0.0)
                G: Any = law.generator(steps=20)
                S, nfe = zmax.score(ring_score, name="ring", differentiable=True), 2000
            else:
                G, S, nfe = zmax.load_generator("avatars-flow:10"), "attribute:glasses", 500
            G = ancestral(G) if order == 1 else G
            r = zmax.maximize(G, S, method, zmax.Budget(nfe=nfe), seed, held_out=HELD_OUT.get(where), progress=False)
            rows.setdefault(name, []).append(r.best.score)
            if r.best.held_out is not None:
                rows.setdefault(f"judge {name}", []).append(r.best.held_out)
    return rows


def particles(method: str, schedule: str, steps: int, order: int) -> dict[str, Any]:
    """Return W1 to the tilted nine modes of a method's population and its log Z, by seed."""
    law = LAWS["nine modes"]
    tilted, G = law.tilt(SCORE), law.generator(steps=steps, schedule=schedule)
    G = ancestral(G) if order == 1 else G
    strategy: Any = registry.load(method)(temperature=1.0, particles=PARTICLES)
    row: dict[str, Any] = {"w1": [], "log_z": [], "floor": [], "exact": tilted.log_z}
    for seed in range(SEEDS):
        population = strategy.draws(drive(strategy, G, SCORE, PASSES * steps, seed).state)
        x = G.decode(G.space.latents(population.u))
        target = tilted.sample(100_000, stream(seed, "target"))
        row["w1"].append(distance(x, population.log_weight, target))
        row["log_z"].append(float(population.log_z))
        exact = tilted.sample(len(x), stream(seed, "again"))
        row["floor"].append(distance(exact, torch.zeros(len(x)), target))
    return row


CLIMBERS = {
    "ring": ("fk", "das", "svdd", "paths", "relay", "dps", "mpgd"),
    "avatars-flow:10": ("fk", "das", "mpgd"),
}
CELLS = (*ORDERS, *(f"judge {name}" for name in ORDERS))
HELD_OUT = {"avatars-flow:10": "attribute-judge:glasses"}


def tables(rows: dict[str, Any]) -> dict[str, str]:
    """Return one Markdown table a part."""
    plain = [["law", "schedule", "steps", "exact draws", "DPM++2M", "ancestral", "2M with fresh noise"]]
    for name, r in rows.get("marginals", {}).items():
        cells = [f"{mean(r[k]):.3f}" for k in ("exact", "DPM++2M", "ancestral", "2M")]
        plain.append([*name.split(", "), *cells])
    tilted = [["method", "schedule", "steps", "path", "W1", "W1 of exact draws", "log Z less exact"]]
    for name, r in rows.get("particles", {}).items():
        off = [z - r["exact"] for z in r["log_z"]]
        tilted.append([*name.split(", "), interval(r["w1"]), f"{mean(r['floor']):.3f}", interval(off)])
    climbed = [["problem", "method", "best, ancestral", "best, 2M", "held-out, ancestral", "held-out, 2M"]]
    for name, r in rows.get("climbs", {}).items():
        climbed.append([*name.split(", "), *(interval(r.get(k, [])) for k in CELLS)])
    return {"climbs": markdown(climbed), "marginals": markdown(plain), "tilted": markdown(tilted)}


def main() -> None:
    """Run, write the figures, and put the tables into the docs."""
    torch.set_num_threads(1)
    asked = sys.argv[1:] or ["marginals", "particles", "climbs"]
    rows: dict[str, Any] = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    if "marginals" in asked:
        rows["marginals"] = {}
        for law, schedule, steps in ((a, b, c) for a in LAWS for b in SCHEDULES for c in STEPS):
            row = rows["marginals"][f"{law}, {schedule}, {steps}"] = marginals(law, schedule, steps)
            print(law, schedule, steps, {k: round(mean(v), 4) for k, v in row.items()}, flush=True)
    if "particles" in asked:
        rows["particles"] = {}
        for method in ("fk", "das"):
            for schedule, steps in ((s, n) for s, counts in TILTED.items() for n in counts):
                for path, order in ORDERS.items():
                    row = particles(method, schedule, steps, order)
                    rows["particles"][f"{method}, {schedule}, {steps}, {path}"] = row
                    print(method, schedule, steps, path, row, flush=True)
    if "climbs" in asked:
        rows["climbs"] = {}
        for where, method in ((w, m) for w, methods in CLIMBERS.items() for m in methods):
            row = rows["climbs"][f"{where}, {method}"] = climbs(where, method)
            print(where, method, {k: round(mean(v), 3) for k, v in row.items()}, flush=True)
            _write(rows)
    _write(rows)


def _write(rows: dict[str, Any]) -> None:
    RESULT.write_text(json.dumps(rows, indent=1) + "\n")
    fill(PAGE, tables(rows))


if __name__ == "__main__":
    main()
