"""Tests of white noise: are their p-values uniform, what do they cost, and do they bind what optimises noises?

    python -m benchmarks.white_noise              # all of it: half an hour on one core
    python -m benchmarks.white_noise calibration  # one part: calibration, cost or winners
    python -m benchmarks.white_noise winners dno --seeds 1

Writes `results/white_noise.json` and, of the winners, the table of `docs/steering.md`.

- `calibration`: p-values of every test for prior draws of each shape (steps, channels, *sizes) against the uniform
  law, by the distance of Kolmogorov and Smirnov, and how often the combined plausibility is at most 0.05
- `cost`: milliseconds a row of the plausibility, on one thread
- `winners`: `avatars-flow:10`, attribute:glasses, five seeds: score, held-out judge and plausibility of the winner, and
  standard scores that are worked out here anew: of neighbouring steps' correlation, of what all steps have in common,
  and of the mean. `--label` names another version of the package that is measured by the same script.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from scipy import stats
from torch import Tensor

import zmax
from benchmarks.pages import fill, interval, markdown
from zmax.core.rng import stream

HERE = Path(__file__).parent
RESULT = HERE / "results" / "white_noise.json"
PAGE = HERE.parent / "docs" / "steering.md"

SHAPES = ((1, 4, 8, 8), (1, 4, 64, 64), (20, 4, 8, 8), (50, 8), (10, 3, 16, 16), (1, 64), (10, 2))
DRAWS = 5000
METHODS = ("random", "dno", "polish", "dps", "mpgd")
STEPS, NFE = 10, 1000
SCORE, JUDGE = "attribute:glasses", "attribute-judge:glasses"

Row = dict[str, Any]


def calibration() -> Row:
    """Return, of each shape, the tests' largest distance from the uniform law, and its p-value of so many tests."""
    from zmax.core.noise import noise_scores

    found: Row = {}
    for shape in SHAPES:
        rng, rows = stream(0, "calibration", *shape), max(1, 1_000_000 // torch.Size(shape).numel())
        sizes = [min(rows, DRAWS - start) for start in range(0, DRAWS, rows)]
        scores = torch.cat([noise_scores(torch.randn(n, *shape, generator=rng, dtype=torch.float64)) for n in sizes])
        p = 2 * torch.special.ndtr(-scores.abs())
        tests = [stats.kstest(column.numpy(), "uniform") for column in p.T]
        combined = (p.shape[1] * p.min(1).values).clamp(max=1.0)
        found[str(shape)] = {
            "tests": len(tests),
            "distance": float(max(t.statistic for t in tests)),
            "p_value": min(1.0, len(tests) * float(min(t.pvalue for t in tests))),
            "flagged": float((combined <= 0.05).double().mean()),
        }
        print(shape, found[str(shape)], flush=True)
    return found


def cost() -> Row:
    """Return milliseconds a row of the plausibility, at best."""
    torch.set_num_threads(1)
    spaces = {"noise (4, 64, 64)": _path(1, (4, 64, 64)), "normal (512,)": zmax.Space.of((512,))}
    spaces |= {
        f"{steps} noises {shape}": _path(steps, shape) for steps, shape in ((10, (3, 16, 16)), (20, (4, 64, 64)))
    }
    found: Row = {}
    for name, space in spaces.items():
        u, times = space.sample(8, stream(0, "cost")), []
        for _ in range(20):
            start = time.process_time()
            space.plausibility(u)
            times.append((time.process_time() - start) / len(u) * 1e3)
        found[name] = min(times)  # what the machine needs when nobody else uses it
        print(name, f"{found[name]:.3f} ms", flush=True)
    return found


def _path(steps: int, shape: tuple[int, ...]) -> zmax.Space:
    levels = zmax.generators.SCHEDULES["rectified-flow"]()
    return zmax.PathSpace.along(zmax.Path(levels, steps=steps, eta=1.0, shape=shape))


def standard_scores(u: Tensor) -> Row:
    """Return how far one point's noises are from white, in standard errors."""
    steps = u.double().reshape(STEPS, -1)
    m = steps.shape[1]
    together = (steps.sum(0).square().sum() / STEPS - m) / (2 * m) ** 0.5
    along = (steps[1:] * steps[:-1]).sum() / ((STEPS - 1) * m) ** 0.5
    return {"neighbours": float(along), "common": float(together), "mean": float(steps.mean() * u.numel() ** 0.5)}


def winner(method: str, seed: int) -> Row:
    """Return what one run's winner is worth."""
    budget = zmax.Budget(nfe=NFE)
    generator: Any = zmax.load_generator(f"avatars-flow:{STEPS}")
    best = zmax.maximize(generator.stochastic(), SCORE, method, budget, seed=seed, held_out=JUDGE).best
    looks = {"score": best.score, "judge": best.held_out, "plausibility": best.plausibility}
    return looks | standard_scores(best.u)


def lines(winners: Row) -> list[list[str]]:
    """Return the cells of the winners' table."""
    cells = [["method", "tests", "score", "judge", "plausibility", "neighbours", "common", "mean"]]
    for key, row in winners.items():
        method, label = key.split(", ")
        shown = [interval(row["score"], 1), interval(row["judge"], 1)]
        worst = [f"{max(row[name], key=abs):.1f}" for name in ("neighbours", "common", "mean")]
        cells.append([method, label, *shown, " ".join(f"{p:.2f}" for p in row["plausibility"]), *worst])
    return cells


def main() -> None:
    """Run the parts that were asked for, and keep what others have left."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("names", nargs="*", help="parts or methods; all of them if none is named")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--label", default="now")
    options = parser.parse_args()
    names = options.names or ["calibration", "cost", "winners"]
    kept = json.loads(RESULT.read_text()) if RESULT.exists() else {"winners": {}}
    for part in (calibration, cost):
        if part.__name__ in names:
            kept.setdefault(part.__name__, {})[options.label] = part()
    for method in [m for m in METHODS if m in names or ("winners" in names and not set(METHODS) & set(names))]:
        rows = []
        for seed in range(options.seeds):
            rows.append(winner(method, seed))
            print(method, seed, {k: round(v, 2) for k, v in rows[-1].items()}, flush=True)
        kept["winners"][f"{method}, {options.label}"] = {k: [row[k] for row in rows] for k in rows[0]}
        print({k: round(mean(row[k] for row in rows), 2) for k in rows[0]}, flush=True)
    RESULT.write_text(json.dumps(kept, indent=1) + "\n")
    if "<!-- winners -->" in PAGE.read_text():
        fill(PAGE, {"winners": markdown(lines(kept["winners"]))})


if __name__ == "__main__":
    main()
