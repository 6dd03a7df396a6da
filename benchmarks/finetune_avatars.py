"""Finetunes of the shipped avatars against the law that is known: the parent's own samples that pass the judge.

    python -m benchmarks.finetune_avatars --generators avatars-gan --tuners auto direct --seeds 3

A finetune to an attribute should give what rejection sampling gives: avatars that have it, as varied and as natural as
the parent's. So the child's fresh samples are compared with such samples, which cost four calls each to find: the share
that the judge says has it, k-NN precision and recall (k = 5) in pixels and in the judge's features, the range of S,
realism under the parent, Fréchet distance, mean distance, KL, calls and minutes. `compressibility` has no such law: it
is compared with the parent's best of sixteen. A score with "blackbox:" before it gives no gradient. Rows are added to
`results/finetune_avatars.jsonl`, and the tables of `docs/finetune-benchmark.md` are made of all of them.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from functools import cache
from itertools import product
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from torch import Tensor

import zmax
from benchmarks.pages import fill, interval, markdown
from benchmarks.rows import keep
from zmax.core.rng import stream
from zmax.natural.diversity import features, frechet, pairwise_distance, precision_recall
from zmax.scores.attribute import network_of

HERE = Path(__file__).parent
RESULT, PAGE = HERE / "results" / "finetune_avatars.jsonl", HERE.parent / "docs" / "finetune-benchmark.md"
GENERATORS = ("avatars-flow", "avatars-gan", "avatars-vae")
SCORES = (
    "attribute:glasses",
    "attribute:hat",
    "blackbox:attribute:glasses",
    "blackbox:attribute:hat",
    "compressibility",
)
N, OF, K, CALLS = 300, 16, 5, 4000
ENOUGH: dict[str, Any] = {"ceiling": 5.0, "looks": 4}
"""Log-odds above which nothing is gained: about the law's own mean."""

SQUEEZED: dict[str, Any] = {"params": {"temperature": 0.003}, "keep": "last", "looks": 4}
"""A sixth of the spread of `compressibility` over the parent's samples, and no rule by diversity: what is easily
compressed differs less."""

BLACK = "blackbox:"


def main() -> None:
    """Run what is asked for, and write the tables of all that was run."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.finetune_avatars")
    parser.add_argument("--generators", nargs="+", default=list(GENERATORS))
    parser.add_argument("--scores", nargs="+", default=list(SCORES))
    parser.add_argument("--tuners", nargs="+", default=["auto"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument(
        "--first", type=int, default=100, help="first seed; those from 1000 on served to choose defaults"
    )
    parser.add_argument("--calls", type=int, default=CALLS)
    parser.add_argument("--settings", default="{}", help="JSON, settings of the finetune, such as params")
    parser.add_argument("--dry", action="store_true", help="keep no result")
    options = parser.parse_args()
    torch.set_num_threads(1)
    seeds = range(options.first, options.first + options.seeds)
    cases = product(options.generators, options.scores, options.tuners, seeds)
    keep((run(*case, options) for case in cases), None if options.dry else RESULT)
    if not options.dry:
        tables()


def run(name: str, score: str, tuner: str, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """Finetune once, and measure the child."""
    label = score.removeprefix(BLACK)
    given = zmax.load_score(label)
    target: Any = zmax.score(lambda x: given(x.detach()).detach(), differentiable=False, name=score)
    target = target if score.startswith(BLACK) else given
    judge = label.replace("attribute:", "attribute-judge:") if label.startswith("attribute:") else None
    began = time.monotonic()
    settings = (ENOUGH if judge else SQUEEZED) | json.loads(options.settings)
    t = zmax.finetune(name, target, tuner, options.calls, held_out=judge, seed=seed, progress=False, **settings)
    minutes = (time.monotonic() - began) / 60
    row = {"generator": name, "score": score, "tuner": tuner, "method": t.spec.method, "seed": seed}
    row |= {"calls": t.ledger.score_calls, "nfe": t.ledger.nfe, "backward": t.ledger.nfe_backward, "minutes": minutes}
    row |= {"chosen": t.chosen, "looks": len(t.rounds) - 1, "why": t.why, "kl": t.after.look.kl}
    row |= {"frontier": [[look.kl, look.judged if judge else look.score] for look in t.rounds.looks]}
    return row | measured(draws(t.generator, N, seed + 7), name, label)


def measured(x: Tensor, name: str, label: str) -> dict[str, Any]:
    """Measure samples of a child, or of anything else, against the law of the parent's that have the attribute."""
    score = zmax.load_score(label)(x).double()
    found: dict[str, Any] = {"mean": float(score.mean()), "p05": float(score.quantile(0.05))}
    found["natural"] = natural_share(name, x)
    found["distance"] = pairwise_distance(features(x))
    if not label.startswith("attribute:"):
        return found | {"best_of": best_of(name, label)}
    law, judge = law_of(name, label), zmax.load_score(label.replace("attribute:", "attribute-judge:"))
    values = zmax.load_score(label)(law).double()
    low, high = (float(values.quantile(q)) for q in (0.025, 0.975))
    network: Any = network_of("attribute-judge")
    ours, theirs = features(x), features(law)
    precise, recalled = precision_recall(theirs, ours, K)
    found |= {"share": float((judge(x) > 0).double().mean()), "precision": precise, "recall": recalled}
    precise, recalled = precision_recall(network.features(law), network.features(x), K)
    found |= {"precision_judge": precise, "recall_judge": recalled}
    found |= {"in_range": float(((score >= low) & (score <= high)).double().mean()), "law_score": float(values.mean())}
    found |= {"frechet": frechet(network.features(law), network.features(x))}
    return found | {"law_distance": pairwise_distance(theirs)}


