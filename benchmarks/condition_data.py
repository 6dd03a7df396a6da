"""From data alone: what comes of asking above the best, against climbing a model of the score.

`python -m benchmarks.condition_data` writes `results/condition_data.json` and a table of `docs/condition-benchmark.md`,
in half an hour on one core; with names of tasks it runs those and keeps the other rows. A method sees data and their
scores alone, and proposes 128 points, whose best is compared. The tasks:

- `branin`: 5,000 points from N((pi, 2.275), I), clipped to the domain of Branin's function, whose maximum, negated, is
  -0.398; `harder` leaves out the tenth of the points that score highest.
- `squares`: pictures of one square as in `benchmarks.squares`, with every side above 10 removed; S is the area. All
  methods propose latents of one VAE, which was trained on those pictures, so that no method paints pixels; how many of
  the 128 are squares is told beside the best area, and the best area of those that are.

Peers, by their published rules: ascent on a regressor, CMA-ES on a regressor, DDOM (Krishnamoorthy et al. 2023, sec. 3,
https://arxiv.org/abs/2306.07180: a conditional diffusion model of weighted data, asked for the best value with guidance
2) and RaM (Tan et al. 2024, sec. 4, https://arxiv.org/abs/2410.11502: a regressor trained to rank, then ascent).
"""

from __future__ import annotations

import json
import math
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from statistics import mean
from typing import Any

import cma
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

import zmax
from benchmarks.pages import fill, interval, markdown
from benchmarks.squares import SquareVAE, area, squares, vae
from zmax.core.errors import ZmaxWarning
from zmax.core.rng import stream

HERE = Path(__file__).parent
RESULT, PAGE = HERE / "results" / "condition_data.json", HERE.parent / "docs" / "condition-benchmark.md"
POINTS, PROPOSED, SEEDS, LEFT_OUT = 5000, 128, 5, 0.1
UPDATES, CLIMB, STEPS = 2000, 200, 3000
"""Optimiser steps of a regressor, steps of an ascent on it, and optimiser steps of a conditional flow."""

LARGEST, SQUARE, FARTHEST = 10, 0.8, 6.0
"""Largest side in the data, the overlap with the best square from which a picture is one, and the largest latent."""


@dataclass(frozen=True)
class Task:
    """Data, and what is to be maximised from them alone.

    Attributes:
        x, y: points and their scores.
        low, high: the box that points are kept in.
        value: the score of points, by which nothing is chosen.
        extra: what else is to be known of proposals, by name.
    """

    x: Tensor
    y: Tensor
    low: Tensor
    high: Tensor
    value: Callable[[Tensor], Tensor]
    extra: Callable[[Tensor], dict[str, float]] = lambda proposed: {}

    def inside(self, x: Tensor) -> Tensor:
        """Return points clipped to the box."""
        return torch.minimum(torch.maximum(x, self.low.to(x)), self.high.to(x))


def branin(x: Tensor) -> Tensor:
    """Return Branin's function, negated."""
    a, b = x[:, 0], x[:, 1]
    curve = b - 5.1 / (4 * math.pi**2) * a**2 + 5 / math.pi * a - 6
    return -(curve**2 + 10 * (1 - 1 / (8 * math.pi)) * a.cos() + 10)


def of_branin(seed: int, *, harder: bool = False) -> Task:
    """Return points around one of the three maxima, and their values."""
    rng, low, high = stream(seed, "branin"), torch.tensor([-5.0, 0.0]), torch.tensor([10.0, 15.0])
    x = torch.tensor([math.pi, 2.275]) + torch.randn(POINTS, 2, generator=rng)
    x = torch.minimum(torch.maximum(x, low), high)
    y = branin(x)
    kept = y <= y.quantile(1 - LEFT_OUT) if harder else torch.ones(len(y), dtype=torch.bool)
    return Task(x[kept], y[kept], low, high, branin)


def of_squares(seed: int) -> Task:
    """Return latents of pictures of small squares, and their areas."""
    network, x, y = small(seed)
    box = torch.full((2,), FARTHEST)

    def extra(z: Tensor) -> dict[str, float]:
        pictures = painted(network, z)
        true = overlap(pictures) >= SQUARE
        best = float(area(pictures)[true].max()) if bool(true.any()) else 0.0
        return {"squares": float(true.float().mean()), "best of squares": best}

    return Task(x, y, -box, box, lambda z: area(painted(network, z)).float(), extra)


