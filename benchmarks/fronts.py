"""Fronts of two goals, against Optuna's NSGA-II and BoTorch's expected hypervolume.

    python -m benchmarks.fronts                                             # all: an hour or two on one core
    python -m benchmarks.fronts --problems zdt1 --methods cma nsga2 --seeds 1   # a quick look

ZDT 1, 2 and 3 over a random decoder: of its sample x the values Phi(x_i / s) stand for what these problems call x, s
being the spread of x_i over prior draws; both are to be small, so goals are what they give with the sign changed. And
the avatars (`avatars-gan`, `avatars-vae`): glasses against darkness. A figure is the hypervolume above the lowest
values of 256 prior draws, as a share of that of all runs of the problem together. Peers are shown R(u), R
being the retraction that every method has.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import torch
from torch import Tensor

import zmax
from benchmarks.blackbox.problems import Decoder
from benchmarks.pages import fill, interval, markdown
from zmax.core.errors import CapabilityError
from zmax.core.goals import hypervolume, nondominated
from zmax.core.priors import EDGE
from zmax.core.rng import stream

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "fronts.json"
PAGE = ROOT / "docs" / "goals.md"
DIM, USED, DRAWS = 16, 8, 256
METHODS = ("auto", "gradient", "cma", "snes", "surrogate", "turbo", "random")
NAMES = ("zdt1", "zdt2", "zdt3", "avatars-gan", "avatars-vae")
PEERS = ("nsga2", "botorch")


@dataclass(frozen=True)
class Problem:
    """A generator, two goals, and the point above which hypervolumes are counted."""

    generator: zmax.Generator
    goals: list[zmax.Score]

    def values(self, u: Tensor) -> Tensor:
        """Return the goals of points (n, d) in whitened coordinates, moved back to where they are plausible."""
        space = self.generator.space
        with torch.no_grad():
            samples = self.generator.decode(space.latents(space.retract(u.float(), EDGE)))
            return torch.stack([goal(samples).double() for goal in self.goals], 1)

    def low(self) -> Tensor:
        """Return the lowest value of each goal among prior draws."""
        return self.values(self.generator.space.sample(DRAWS, stream(0, "fronts", "low"))).min(0).values


@lru_cache(maxsize=8)
def problem(name: str) -> Problem:
    """Return the problem of that name."""
    if name.startswith("avatars"):
        dark = zmax.load_score("1 - brightness")
        return Problem(zmax.load_generator(name), [zmax.load_score("attribute:glasses"), dark])
    net = Decoder(DIM, stream(0, "fronts", "decoder"))
    spread = net(torch.randn(4096, DIM, generator=stream(0, "fronts", "spread"), device="cpu")).std(0)

    def both(x: Tensor) -> tuple[Tensor, Tensor]:
        y = torch.special.ndtr(x / spread.to(x))[:, :USED]
        f, g = y[:, 0], 1 + 9 * y[:, 1:].mean(1)
        share = f / g
        wave = {"zdt1": share.sqrt(), "zdt2": share.square(), "zdt3": share.sqrt() + share * torch.sin(31.4159 * f)}
        return -f, -g * (1 - wave[name])

    goals = [zmax.score(lambda x, i=i: both(x)[i], name=f"goal {i + 1}", differentiable=True) for i in range(2)]
    return Problem(zmax.generator(net, shape=(DIM,), modality="vector", name=f"decoder of {name}"), goals)


def ours(task: Problem, method: str, calls: int, seed: int) -> Tensor:
    """Return the goals of all samples that one of our methods scored."""
    history = zmax.maximize(task.generator, task.goals, method, calls, seed=seed, progress=False).history
    return torch.stack([torch.from_numpy(history.parts[name][history.final]) for name in history.goals], 1)


def nsga2(task: Problem, calls: int, seed: int) -> Tensor:
    """Return the goals of all samples that Optuna's NSGA-II scored."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(directions=["maximize"] * 2, sampler=optuna.samplers.NSGAIISampler(seed=seed))
    seen: list[Tensor] = []

    def objective(trial: Any) -> list[float]:
        u = [trial.suggest_float(f"u{i}", -4.0, 4.0) for i in range(task.generator.space.dim)]
        seen.append(task.values(torch.tensor([u])))
        return seen[-1][0].tolist()

    study.optimize(objective, n_trials=calls)
    return torch.cat(seen)


