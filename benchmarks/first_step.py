"""Measure the default first steps: how much loss is left after 100, 500 and 2000 score calls, for each step.

    python benchmarks/first_step.py            # all of it, about ten minutes on one core
    python benchmarks/first_step.py --seeds 1  # a quick look

Training problems (their seeds start at 9000; no test and no other benchmark uses those):

- `decoder`: z -> tanh(z W1 / sqrt d) (256 units) -> W2 / 16 (128 values), W normal;
  S = -MSE to the decode of a prior draw
- `rugged`: the same with a second hidden layer and weights twice as large
- `linear`: G(u) = W u (32 values), S = b^T x; its maximum on the typical shell is known
- `quadratic`: G(u) = W u with singular values k^-1, S = -|x - G(u*)|^2 / 2 for a prior draw u*

Every number is the loss left (maximum of S minus best S seen) divided by what best-of-N leaves at the same number of
calls, as the geometric mean over seeds: 1 is as good as random, smaller is better; ratios below 1e-4
count as 1e-4, "solved". A gradient counts as one call.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from zmax.core.priors import shell
from zmax.core.proposal import Evaluation
from zmax.core.rng import stream
from zmax.core.space import Space
from zmax.core.strategy import Need, Strategy
from zmax.search import CMA, SNES, Gradient, Random

STEPS = (0.03, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0)
BUDGETS = (100, 500, 2000)
SHOWN = 1
SOLVED = 1e-4
DIMENSIONS = (64, 512)
FIRST_SEED = 9000
RESULTS = Path(__file__).parent / "results" / "first_step.json"


@dataclass(frozen=True)
class Problem:
    """A score of whitened coordinates, and the largest value it can have on the typical shell."""

    name: str
    dim: int
    score: Callable[[Tensor], Tensor]
    top: float


def decoder(dim: int, seed: int) -> Problem:
    rng = stream(seed, "decoder", dim)
    w1, w2 = torch.randn(dim, 256, generator=rng), torch.randn(256, 128, generator=rng)
    target = Space.of((dim,)).sample(1, rng)

    def decode(z: Tensor) -> Tensor:
        return torch.tanh(z @ w1 / dim**0.5) @ w2 / 16

    wanted = decode(target)
    return Problem("decoder", dim, lambda z: -(decode(z) - wanted).square().mean(1), 0.0)


def rugged(dim: int, seed: int) -> Problem:
    rng = stream(seed, "rugged", dim)
    w1, w2, w3 = (torch.randn(*shape, generator=rng) for shape in ((dim, 256), (256, 256), (256, 128)))
    target = Space.of((dim,)).sample(1, rng)

    def decode(z: Tensor) -> Tensor:
        return torch.tanh(torch.tanh(2 * z @ w1 / dim**0.5) @ w2 / 8) @ w3 / 16

    wanted = decode(target)
    return Problem("rugged", dim, lambda z: -(decode(z) - wanted).square().mean(1), 0.0)


def linear(dim: int, seed: int) -> Problem:
    rng = stream(seed, "linear", dim)
    w, b = torch.randn(32, dim, generator=rng), torch.randn(32, generator=rng)
    direction = w.T @ b
    top = float(direction.norm()) * shell(dim, 0.5)[1]
    return Problem("linear", dim, lambda z: (z @ w.T) @ b, top)


def quadratic(dim: int, seed: int) -> Problem:
    rng = stream(seed, "quadratic", dim)
    q, _ = torch.linalg.qr(torch.randn(dim, dim, generator=rng))
    w = q / torch.arange(1, dim + 1)[:, None]
    wanted = Space.of((dim,)).retract(Space.of((dim,)).sample(1, rng)) @ w.T
    return Problem("quadratic", dim, lambda z: -(z @ w.T - wanted).square().sum(1) / 2, 0.0)


PROBLEMS = (decoder, rugged, linear, quadratic)


def losses(method: Strategy[Any], problem: Problem, seed: int) -> list[float]:
    """Return the loss left at each budget."""
    state = method.init(Space.of((problem.dim,)), stream(seed, "method"))
    best, calls, left = -math.inf, 0, []
    while len(left) < len(BUDGETS):
        proposal = method.ask(state)
        u = proposal.at.points.detach().requires_grad_(Need.GRADIENT in method.needs)
        score = problem.score(u)
        grad = torch.autograd.grad(score.sum(), u)[0] if Need.GRADIENT in method.needs else None
        score = score.detach()
        room = BUDGETS[len(left)] - calls
        if len(u) >= room:
            left.append(problem.top - max(best, float(score[:room].max())))
        best, calls = max(best, float(score.max())), calls + len(u)
        ok = torch.ones(len(u), dtype=torch.bool)
        state = method.tell(state, Evaluation(score, ok, torch.ones(len(u)), range(calls - len(u), calls), grad))
    return left


def ratios(make: Callable[[], Strategy[Any]], seeds: int) -> dict[str, list[float]]:
    """Return, by problem and dimension, the geometric mean over seeds of loss / best-of-N's loss, at each budget."""
    table = {}
    for build in PROBLEMS:
        for dim in DIMENSIONS:
            logs = []
            for seed in range(FIRST_SEED, FIRST_SEED + seeds):
                problem = build(dim, seed)
                ours, base = losses(make(), problem, seed), losses(Random(batch=50), problem, seed)
                logs.append([math.log(max(a / b, SOLVED)) for a, b in zip(ours, base, strict=True)])
            table[f"{build.__name__} d={dim}"] = torch.tensor(logs).mean(0).exp().tolist()
    return table


def summary(table: dict[str, list[float]]) -> list[float]:
    """Return the geometric mean over problems, at each budget."""
    return torch.tensor(list(table.values())).log().mean(0).exp().tolist()


def show(label: str, table: dict[str, list[float]]) -> None:
    cells = " ".join(f"{row[SHOWN]:13.4f}" for row in table.values())
    print(f"{label:18s} {cells} | " + " ".join(f"{mean:8.4f}" for mean in summary(table)), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the default first steps.")
    parser.add_argument("--seeds", type=int, default=3)
    seeds = parser.parse_args().seeds
    torch.set_num_threads(1)
    makers: dict[str, Callable[[float], Strategy[Any]]] = {
        "gradient": lambda step: Gradient(step=step),
        "cma": lambda step: CMA(step=step),
        "snes": lambda step: SNES(step=step),
    }
    heads = " ".join(f"{b.__name__ + ' ' + str(d):>13s}" for b in PROBLEMS for d in DIMENSIONS)
    print(f"loss left / best-of-N's loss after {BUDGETS[SHOWN]} calls; {seeds} seeds from {FIRST_SEED}")
    print(f"{'':18s} {heads} | mean after {BUDGETS}")
    results: dict[str, dict[str, Any]] = {}
    for name, make in makers.items():
        results[name] = {}
        for step in STEPS:
            table = ratios(lambda make=make, step=step: make(step), seeds)  # type: ignore[misc]
            results[name][str(step)] = table | {"mean": summary(table)}
            show(f"{name} step={step}", table)
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    head = {"budgets": BUDGETS, "seeds": list(range(FIRST_SEED, FIRST_SEED + seeds)), "torch": torch.__version__}
    RESULTS.write_text(json.dumps(head | {"loss_over_best_of_n": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
