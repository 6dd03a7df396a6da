"""Search, finetune and condition beside each other: the same generator, score and calls; what 64 samples are like.

`python -m benchmarks.three_roads` writes `results/three_roads.jsonl` and a table of `docs/condition-benchmark.md`, in
about half an hour on one core for the GAN. Three kinds of score: one that gives gradients, the same as a black box, and
that as a costly one, of which 300 calls are all there is. Every road chooses its method by itself.
"""

from __future__ import annotations

import json
import sys
import time
from functools import cache
from itertools import product
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from torch import Tensor

import zmax
from benchmarks.finetune_avatars import draws, natural_share, shown
from benchmarks.pages import fill, markdown
from benchmarks.rows import keep
from zmax.core.samples import concatenated
from zmax.natural.diversity import features, pairwise_distance

HERE = Path(__file__).parent
RESULT, PAGE = HERE / "results" / "three_roads.jsonl", HERE.parent / "docs" / "condition-benchmark.md"
LABEL, JUDGE = "attribute:glasses", "attribute-judge:glasses"
KINDS = {"gradients": 4000, "black box": 4000, "costly": 300}
"""Score calls of each kind."""

ROADS = ("best of N", "search", "sample", "finetune", "condition")
SLOPES = ("search", "sample", "finetune")
"""Roads that take gradients where there are some."""

N, SEEDS, CEILING = 64, 3, 5.0
"""Samples that are looked at, seeds from 200 on, and the log-odds that avatars with glasses have on average."""


def main() -> None:
    """Run the generators that are named, or the GAN and the flow model, and write the table."""
    torch.set_num_threads(1)
    names = sys.argv[1:] or ["avatars-gan", "avatars-flow"]
    keep((run(*case) for case in product(names, KINDS, ROADS, range(200, 200 + SEEDS))), RESULT)
    table()


def run(name: str, kind: str, road: str, seed: int) -> dict[str, Any]:
    """Take one road, and measure its samples."""
    given, calls = zmax.load_score(LABEL), KINDS[kind]
    method, spent, minutes, x = taken(name, kind if road in SLOPES else "black box", road, calls, seed)
    row: dict[str, Any] = {"generator": name, "kind": kind, "road": road, "seed": seed, "method": method}
    row |= {"calls": spent, "minutes": minutes, "score": float(given(x).mean())}
    judged = zmax.load_score(JUDGE)(x).double()
    row |= {"judge": float(judged.mean()), "share": float((judged > 0).double().mean())}
    return row | {"natural": natural_share(name, x), "distance": pairwise_distance(features(x))}


@cache
def taken(name: str, kind: str, road: str, calls: int, seed: int) -> tuple[str, int, float, Tensor]:
    """Return the method that was chosen, the calls and minutes it took, and samples."""
    began = time.monotonic()
    given = zmax.load_score(LABEL)
    score: Any = given if kind == "gradients" else zmax.score(lambda x: given(x.detach()).detach(), name=kind)
    method, spent, x = ended(name, score, road, calls, seed)
    return method, spent, (time.monotonic() - began) / 60, x


def ended(name: str, score: Any, road: str, calls: int, seed: int) -> tuple[str, int, Tensor]:
    """Return the method that was chosen, the calls it took, and samples."""
    quiet: dict[str, Any] = {"seed": seed, "progress": False}
    if road in ("best of N", "search"):
        r = zmax.maximize(name, score, "random" if road == "best of N" else "auto", calls, keep=N, **quiet)
        x = concatenated([entry.sample[None] for entry in r.top(N)])
        assert isinstance(x, Tensor)
        return r.spec.method, r.ledger.score_calls, x
    if road == "sample":
        drawn = zmax.sample(name, score, 1.0, "auto", calls, keep=N, **quiet)
        x = concatenated([entry.sample[None] for entry in drawn.draws[:N]])
        assert isinstance(x, Tensor)
        return drawn.spec.method, drawn.ledger.score_calls, x
    if road == "finetune":
        t = zmax.finetune(name, score, "auto", calls, ceiling=CEILING, **quiet)
        return t.spec.method, t.ledger.score_calls, draws(t.generator, N, seed + 7)
    c = zmax.condition(name, score, "auto", calls, **quiet)
    x = c.sample(N, score=min(CEILING, c.calibration.highest), seed=seed + 7)
    assert isinstance(x, Tensor)
    return c.spec.method, c.ledger.score_calls, x


def table() -> None:
    """Write the table of all that was run."""
    rows = [json.loads(line) for line in RESULT.read_text().splitlines()]
    names = ("score", "judge", "share", "natural", "distance")
    cells: list[list[object]] = [["generator", "score is", "road", "method", *names, "calls", "minutes"]]
    for key in dict.fromkeys((r["generator"], r["kind"], r["road"]) for r in rows):
        these = [r for r in rows if (r["generator"], r["kind"], r["road"]) == key]
        method = " ".join(sorted({r["method"] for r in these}))
        costs = [round(mean(r["calls"] for r in these)), f"{mean(r['minutes'] for r in these):.1f}"]
        cells.append([*key, f"`{method}`", *(shown(these, n) for n in names), *costs])
    fill(PAGE, {"roads": markdown(cells)})


if __name__ == "__main__":
    main()