@lru_cache(maxsize=1)
def small(seed: int) -> tuple[SquareVAE, Tensor, Tensor]:
    """Return a VAE of squares up to the largest side, the latents of those pictures, and their areas."""
    network = vae(seed, LARGEST)
    pictures, y = squares(LARGEST)
    with torch.no_grad():
        x = torch.cat([network.encode(part.float())[0] for part in pictures.split(256)])
    return network, x, y.float()


def painted(network: SquareVAE, z: Tensor) -> Tensor:
    """Return the pictures of latents."""
    with torch.no_grad():
        return torch.cat([network(part.float()) for part in z.split(256)])


def overlap(pictures: Tensor) -> Tensor:
    """Return how much of each picture's pixels, or of the square as wide as its columns and rows, is in both."""
    found = []
    for picture in pictures[:, 0] >= 0.5:
        rows, columns = picture.any(1).nonzero().flatten(), picture.any(0).nonzero().flatten()
        if not len(rows):
            found.append(0.0)
            continue
        side = max(int(rows[-1] - rows[0]), int(columns[-1] - columns[0])) + 1
        found.append(float(picture.sum()) / side**2)
    return torch.tensor(found)


TASKS: dict[str, Callable[[int], Task]] = {
    "branin": of_branin,
    "harder": lambda seed: of_branin(seed, harder=True),
    "squares": of_squares,
}


def regressor(x: Tensor, y: Tensor, seed: int, *, ranked: bool = False) -> Callable[[Tensor], Tensor]:
    """Train a perceptron to tell values by least squares, or, ranked, only which of two points is the better."""
    rng = stream(seed, "regressor")
    net = nn.Sequential(nn.Linear(x.shape[1], 128), nn.SiLU(), nn.Linear(128, 128), nn.SiLU(), nn.Linear(128, 1))
    with torch.no_grad():
        for weight in net.parameters():
            size = weight.shape[-1] ** -0.5
            weight.copy_((2 * torch.rand(weight.shape, generator=rng) - 1) * size)
    mean, std, low, high = x.mean(0), x.std(0), y.mean(), y.std()
    optimiser = torch.optim.Adam(net.parameters(), 1e-3)
    for _ in range(UPDATES):
        rows = torch.randint(len(x), (128,), generator=rng)
        told, value = net((x[rows] - mean) / std)[:, 0], (y[rows] - low) / high
        if ranked:  # RankCosine's place is taken by the pairwise logistic loss
            apart, sign = told[:, None] - told[None], torch.sign(value[:, None] - value[None])
            loss = (functional.softplus(-apart * sign) * sign.abs()).mean()
        else:
            loss = (told - value).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return lambda points: net((points - mean) / std)[:, 0]


def ascent(task: Task, seed: int, *, ranked: bool = False) -> Tensor:
    """Climb a regressor from the best points of the data."""
    model = regressor(task.x, task.y, seed, ranked=ranked)
    points = task.x[task.y.argsort(descending=True)[:PROPOSED]].clone().requires_grad_()
    optimiser = torch.optim.Adam([points], 0.05)
    for _ in range(CLIMB):
        optimiser.zero_grad()
        (-model(points).sum()).backward()
        optimiser.step()
        points.data = task.inside(points.data)
    return points.detach()


def evolved(task: Task, seed: int) -> Tensor:
    """Maximise a regressor by CMA-ES, and propose its last populations."""
    model = regressor(task.x, task.y, seed)
    box = [task.low.tolist(), task.high.tolist()]
    options = {"seed": seed + 1, "verbose": -9, "bounds": box, "popsize": 32, "maxiter": 60}
    search: Any = cma.CMAEvolutionStrategy(task.x[task.y.argmax()].tolist(), 1.0, options)
    seen: list[np.ndarray[Any, Any]] = []
    while not search.stop():
        asked = search.ask()
        with torch.no_grad():
            told = model(torch.tensor(np.array(asked)).float())
        search.tell(asked, (-told).tolist())
        seen += asked
    return task.inside(torch.tensor(np.array(seen[-PROPOSED:])).float())


