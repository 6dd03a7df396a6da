"""avatars-flow: attribute, compressibility and a composite, every method with its defaults at equal evaluations."""

from __future__ import annotations

from statistics import mean
from typing import Any

import torch

import zmax
from benchmarks.pages import interval
from zmax.core.methods import registry
from zmax.core.strategy import Need

STEPS, SEEDS = 20, 3
BUDGETS = {"flow": 2000, "half": 1000, "quarter": 500, "eighth": 250}
TABLED = ("flow", "quarter")
JUDGES = {
    "attribute:glasses": "attribute-judge:glasses",
    "attribute:glasses + 20*brightness": "attribute-judge:glasses",
    "compressibility": None,
}
VARIANTS: dict[str, tuple[str, dict[str, Any], bool]] = {
    "gradient, one chain": ("gradient", {"batch": 1}, False),
    "gradient, one chain, all noises": ("gradient", {"batch": 1}, True),
}
"""Rows that are no method's defaults: the method, its options, and whether it searches the stochastic path."""

SEARCHES = ("random", "snes", "gradient", "halving", "lbfgs", "dno-hybrid")
PARTICLES = ("fk", "svdd", "paths", "noises", "relay", "rollover")
GRADED = ("tds", "das", "tfg", "dps", "lgdmc", "freedom", "mpgd", "ugd", "dno", "polish")
CURVES = ("random", "snes", "fk", "svdd", "paths", "rollover", "das", "mpgd", "dps", "dno")
"""The methods that are measured at every budget."""

Row = dict[str, Any]


def known(name: str) -> bool:
    """Say whether a row of that name can be run here."""
    return name in VARIANTS or name in registry


def made(name: str) -> Any:
    """Return the method of a row."""
    method, options, _ = VARIANTS.get(name, (name, {}, False))
    kind: Any = registry.load(method)
    return kind(**options)


def climbed(name: str, score: zmax.Score, judge: str | None, nfe: int, seed: int) -> Any:
    """Return the result of one run."""
    generator: Any = zmax.load_generator(f"avatars-flow:{STEPS}")
    generator = generator.stochastic() if name in VARIANTS and VARIANTS[name][2] else generator
    return zmax.maximize(generator, score, made(name), zmax.Budget(nfe=nfe), seed, held_out=judge)


def on_flow(name: str, nfe: int) -> Row:
    """Return best score, held-out score, plausibility and diversity of one method, by score."""
    row: Row = {}
    for s, judge in JUDGES.items():
        score = zmax.load_score(s)
        if Need.GRADIENT in made(name).needs and not score.differentiable:
            continue
        runs = [climbed(name, score, judge, nfe, seed) for seed in range(SEEDS)]
        row[s] = {
            "best": [r.best.score for r in runs],
            "held_out": [r.best.held_out for r in runs],
            "plausibility": [r.best.plausibility for r in runs],
            "diversity": [_diversity(r) for r in runs],
            **costs(runs),
        }
    return row


def costs(runs: list[Any]) -> dict[str, list[int]]:
    """Return what each run was charged."""
    return {name: [getattr(r.ledger, name) for r in runs] for name in ("nfe", "nfe_backward", "score_calls")}


def lines(rows: dict[str, Row]) -> list[list[str]]:
    """Return the cells of one budget's table, the best method of each score first."""
    found = [(s, name, r) for name, by in rows.items() for s, r in by.items()]
    cells = [["score", "method", "best", "held-out", "plausibility", "diversity", "NFE", "backward"]]
    for s, name, r in sorted(found, key=lambda item: (item[0], -mean(item[2]["best"]))):
        judged = interval([v for v in r["held_out"] if v is not None], 2)
        looks = [f"{mean(r['plausibility']):.2f}", f"{mean(r['diversity']):.1f}"]
        spent = [f"{mean(r[k]):.0f}" for k in ("nfe", "nfe_backward")]
        cells.append([f"`{s}`", name, interval(r["best"], 3), judged, *looks, *spent])
    return cells


def _diversity(result: Any) -> float:
    top = torch.stack([e.sample for e in result.top(8)]).flatten(1)
    return float(torch.pdist(top).mean()) if len(top) > 1 else 0.0
