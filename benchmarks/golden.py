"""Prove that a large move changed nothing: every method on every problem it takes, score by score, bit for bit.

    python -m benchmarks.golden write    # before the move
    python -m benchmarks.golden check    # after it; tells which runs differ

The file holds one digest of all scores a run, and figures to look at. Digests hold for one machine and version of
torch; write the file anew where these differ.
"""

from __future__ import annotations

import hashlib
import json
import platform
import sys
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import torch

import zmax

FILE = Path(__file__).parent / "results" / "golden.json"
BUDGET = 320

Problem = Callable[[], tuple[zmax.Generator, zmax.Score]]


def linear() -> tuple[zmax.Generator, zmax.Score]:
    law = zmax.testing.linear_gaussian(torch.eye(8) + 0.3, torch.zeros(8))
    return law.generator(), zmax.testing.quadratic_score(torch.eye(8), torch.linspace(1, 3, 8))


def mixture() -> tuple[zmax.Generator, zmax.Score]:
    means = torch.tensor([[-2.0, 0.0], [2.0, 0.0], [0.0, 2.0]])
    law = zmax.testing.gaussian_mixture(means, 0.2 * torch.eye(2).expand(3, 2, 2), torch.ones(3) / 3)
    return law.generator(steps=8), zmax.testing.quadratic_score(torch.eye(2), torch.tensor([1.0, 0.5]))


def gan() -> tuple[zmax.Generator, zmax.Score]:
    return zmax.load_generator("avatars-gan"), zmax.load_score("attribute:glasses")


def flow() -> tuple[zmax.Generator, zmax.Score]:
    return zmax.load_generator("avatars-flow:4"), zmax.load_score("0.5*attribute:glasses + compressibility")


def composite() -> tuple[zmax.Generator, zmax.Score]:
    return zmax.load_generator("avatars-flow:4"), zmax.load_score("0.5*attribute:glasses + 0.5*attribute:hat")


def pipeline() -> tuple[zmax.Generator, zmax.Score]:
    from zmax.generators.diffusers import from_diffusers

    pipe = zmax.testing.tiny_pipeline("stable-diffusion")
    G = from_diffusers(pipe, prompt="a red hat", num_inference_steps=3)
    return G, zmax.score(lambda images: images[:, 0].mean((1, 2)), differentiable=True, name="red")


def failing() -> tuple[zmax.Generator, zmax.Score]:
    law = zmax.testing.linear_gaussian(torch.eye(4), torch.zeros(4))

    def fragile(x: torch.Tensor) -> torch.Tensor:
        if bool((x[:, 1] > 1.6).any()):
            raise ValueError("too far out")
        return torch.where(x[:, 2] > 1.8, torch.nan, x[:, 0])

    return law.generator(), zmax.score(fragile, differentiable=True, name="fragile")


PROBLEMS: dict[str, Problem] = {p.__name__: p for p in (pipeline, composite, flow, gan, mixture, linear, failing)}
BUDGETS = {"pipeline": 100, "flow": 160, "composite": 160}


def runs(problem: str) -> dict[str, dict[str, Any]]:
    """Return every run on a problem under its name, with what it gave."""
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    found = {}
    for info in (m for m in zmax.methods() if m.road in ("search", "guide")):
        for verb in ("maximize", "sample"):
            if verb == "sample" and ("temperature" not in info.parameters or problem in ("pipeline", "failing")):
                continue
            name = f"{problem} {verb} {info.name}"
            try:
                found[name] = _run(problem, verb, info.name)
            except Exception as error:  # noqa: BLE001 - what fails is to fail the same way afterwards
                found[name] = {"refused": f"{type(error).__name__}: {error}".splitlines()[0]}
            print(name, found[name], flush=True)
    return found


def _run(problem: str, verb: str, method: str) -> dict[str, Any]:
    (G, S), budget = PROBLEMS[problem](), BUDGETS.get(problem, BUDGET)
    limits = zmax.Budget(score_calls=budget, nfe=10 * budget)
    common = {"method": method, "budget": limits, "seed": 3, "progress": False, "batch_size": 13}
    r = zmax.sample(G, S, 1.0, **common) if verb == "sample" else zmax.maximize(G, S, **common)
    ledger = {k: v for k, v in vars(r.ledger).items() if k not in ("seconds", "peak_memory")}
    seen = {"score": r.history.score, "best": r.best.score, "stop": r.stop_reason, "ledger": ledger}
    if verb == "sample":
        seen["log_z"] = None if r.population.log_z is None else float(r.population.log_z)
        seen["weights"] = hashlib.sha256(r.population.log_weight.double().numpy().tobytes()).hexdigest()[:16]
    seen["digest"] = hashlib.sha256(r.history.score.tobytes()).hexdigest()[:16]
    return {**seen, "score": len(r.history.score)}


def main(action: str = "check") -> int:
    with ProcessPoolExecutor(2) as pool:
        found = {name: row for rows in pool.map(runs, PROBLEMS) for name, row in rows.items()}
    machine = {"torch": torch.__version__, "python": platform.python_version(), "machine": platform.machine()}
    if action == "write":
        FILE.write_text(json.dumps({"made with": machine, "runs": found}, indent=1) + "\n")
        return 0
    known = json.loads(FILE.read_text())["runs"]
    bad = [name for name in sorted({*known, *found}) if known.get(name) != found.get(name)]
    for name in bad:
        print(f"DIFFERS {name}\n  was {known.get(name)}\n  is  {found.get(name)}")
    print(f"{len(found) - len(bad)} of {len(known)} runs are equal, {len(bad)} differ")
    return bool(bad)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