def botorch(task: Problem, calls: int, seed: int) -> Tensor:
    """Return the goals of all samples that expected hypervolume improvement asks for, one at a time."""
    import botorch as peer
    from botorch.acquisition.multi_objective.logei import qLogNoisyExpectedHypervolumeImprovement as Improvement
    from botorch.models import ModelListGP, SingleTaskGP
    from botorch.models.transforms import Normalize, Standardize
    from gpytorch.mlls import SumMarginalLogLikelihood

    d, rng = task.generator.space.dim, stream(seed, "fronts", "botorch")
    u = torch.randn(2 * (d + 1), d, generator=rng, device="cpu", dtype=torch.float64).clamp(-4, 4)
    y = task.values(u)
    box = torch.tensor([[-4.0] * d, [4.0] * d], dtype=torch.float64)
    while len(u) < calls:
        scaled = {"input_transform": Normalize(d, bounds=box), "outcome_transform": Standardize(1)}
        model = ModelListGP(*(SingleTaskGP(u, y[:, i : i + 1], **scaled) for i in range(2)))
        peer.fit_gpytorch_mll(SumMarginalLogLikelihood(model.likelihood, model))
        gain = Improvement(model, task.low(), u, prune_baseline=True)
        new, _ = peer.optim.optimize_acqf(gain, box, q=1, num_restarts=4, raw_samples=128)
        u, y = torch.cat([u, new]), torch.cat([y, task.values(new)])
    return y


PEER: dict[str, Callable[[Problem, int, int], Tensor]] = {"nsga2": nsga2, "botorch": botorch}


def main() -> None:
    """Run what is asked for, add it to the results, and rebuild the table."""
    options = arguments()
    torch.set_num_threads(1)
    known = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    for name in options.problems:
        for method in options.methods:
            for seed in range(options.seeds):
                key = {"problem": name, "method": method, "calls": options.calls, "seed": seed}
                if any(key.items() <= row.items() for row in known):
                    continue
                try:
                    row = key | run(problem(name), method, options.calls, seed)
                except (CapabilityError, ImportError) as error:
                    print(key, str(error).splitlines()[0], flush=True)
                    break
                known.append(row)
                RESULTS.write_text("[\n" + ",\n".join(map(json.dumps, known)) + "\n]\n")
                print({k: v for k, v in row.items() if k != "front"}, flush=True)
    if PAGE.exists():
        fill(PAGE, {"fronts": table(known)})


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fronts")
    parser.add_argument("--problems", nargs="*", choices=NAMES, default=NAMES)
    parser.add_argument("--methods", nargs="*", default=(*METHODS, *PEERS))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--calls", type=int, default=500)
    return parser.parse_args()


def run(task: Problem, method: str, calls: int, seed: int) -> dict[str, Any]:
    """Return the front that a method finds, its hypervolume and its time."""
    start = time.monotonic()
    y = PEER[method](task, calls, seed) if method in PEER else ours(task, method, calls, seed)
    seconds, low = time.monotonic() - start, task.low()
    front = y[nondominated(y)]
    found = {"hypervolume": hypervolume(front.numpy(), low.numpy()), "seconds": round(seconds, 2)}
    return found | {"front": [[round(v, 5) for v in row] for row in front.tolist()]}


def table(rows: list[dict[str, Any]]) -> str:
    """Return a row a method, a column a problem: the share of the best known hypervolume, and seconds."""
    columns = list(dict.fromkeys((row["problem"], row["calls"]) for row in rows))
    best = {column: _best(column[0], rows) for column in columns}
    cells: list[list[object]] = [["share, seconds", *(f"{name}, {calls:,} calls" for name, calls in columns)]]
    for method in dict.fromkeys(row["method"] for row in rows):
        words: list[object] = []
        for column in columns:
            own = [r for r in rows if (r["problem"], r["calls"]) == column and r["method"] == method]
            shares = [r["hypervolume"] / best[column] for r in own]
            words.append(f"{interval(shares)}, {mean(r['seconds'] for r in own):.3g} s" if own else "")
        cells.append([method, *words])
    return markdown(cells)


def _best(name: str, rows: list[dict[str, Any]]) -> float:
    """Return the hypervolume of the front of all runs of a problem."""
    every = [point for row in rows if row["problem"] == name for point in row["front"]]
    return hypervolume(np.array(every), problem(name).low().numpy())


if __name__ == "__main__":
    main()
