"""Gradient methods against the update rules of PULSE and ReNO, on the same generators, scores and network evaluations.

`python -m benchmarks.gradient_suite` runs all cases, about eight minutes of one core, and writes
`results/gradient_suite.json` and the tables of `docs/gradient-suite.md`; with names of cases it runs those and keeps
the other rows. Every method and peer runs in a bare loop on one thread, one after the other for each seed: propose,
score and differentiate, update. What zmax's own loop adds is measured in `benchmarks/overhead.py`.
"""

from __future__ import annotations

import json
import math
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import zmax
from benchmarks.peers_gradient import PEERS, Best, Objective, run_peer
from zmax.core.generator import Generator
from zmax.core.proposal import Evaluation
from zmax.core.rng import stream
from zmax.core.strategy import Strategy
from zmax.search.ascent.gradient import Gradient
from zmax.search.ascent.halving import Halving
from zmax.search.ascent.lbfgs import LBFGS
from zmax.search.ascent.sphere import Sphere

CALLS = 400
"""Forward evaluations of the generator, each with a backward one."""
SEEDS = range(5)
STUDENT = {3: 4.303, 5: 2.776}
CHOSEN = "halving"
RIVALS = ("PULSE", "ReNO")
PLAUSIBLE = 0.01
HERE = Path(__file__).parent
RESULT = HERE / "results" / "gradient_suite.json"
PAGE = HERE.parent / "docs" / "gradient-suite.md"
MARKS = {name: (f"<!-- {name} -->", f"<!-- end of {name} -->") for name in ("verdict", "table")}

METHODS: dict[str, Callable[[], Strategy[Any]]] = {
    "halving": Halving,
    "lbfgs": LBFGS,
    "gradient": Gradient,
    "sphere": Sphere,
}


@dataclass(frozen=True)
class Case:
    """One generator and score; `target` is minus the mean squared error to the decode of a prior draw."""

    generator: str
    score: str
    seeds: int = 5

    @property
    def name(self) -> str:
        """As it stands in the table."""
        return f"{self.generator} / {self.score}"


CASES = (
    Case("mlp-64", "target"),
    Case("mlp-512", "target"),
    Case("deep-mlp-512", "target"),
    Case("deep-mlp-512", "readout"),
    Case("avatars-vae", "target"),
    Case("avatars-vae", "colour:red"),
    Case("avatars-vae", "attribute:long-hair"),
    Case("avatars-gan", "attribute:glasses", 3),
    Case("avatars-gan", "target", 3),
    Case("avatars-gan:w", "attribute:hat", 3),
    Case("avatars-gan", "critic:avatars", 3),
    Case("avatars-flow:1", "attribute:glasses", 3),
)


@dataclass(frozen=True)
class Row:
    """One run."""

    case: str
    method: str
    seed: int
    best: float
    plausibility: float
    calls: int
    seconds: float
    cpu_seconds: float
    trace: list[tuple[int, float]]


def mlp(layers: int, dim: int, seed: int) -> Generator:
    """Return a random decoder: tanh layers of 256 units, then 128 values."""
    rng, parts, width = stream(seed, "mlp", layers, dim), [], dim
    for _ in range(layers):
        linear = nn.Linear(width, 256, bias=False, device="meta")
        linear.weight = nn.Parameter((1 + (layers > 1)) * torch.randn(256, width, generator=rng) / width**0.5)
        parts += [linear, nn.Tanh()]
        width = 256
    last = nn.Linear(256, 128, bias=False, device="meta")
    last.weight = nn.Parameter(torch.randn(128, 256, generator=rng) / 16)
    return zmax.generator(nn.Sequential(*parts, last), shape=(dim,), modality="vector", differentiable=True)


@cache
def loaded(name: str) -> Generator:
    """Load a shipped generator once."""
    return zmax.load_generator(name)


def problem(case: Case, seed: int) -> tuple[Generator, Callable[[Any], Tensor]]:
    """Return the generator and the score of one run."""
    if "mlp" in case.generator:
        generator = mlp(2 if "deep" in case.generator else 1, int(case.generator.rpartition("-")[2]), seed)
    else:
        generator = loaded(case.generator)
    if case.score == "readout":
        return generator, lambda x: x[:, 0]
    if case.score != "target":
        return generator, zmax.load_score(case.score)
    with torch.no_grad():
        wanted = generator.decode(generator.space.latents(generator.space.sample(1, stream(seed, "target"))))
    return generator, lambda x: -(x - wanted).flatten(1).square().mean(1)


def run_method(strategy: Strategy[Any], generator: Generator, objective: Objective, seed: int) -> Best:
    """Run a method until its calls are spent."""
    wall, cpu, best = time.perf_counter(), time.process_time(), Best()
    state = strategy.init(generator.space, stream(seed, "method"))
    while best.calls < CALLS:
        proposal = strategy.ask(state)
        u = proposal.at.points[: CALLS - best.calls].clone().requires_grad_()
        score = objective(u)
        (grad,) = torch.autograd.grad(score.sum(), u)
        best.see(u, score.detach())
        if len(u) == len(proposal):
            ok = torch.ones(len(u), dtype=torch.bool)
            state = strategy.tell(state, Evaluation(score.detach(), ok, torch.ones(len(u)), range(len(u)), grad))
    best.seconds, best.cpu_seconds = time.perf_counter() - wall, time.process_time() - cpu
    return best