def conditioned(task: Task, seed: int, *, ddom: bool = False) -> Tensor:
    """Ask a conditioned flow model for more than the best of the data; DDOM asks for the best, with guidance 2."""
    x, y = task.x, task.y
    if ddom:  # weights of bins: |bin| / (|bin| + K) exp(-(best - y) / T), K = .01 |D|, T the 90th percentile's distance
        edges = torch.linspace(float(y.min()), float(y.max()) + 1e-6, 65)
        place = (torch.bucketize(y, edges) - 1).clamp_min(0)
        size = torch.bincount(place, minlength=64)[place]
        weight = size / (size + 0.01 * len(y)) * (-(y.max() - y) / (y.max() - y.quantile(0.9))).exp() / size
        rows = torch.multinomial(weight, len(y), replacement=True, generator=stream(seed, "ddom"))
        x, y = x[rows], y[rows]
    made = zmax.condition(
        None, zmax.score(task.value, name="value", differentiable=False), "flow", 512, data=(x, y), checked=256,
        fresh=32, guidances="0", seed=seed, progress=False, params={"steps": STEPS},
    )  # fmt: skip
    best, spread = float(task.y.max()), float(task.y.std())
    if ddom:
        return task.inside(drawn(made, best, PROPOSED, seed, guidance=2.0))
    asked = [best + part * spread for part in (0.0, 0.05, 0.1, 0.2)]
    parts = [drawn(made, value, PROPOSED // 4, seed + i, of=8) for i, value in enumerate(asked)]
    return task.inside(torch.cat(parts))


def drawn(made: zmax.ConditionResult, value: float, n: int, seed: int, **options: Any) -> Tensor:
    """Return samples that are asked for a value, perhaps the best of candidates by the ranking of the data."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ZmaxWarning)  # it is meant to be outside the range to trust
        found = made.sample(n, score=value, seed=seed, **options)
    assert isinstance(found, Tensor)
    return found.float()


METHODS: dict[str, Callable[[Task, int], Tensor]] = {
    "best of the data": lambda task, seed: task.x[task.y.argsort(descending=True)[:PROPOSED]],
    "condition": conditioned,
    "DDOM": lambda task, seed: conditioned(task, seed, ddom=True),
    "ascent on a regressor": ascent,
    "CMA-ES on a regressor": evolved,
    "RaM": lambda task, seed: ascent(task, seed, ranked=True),
}


def run(task: Task, name: str, seed: int) -> dict[str, float]:
    """Return the best value of what a method proposes, and what else is to be known."""
    proposed = METHODS[name](task, seed)
    return {"best": float(task.value(proposed).max()), **task.extra(proposed)}


def table(rows: dict[str, dict[str, list[dict[str, float]]]]) -> str:
    """Return the best of the proposals of each method, a column a task."""
    cells: list[list[object]] = [["method", *TASKS, "squares that are", "share of squares"]]
    for name in METHODS:
        by = {task: rows.get(task, {}).get(name, []) for task in TASKS}
        digits = {"squares": 0, "branin": 5}
        best = [interval([row["best"] for row in each], digits.get(task, 3)) for task, each in by.items()]
        drawn = by["squares"]
        true = interval([row["best of squares"] for row in drawn], 0)
        cells.append([name, *best, true, f"{mean(r['squares'] for r in drawn):.0%}" if drawn else ""])
    return markdown(cells)


def main() -> None:
    """Run all tasks, or those that are named, and write the table."""
    torch.set_num_threads(1)
    rows: dict[str, dict[str, list[dict[str, float]]]] = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    for name in sys.argv[1:] or TASKS:
        rows[name] = {method: [] for method in METHODS}
        for seed in range(SEEDS):
            task = TASKS[name](seed)
            for method in METHODS:
                rows[name][method].append(run(task, method, seed))
                print(name, seed, method, rows[name][method][-1], flush=True)
            RESULT.write_text(json.dumps(rows, indent=1) + "\n")
    fill(PAGE, {"data": table(rows)})


if __name__ == "__main__":
    main()
