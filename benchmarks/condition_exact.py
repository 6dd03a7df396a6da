"""Conditioned generators against the law they should follow, p(x | S(x) = s): earth mover's distance at nine levels.

`python -m benchmarks.condition_exact` writes `results/condition_exact.json` and a table of
`docs/condition-benchmark.md`, in about half an hour on one core; with names of methods it runs those and keeps the
other rows. The data are 20,000 draws of six modes on a ring with their scores; S is linear, or quadratic, or both at
once, of which one is asked for. G is a small flow model trained in seconds, or the exact one as a decoder.
"""

from __future__ import annotations

import json
import math
import sys
from itertools import combinations
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from torch import Tensor

import zmax
from benchmarks.finetune_exact import distance, ring
from benchmarks.pages import fill, interval, markdown
from zmax.core.rng import stream
from zmax.testing import GaussianMixture, trained

HERE = Path(__file__).parent
RESULT = HERE / "results" / "condition_exact.json"
PAGE = HERE.parent / "docs" / "condition-benchmark.md"

SEEDS, CALLS, STEPS, DATA = 3, 1000, 20, 20_000
POINTS, CLOUDS = 300, 4
"""Points in a cloud, and clouds of each law."""

LEVELS = tuple(i / 10 for i in range(1, 10))
"""Quantiles of the scores at which is asked."""

TRAINED: dict[str, dict[str, Any]] = {
    "flow": {"steps": 6000, "batch": 256},
    "noise-map": {"steps": 3000, "batch": 256, "width": 0.05},
}
"""Longer than by default: the law along a level set takes more than scores that are right."""

FINE = 20_000
"""Places on a level set at which the law is known."""

Row = dict[str, Any]


def linear(x: Tensor) -> Tensor:
    """Return the first coordinate and half the second."""
    return x[:, 0] + 0.5 * x[:, 1]


def quadratic(x: Tensor) -> Tensor:
    """Return minus half the squared norm around a point."""
    return -(x - torch.tensor([0.5, 0.0]).to(x)).square().sum(1) / 2


SCORES = {"linear": linear, "quadratic": quadratic}
ASKED = {"linear": ("linear",), "quadratic": ("quadratic",), "both": ("linear", "quadratic")}


def level_set(name: str, s: float) -> tuple[Tensor, Tensor]:
    """Return points of a level set, evenly spaced along a parameter, and the weight |dx / dparameter| / |grad S|."""
    if name == "linear":
        along = torch.linspace(-5, 5, FINE, dtype=torch.float64)
        normal, tangent = torch.tensor([1.0, 0.5]).double(), torch.tensor([-0.5, 1.0]).double()
        foot = s * normal / normal.square().sum()
        return foot + along[:, None] * tangent / tangent.norm(), torch.ones(FINE).double()
    radius = math.sqrt(max(0.0, -2 * s))
    angle = torch.linspace(0, 2 * math.pi, FINE + 1, dtype=torch.float64)[:-1]
    points = torch.tensor([0.5, 0.0]).double() + radius * torch.stack([angle.cos(), angle.sin()], 1)
    return points, torch.ones(FINE).double()


def exact(law: GaussianMixture, name: str, s: float, n: int, rng: torch.Generator) -> Tensor:
    """Draw from p(x | S(x) = s), which has the density p(x) / |grad S| along the level set."""
    points, weight = level_set(name, s)
    log = law.log_prob(points) + weight.log()
    drawn = torch.multinomial((log - log.max()).exp(), n, replacement=True, generator=rng)
    return points[drawn]


def parent(kind: str) -> zmax.Generator:
    """Return a generator of the ring: one with a path, or a decoder alone."""
    if kind == "path":
        return trained(ring(), steps=STEPS)
    whole = ring().generator(steps=100, eta=0.0)
    decode = whole.decode
    return zmax.generator(lambda z: decode(z).float(), shape=(2,), modality="vector", name="ring-decoder")


def run(method: str, kind: str, scores: str, seed: int) -> Row:
    """Condition once, and return how far what comes is from what should come, at each level and weight of guidance."""
    law, names = ring(), ASKED[scores]
    targets = [zmax.score(SCORES[name], name=name, differentiable=False) for name in names]
    x = law.sample(DATA, stream(seed, "data")).float()
    data = x, {name: SCORES[name](x) for name in names}
    quiet: dict[str, Any] = {"seed": seed, "looks": 1, "progress": False}
    found = zmax.condition(parent(kind), targets, method, CALLS, data=data, params=TRAINED.get(method), **quiet)
    x = law.sample(DATA, stream(seed, "levels"))
    row: Row = {"seconds": found.ledger.seconds, "label_score": [c.label_score for c in found.calibrations]}
    row |= {"rho": [c.rho for c in found.calibrations], "ratio": {}, "floor": {}}
    for name in names:
        ratios, floors = [], []
        for i, level in enumerate(LEVELS):
            s = float(SCORES[name](x).quantile(level))
            clouds = [exact(law, name, s, POINTS, stream(seed, "exact", i, j)) for j in range(CLOUDS)]
            came = found.sample(POINTS * CLOUDS, score={name: s}, seed=seed + i)
            assert isinstance(came, Tensor)
            far = mean(distance(a, b) for a, b in zip(came.split(POINTS), clouds, strict=True))
            floors.append(mean(distance(a, b) for a, b in combinations(clouds, 2)))
            ratios.append(far / floors[-1])
        row["ratio"][name], row["floor"][name] = ratios, floors
    return row


def tables(rows: dict[str, list[Row]]) -> dict[str, str]:
    """Return the table of ratios at the nine levels."""
    cells: list[list[object]] = [
        ["method", "G", "told", "asked", *(f"{level:.0%}" for level in LEVELS), "mean", "Label Score", "seconds"]
    ]
    for key, each in rows.items():
        method, kind, scores = key.split()
        for i, name in enumerate(ASKED[scores]):
            ratios = [[r["ratio"][name][k] for r in each] for k in range(len(LEVELS))]
            label = interval([r["label_score"][i] for r in each], 3)
            shown = [f"{mean(values):.2f}" for values in ratios]
            overall = interval([mean(r["ratio"][name]) for r in each], 2)
            seconds = f"{mean(r['seconds'] for r in each):.0f}"
            cells.append([f"`{method}`", kind, scores, name, *shown, overall, label, seconds])
    return {"exact": markdown(cells)}


def main() -> None:
    """Run all cases, or those of the methods that are named, and write the tables."""
    torch.set_num_threads(1)
    cases = {"flow": "path", "noise-map": "decoder"}
    rows: dict[str, list[Row]] = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    for method in sys.argv[1:] or cases:
        for scores in ASKED:
            key = f"{method} {cases[method]} {scores}"
            rows[key] = [run(method, cases[method], scores, seed) for seed in range(SEEDS)]
            print(
                key,
                [[round(v, 2) for r in rows[key] for v in (mean(r["ratio"][n]) for n in ASKED[scores])]],
                flush=True,
            )
            RESULT.write_text(json.dumps(dict(sorted(rows.items())), indent=1) + "\n")
    fill(PAGE, tables(rows))


if __name__ == "__main__":
    main()
