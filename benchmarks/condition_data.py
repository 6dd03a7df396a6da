"""From data alone: what comes of asking above the best, against climbing a model of the score.

`python -m benchmarks.condition_data` writes `results/condition_data.json` and a table of `docs/condition-benchmark.md`,
in a quarter of an hour on one core. The data are 5,000 points from N((pi, 2.275), I), clipped to the domain of Branin's
function, whose maximum, negated, is -0.398; `harder` leaves out the tenth of the points that score highest. A method
sees the data alone, and proposes 128 points, whose best is compared.

Peers, by their published rules: ascent on a regressor, CMA-ES on a regressor, DDOM (Krishnamoorthy et al. 2023, sec. 3,
https://arxiv.org/abs/2306.07180: a conditional diffusion model of weighted data, asked for the best value with guidance
2) and RaM (Tan et al. 2024, sec. 4, https://arxiv.org/abs/2410.11502: a regressor trained to rank, then ascent).
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cma
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

import zmax
from benchmarks.pages import fill, interval, markdown
from zmax.core.rng import stream

HERE = Path(__file__).parent
RESULT, PAGE = HERE / "results" / "condition_data.json", HERE.parent / "docs" / "condition-benchmark.md"
POINTS, PROPOSED, SEEDS, LEFT_OUT = 5000, 128, 5, 0.1
LOW, HIGH = torch.tensor([-5.0, 0.0]), torch.tensor([10.0, 15.0])
UPDATES, CLIMB = 2000, 200
"""Optimiser steps of a regressor, and steps of an ascent on it."""


def branin(x: Tensor) -> Tensor:
    """Return Branin's function, negated."""
    a, b = x[:, 0], x[:, 1]
    curve = b - 5.1 / (4 * math.pi**2) * a**2 + 5 / math.pi * a - 6
    return -(curve**2 + 10 * (1 - 1 / (8 * math.pi)) * a.cos() + 10)


def inside(x: Tensor) -> Tensor:
    """Return points clipped to the domain."""
    return torch.minimum(torch.maximum(x, LOW.to(x)), HIGH.to(x))


def data(harder: bool, seed: int) -> tuple[Tensor, Tensor]:
    """Return the points and their values."""
    rng = stream(seed, "branin")
    x = inside(torch.tensor([math.pi, 2.275]) + torch.randn(POINTS, 2, generator=rng))
    y = branin(x)
    kept = y <= y.quantile(1 - LEFT_OUT) if harder else torch.ones(len(y), dtype=torch.bool)
    return x[kept], y[kept]


def regressor(x: Tensor, y: Tensor, seed: int, *, ranked: bool = False) -> Callable[[Tensor], Tensor]:
    """Train a perceptron to tell values by least squares, or, ranked, only which of two points is the better."""
    rng = stream(seed, "regressor")
    net = nn.Sequential(nn.Linear(2, 128), nn.SiLU(), nn.Linear(128, 128), nn.SiLU(), nn.Linear(128, 1))
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


def ascent(x: Tensor, y: Tensor, seed: int, *, ranked: bool = False) -> Tensor:
    """Climb a regressor from the best points of the data."""
    model = regressor(x, y, seed, ranked=ranked)
    points = x[y.argsort(descending=True)[:PROPOSED]].clone().requires_grad_()
    optimiser = torch.optim.Adam([points], 0.05)
    for _ in range(CLIMB):
        optimiser.zero_grad()
        (-model(points).sum()).backward()
        optimiser.step()
        points.data = inside(points.data)
    return points.detach()


def evolved(x: Tensor, y: Tensor, seed: int) -> Tensor:
    """Maximise a regressor by CMA-ES, and propose its last populations."""
    model = regressor(x, y, seed)
    options = {"seed": seed + 1, "verbose": -9, "bounds": [LOW.tolist(), HIGH.tolist()], "popsize": 32, "maxiter": 60}
    search: Any = cma.CMAEvolutionStrategy(x[y.argmax()].tolist(), 1.0, options)
    seen: list[np.ndarray[Any, Any]] = []
    while not search.stop():
        asked = search.ask()
        with torch.no_grad():
            told = model(torch.tensor(np.array(asked)).float())
        search.tell(asked, (-told).tolist())
        seen += asked
    return inside(torch.tensor(np.array(seen[-PROPOSED:])).float())


def conditioned(x: Tensor, y: Tensor, seed: int, *, ddom: bool = False) -> Tensor:
    """Ask a conditioned flow model for more than the best of the data; DDOM asks for the best, with guidance 2."""
    if ddom:  # weights of bins: |bin| / (|bin| + K) exp(-(best - y) / T), K = .01 |D|, T the 90th percentile's distance
        edges = torch.linspace(float(y.min()), float(y.max()) + 1e-6, 65)
        place = torch.bucketize(y, edges) - 1
        size = torch.bincount(place, minlength=64)[place]
        weight = size / (size + 0.01 * len(y)) * (-(y.max() - y) / (y.max() - y.quantile(0.9))).exp() / size
        rows = torch.multinomial(weight, len(y), replacement=True, generator=stream(seed, "ddom"))
        x, y = x[rows], y[rows]
    score = zmax.score(branin, name="branin")
    made = zmax.condition(
        None, score, "flow", 512, data=(x, y), checked=256, fresh=32, guidances="0", seed=seed, progress=False,
        params={"steps": 3000},
    )  # fmt: skip
    best = float(y.max())
    if ddom:
        return inside(draw(made, best, 2.0, PROPOSED, seed))
    model = regressor(x, y, seed, ranked=True)
    asked = [best + part * float(y.std()) for part in (0.0, 0.05, 0.1, 0.2)]
    many = inside(torch.cat([draw(made, value, 0.0, 2 * PROPOSED, seed + i) for i, value in enumerate(asked)]))
    with torch.no_grad():
        return many[model(many).argsort(descending=True)[:PROPOSED]]


def draw(made: zmax.ConditionResult, value: float, guidance: float, n: int, seed: int) -> Tensor:
    """Return samples that are asked for a value."""
    held = made.generator.at(value, guidance=guidance)
    with torch.no_grad():
        found = held.decode(held.space.latents(held.space.sample(n, stream(seed, "proposed"))))
    assert isinstance(found, Tensor)
    return found.float()


METHODS: dict[str, Callable[[Tensor, Tensor, int], Tensor]] = {
    "best of the data": lambda x, y, seed: x[y.argsort(descending=True)[:PROPOSED]],
    "condition": conditioned,
    "DDOM": lambda x, y, seed: conditioned(x, y, seed, ddom=True),
    "ascent on a regressor": ascent,
    "CMA-ES on a regressor": evolved,
    "RaM": lambda x, y, seed: ascent(x, y, seed, ranked=True),
}


def main() -> None:
    """Run all methods, and write the table."""
    torch.set_num_threads(1)
    rows: dict[str, dict[str, list[float]]] = {}
    for name, method in METHODS.items():
        rows[name] = {}
        for harder in (False, True):
            found = []
            for seed in range(SEEDS):
                x, y = data(harder, seed)
                found.append(float(branin(method(x, y, seed)).max()))
            rows[name]["harder" if harder else "branin"] = found
        print(name, rows[name], flush=True)
    RESULT.write_text(json.dumps(rows, indent=1) + "\n")
    cells: list[list[object]] = [["method", "branin", "harder"]]
    cells += [[name, *(interval(by[k], 3) for k in ("branin", "harder"))] for name, by in rows.items()]
    fill(PAGE, {"data": markdown(cells)})


if __name__ == "__main__":
    main()
