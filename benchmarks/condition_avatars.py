"""Conditioned avatars: what comes against what was asked, and glasses asked for against avatars that wear them.

    python -m benchmarks.condition_avatars --generators avatars-gan --scores brightness --seeds 3

At 4,000 score calls: Label Score (mean |requested - achieved| in standard deviations of the data) and Spearman's rho
over requests in the central 98 % of the data, and on 256 fresh requests the coverage of the 90 % intervals. Of glasses,
requests are drawn from the scores of avatars that wear them, and what comes is compared with the law that is known, as
in `benchmarks.finetune_avatars`. Rows are added to `results/condition_avatars.jsonl`, and the tables of
`docs/condition-benchmark.md` are made of all of them.
"""

from __future__ import annotations

import argparse
import json
import time
from itertools import product
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from torch import Tensor

import zmax
from benchmarks.finetune_avatars import GENERATORS, N, law_of, measured, shown
from benchmarks.pages import fill, markdown
from benchmarks.rows import keep
from zmax.core.rng import stream

HERE = Path(__file__).parent
RESULT, PAGE = HERE / "results" / "condition_avatars.jsonl", HERE.parent / "docs" / "condition-benchmark.md"
SCORES = ("brightness", "compressibility", "attribute:glasses")
CALLS, FRESH, FIRST = 4000, 256, 100
"""Score calls of a run, fresh requests, and the first seed; those from 1000 on served to choose defaults."""


def main() -> None:
    """Run what is asked for, and write the tables of all that was run."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.condition_avatars")
    parser.add_argument("--generators", nargs="+", default=list(GENERATORS))
    parser.add_argument("--scores", nargs="+", default=list(SCORES))
    parser.add_argument("--methods", nargs="+", default=["auto"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first", type=int, default=FIRST)
    parser.add_argument("--params", default="{}", help="JSON, arguments of the method")
    parser.add_argument("--dry", action="store_true", help="keep no result")
    options = parser.parse_args()
    torch.set_num_threads(1)
    seeds = range(options.first, options.first + options.seeds)
    cases = product(options.generators, options.scores, options.methods, seeds)
    keep((run(*case, json.loads(options.params)) for case in cases), None if options.dry else RESULT)
    if not options.dry:
        tables()


def run(name: str, score: str, method: str, seed: int, params: dict[str, Any]) -> dict[str, Any]:
    """Condition once, and measure what comes of requests."""
    began = time.monotonic()
    found = zmax.condition(name, score, method, CALLS, seed=seed, params=params, progress=False)
    minutes = (time.monotonic() - began) / 60
    row: dict[str, Any] = {"generator": name, "score": score, "method": found.spec.method, "asked": method}
    row |= {"seed": seed, "calls": found.ledger.score_calls, "nfe": found.ledger.nfe, "minutes": minutes}
    for one in found.calibrations:
        row |= {f"label_score {one.guidance:g}": one.label_score, f"rho {one.guidance:g}": one.rho}
        row |= {f"deviation {one.guidance:g}": one.row()["deviation"]}
    row["coverage"] = coverage(found, score, seed)
    if score.startswith("attribute:"):
        judged = zmax.load_score(score)(law_of(name, score, 3)).float()
        row |= measured(came(found, judged[:N, None], seed + 7), name, score)
    return row


def coverage(found: zmax.ConditionResult, score: str, seed: int) -> float:
    """Return the share of fresh requests whose achieved score lies in its 90 % interval."""
    one, rng = found.calibration, stream(seed, "benchmark", "requests")
    lowest, highest = float(min(one.asked)), float(max(one.asked))
    asked = found.generator.space.blocks[-1].prior.to_latent(torch.randn(FRESH, 1, generator=rng))
    asked = asked.clamp(lowest, highest)
    values = zmax.load_score(score)(came(found, asked, seed + 9)).tolist()
    spans = [one.interval(float(s)) for s in asked[:, 0]]
    return mean(float(low <= v <= high) for v, (low, high) in zip(values, spans, strict=True))


def came(found: zmax.ConditionResult, asked: Tensor, seed: int) -> Tensor:
    """Return a sample for each request."""
    made = []
    for i, part in enumerate(asked.split(50)):
        held = found.generator.asked(part)
        points = held.space.sample(len(part), stream(seed, "benchmark", "asked", i))
        with torch.no_grad():
            samples = held.decode(held.space.latents(points))
        assert isinstance(samples, Tensor)
        made.append(samples)
    return torch.cat(made)


def tables() -> None:
    """Write the tables of all that was run."""
    rows = [json.loads(line) for line in RESULT.read_text().splitlines()]
    asked = ("label_score 0", "rho 0", "deviation 0", "label_score 1", "rho 1", "deviation 1", "coverage")
    law = ("share", "precision", "recall", "in_range", "precision_judge", "recall_judge", "natural", "frechet")
    heads = ["generator", "score", "method"]
    first: list[list[object]] = [[*heads, *asked, "calls", "minutes"]]
    second: list[list[object]] = [[*heads, *law]]
    for key in dict.fromkeys((r["generator"], r["score"], r["method"]) for r in rows):
        these = [r for r in rows if (r["generator"], r["score"], r["method"]) == key]
        costs = [round(mean(r["calls"] for r in these)), f"{mean(r['minutes'] for r in these):.1f}"]
        first.append([*key, *(shown(these, n, 3) for n in asked), *costs])
        if "share" in these[0]:
            second.append([*key, *(shown(these, n) for n in law)])
    fill(PAGE, {"asked": markdown(first), "law": markdown(second)})


if __name__ == "__main__":
    main()