def natural_share(name: str, x: Tensor) -> float:
    """Return the share of samples whose realism under a generator is at least 0.05."""
    with torch.no_grad():
        realism = zmax.realism(zmax.load_generator(name), progress=False).of(x)
    return float((realism >= 0.05).double().mean())


@cache
def law_of(name: str, label: str, seed: int = 1) -> Tensor:
    """Return so many of the parent's samples that the judge says have the attribute."""
    judge = zmax.load_score(label.replace("attribute:", "attribute-judge:"))
    kept: list[Tensor] = []
    for i in range(1000):
        x = draws(zmax.load_generator(name), 200, 10_000 * seed + i)
        kept.append(x[judge(x) > 0])
        if sum(map(len, kept)) >= N:
            break
    return torch.cat(kept)[:N]


@cache
def best_of(name: str, label: str) -> float:
    """Return the mean of the best of sixteen samples of the parent."""
    x = draws(zmax.load_generator(name), 64 * OF, 5)
    return float(zmax.load_score(label)(x).reshape(-1, OF).max(1).values.mean())


def draws(generator: Any, n: int, seed: int) -> Tensor:
    """Return samples of a generator."""
    points = generator.space.sample(n, stream(seed, "benchmark", "fresh"))
    with torch.no_grad():
        return torch.cat([generator.decode(generator.space.latents(part)) for part in points.split(100)])


def tables() -> None:
    """Write the tables of all that was run."""
    rows = [json.loads(line) for line in RESULT.read_text().splitlines()]
    names = ("share", "precision", "recall", "in_range", "precision_judge", "recall_judge", "natural", "frechet", "kl")
    head = ["generator", "score", "tuner", "method", *(n.replace("_", " ") for n in names), "calls", "minutes"]
    cells: list[list[object]] = [head]
    for name in GENERATORS:
        for score in SCORES[:4]:
            label = score.removeprefix(BLACK)
            if not score.startswith(BLACK):
                floor = measured(law_of(name, label, 2), name, label)
                cells.append([name, score, "law itself", "", *(shown([floor], n) for n in names), "", ""])
            for tuner in dict.fromkeys(r["tuner"] for r in rows):
                these = [r for r in rows if (r["generator"], r["score"], r["tuner"]) == (name, score, tuner)]
                if these:
                    method = " ".join(sorted({r["method"] for r in these}))
                    costs = [round(mean(r["calls"] for r in these)), f"{mean(r['minutes'] for r in these):.1f}"]
                    cells.append([name, score, tuner, method, *(shown(these, n) for n in names), *costs])
    squeezed: list[list[object]] = [["generator", "tuner", "method", "mean", "best of 16", "natural", "distance", "kl"]]
    for name in GENERATORS:
        for tuner in dict.fromkeys(r["tuner"] for r in rows):
            these = [r for r in rows if (r["generator"], r["score"], r["tuner"]) == (name, SCORES[4], tuner)]
            if these:
                method = " ".join(sorted({r["method"] for r in these}))
                told = [shown(these, n, 3) for n in ("mean", "best_of", "natural", "distance", "kl")]
                squeezed.append([name, tuner, method, *told])
    fill(PAGE, {"attributes": markdown(cells), "compressibility": markdown(squeezed)})


def shown(rows: list[dict[str, Any]], name: str, digits: int = 2) -> str:
    known = [r[name] for r in rows if r.get(name) is not None and math.isfinite(r[name])]
    return interval(known, digits)


if __name__ == "__main__":
    main()