def run_all(cases: tuple[Case, ...]) -> Iterator[Row]:
    """Run the cases, all methods and peers one after the other for each seed."""
    for case in cases:
        for seed in SEEDS[: case.seeds]:
            generator, score = problem(case, seed)

            def objective(u: Tensor, generator: Generator = generator, score: Any = score) -> Tensor:
                values: Tensor = score(generator.decode(generator.space.latents(u)))
                return values

            objective(generator.space.sample(2, stream(0, "warm up")))
            for name in (*METHODS, *PEERS):
                if name in PEERS:
                    best = run_peer(name, objective, generator.space.dim, CALLS, seed)
                else:
                    best = run_method(METHODS[name](), generator, objective, seed)
                yield Row(
                    case.name, name, seed, best.score, best.plausibility, best.calls, best.seconds, best.cpu_seconds,
                    best.trace,
                )  # fmt: skip
            print(case.name, "seed", seed, flush=True)


def interval(values: list[float]) -> str:
    """Return the mean with its 95 % interval."""
    half = STUDENT[len(values)] * statistics.stdev(values) / math.sqrt(len(values))
    return f"{shown(statistics.mean(values))} ± {shown(half)}"


def shown(value: float) -> str:
    """Return three significant digits at most."""
    return f"{value:.2f}" if abs(value) >= 1 else f"{value:.3f}" if abs(value) >= 0.1 else f"{value:.2g}"


def by_case(rows: list[Row]) -> dict[str, dict[str, list[Row]]]:
    """Group rows by case and method, in the order of the suite."""
    grouped: dict[str, dict[str, list[Row]]] = {case.name: {} for case in CASES}
    for row in rows:
        grouped[row.case].setdefault(row.method, []).append(row)
    return {case: methods for case, methods in grouped.items() if methods}


def table(rows: list[Row]) -> str:
    """Return the table of best scores and times; methods that are no longer here keep their column."""
    names = list(dict.fromkeys(row.method for row in rows))
    lines = ["| case | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for case, methods in by_case(rows).items():
        cells = []
        top = max(statistics.mean(r.best for r in methods[n]) for n in methods if plausible(methods[n]))
        for name in names:
            if name not in methods:
                cells.append("")
                continue
            mine = methods[name]
            text = interval([r.best for r in mine])
            text = f"**{text}**" if statistics.mean(r.best for r in mine) == top else text
            cpu = statistics.mean(r.cpu_seconds for r in mine)
            cells.append(f"{text}; {cpu:.2f} s" + ("" if plausible(mine) else " †"))
        lines.append(f"| {case} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def plausible(rows: list[Row]) -> bool:
    """Say whether at least half of the winners lie where the prior does."""
    return statistics.median(r.plausibility for r in rows) >= PLAUSIBLE


def verdict(rows: list[Row]) -> str:
    """Return the table of the chosen method against each rival, seed by seed."""
    lines = [
        "| case | rival | gain | wins | time of ours / theirs | calls until theirs is reached | plausibility, theirs |",
        "|---|---|---|---|---|---|---|",
    ]
    for case, methods in by_case(rows).items():
        for rival in RIVALS:
            pairs = list(zip(methods[CHOSEN], methods[rival], strict=True))
            gains = [a.best - b.best for a, b in pairs]
            wins = sum(gain >= 0 for gain in gains)
            ratio = statistics.mean(a.cpu_seconds for a, _ in pairs) / statistics.mean(b.cpu_seconds for _, b in pairs)
            reached = [next((calls for calls, best in a.trace if best >= b.best), CALLS + 1) for a, b in pairs]
            middle = statistics.median(reached)
            calls = f"{middle:.0f}" if middle <= CALLS else "not reached"
            theirs = statistics.median(b.plausibility for _, b in pairs)
            cells = [case, rival, interval(gains), f"{wins} of {len(pairs)}", f"{ratio:.2f}", calls, f"{theirs:.2f}"]
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def write(rows: list[Row]) -> None:
    """Write the figures, and put the tables into the docs."""
    head = {"calls": CALLS, "torch": torch.__version__, "chosen": CHOSEN}
    RESULT.write_text(json.dumps(head | {"rows": [asdict(row) for row in rows]}) + "\n")
    text = PAGE.read_text()
    for name, content in (("verdict", verdict(rows)), ("table", table(rows))):
        start, end = MARKS[name]
        text = f"{text.split(start)[0]}{start}\n{content}\n{end}{text.split(end)[1]}"
    PAGE.write_text(text)


def main() -> None:
    """Run the cases, and write after each."""
    torch.set_num_threads(1)
    rows = [Row(**row) for row in json.loads(RESULT.read_text())["rows"]] if RESULT.exists() else []
    for case in CASES:
        if len(sys.argv) < 2 or case.name in sys.argv[1:]:
            rows = [row for row in rows if row.case != case.name] + list(run_all((case,)))
            write(rows)
    print(verdict(rows), table(rows), sep="\n\n")


if __name__ == "__main__":
    main()
