"""Measure what a start is worth.

    python -m benchmarks.starts                                   # all of it, about half an hour on one core
    python -m benchmarks.starts --pictures 1 --methods cma        # a quick look
    python -m benchmarks.starts --out benchmarks/results/starts.jsonl

- `picture`: held-out avatars, each brought as a sample; the score is minus the mean squared error to it ("target"), or
  the log-odds of glasses less 100 times that error ("edit"). `begun` is the best after 100 score calls with the start,
  `prior` that after 500 from the prior, with the same seed.
- `pairs`: 300 prior draws of `avatars-vae` with their scores (log-odds of glasses, or "target"), brought as pairs.
  `begun` is the best after 100 more calls, `prior` that after 300 from the prior: where the pairs are worth 200 calls,
  `begun` is not below it. `worth` is how many calls from the prior reach `begun`, less those 100.

The VAE inverts a picture by its encoder, the flow along its path (10 steps). Medians over pictures or seeds come last.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import zmax
from benchmarks.rows import keep
from zmax.core.generator import Generator
from zmax.results import Result

PICTURES = Path(__file__).parents[1] / "tests" / "data" / "avatars-heldout.npz"
METHODS = ("gradient", "cma", "snes", "surrogate", "turbo", "dno")
LEARNERS = ("turbo", "surrogate")
FEW, MANY, PAIRS = 100, 500, 300
CLOSENESS = 100.0


def nearness(picture: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda x: -(x - picture.to(x)).square().flatten(1).mean(1)


def scores(picture: Tensor) -> dict[str, zmax.Score]:
    near = zmax.score(nearness(picture), differentiable=True, name="near")
    glasses = zmax.load_score("attribute:glasses")
    return {"target": near, "edit": glasses + CLOSENESS * near, "glasses": glasses}


def held_out(n: int) -> Tensor:
    return torch.from_numpy(np.load(PICTURES)["images"][:n]).permute(0, 3, 1, 2).float() / 255


def generator_of(method: str) -> Generator:
    return zmax.load_generator("avatars-flow:10" if method == "dno" else "avatars-vae")


def run(generator: Generator, score: zmax.Score, method: str, calls: int, seed: int, **start: Any) -> Result:
    return zmax.maximize(generator, score, method, calls, seed=seed, progress=False, **start)


def reached(result: Result, score: float) -> float:
    """Return after how many calls a run has reached a score; all that it had, and one more, if it never has."""
    there = result.history.score_calls[result.history.best_so_far() >= score]
    return float(there[0]) if len(there) else result.ledger.score_calls + 1.0


def pictures(methods: list[str], n: int, kinds: list[str]) -> Iterator[dict[str, Any]]:
    """Yield a row a score, method and picture."""
    shown = held_out(n)
    for kind in kinds:
        for method in methods:
            generator = generator_of(method)
            for i, picture in enumerate(shown):
                score = scores(picture)[kind]
                begun = run(generator, score, method, FEW, i, start={"samples": picture[None]})
                prior = run(generator, score, method, MANY, i)
                row = {"part": "picture", "score": kind, "method": method, "picture": i, "start": begun.began_with}
                yield {**row, "begun": begun.best.score, "prior": prior.best.score}


def pairs(methods: list[str], seeds: int) -> Iterator[dict[str, Any]]:
    """Yield a row a score, method and seed."""
    generator, shown = zmax.load_generator("avatars-vae"), held_out(seeds)
    for kind in ("target", "glasses"):
        for method in [name for name in LEARNERS if name in methods]:
            for seed in range(seeds):
                score = scores(shown[seed])[kind]
                known = run(generator, score, "random", PAIRS, 1000 + seed)
                start = {"u": known.history.latents(), "score": known.history.score}
                begun = run(generator, score, method, FEW, seed, start=start)
                prior = run(generator, score, method, PAIRS, seed)
                row = {"part": "pairs", "score": kind, "method": method, "picture": seed, "start": known.best.score}
                worth = reached(prior, begun.best.score) - FEW
                yield {**row, "begun": begun.best.score, "prior": prior.best.score, "worth": worth}


def medians(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the medians of each part, score and method."""

    def kind(row: dict[str, Any]) -> tuple[str, str, str]:
        return row["part"], row["score"], row["method"]

    found = []
    for names, group in groupby(sorted(rows, key=kind), key=kind):
        members = list(group)
        names_of = [name for name in ("start", "begun", "prior", "worth") if name in members[0]]
        middle = {name: statistics.median(row[name] for row in members) for name in names_of}
        found.append({**dict(zip(("part", "score", "method"), names, strict=True)), "n": len(members), **middle})
    return found


def main() -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", default=list(METHODS))
    parser.add_argument("--pictures", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--scores", nargs="+", default=["target", "edit"])
    parser.add_argument("--out", type=Path)
    parser.add_argument("--parts", nargs="+", default=["pairs", "pictures"])
    given = parser.parse_args()
    rows: list[dict[str, Any]] = []

    def measured() -> Iterator[dict[str, Any]]:
        parts = {"pairs": pairs(given.methods, given.seeds)}
        parts["pictures"] = pictures(given.methods, given.pictures, given.scores)
        for name in given.parts:
            for row in parts[name]:
                rows.append(row)
                yield row

    keep(measured(), given.out)
    keep([{"median": True, **row} for row in medians(rows)], given.out)


if __name__ == "__main__":
    main()
