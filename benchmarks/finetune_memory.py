"""A direct step through 50 steps of `avatars-flow` by its weights: memory, time, and what truncation does to it.

`python -m benchmarks.finetune_memory` writes `results/finetune_memory.json` and the table of
`docs/finetune-benchmark.md`, in some minutes on one core. A step is what the tuner `direct` descends: a decode with a
graph to the weights, the gradient of S by the samples pulled back through it. Memory and time are measured as
`benchmarks/memory.py` says. The cosine and the relative error are those of the gradient by all weights, over 64
samples, against full backpropagation.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import zmax
from benchmarks.memory import Live
from benchmarks.pages import fill, markdown
from zmax.core.budget import Ledger
from zmax.core.rng import stream
from zmax.finetune.weights import Child, child_of
from zmax.generators.diffusion.generator import DenoiserGenerator, with_memory
from zmax.run.meter import Meter

HERE = Path(__file__).parent
RESULT, PAGE = HERE / "results" / "finetune_memory.json", HERE.parent / "docs" / "finetune-benchmark.md"
STEPS, BATCH, AVERAGED = 50, 16, 64
POLICIES = ("none", "checkpoint", "sqrt", "truncated:25", "truncated:5", "truncated:1")


def main() -> None:
    """Measure every policy, and write the table."""
    torch.set_num_threads(1)
    child, score = child_of(zmax.load_generator(f"avatars-flow:{STEPS}"), "full"), zmax.load_score("attribute:glasses")
    u = child.generator.space.sample(AVERAGED, stream(0, "memory"))
    exact, rows = gradient(child, score, u, "none"), []
    for policy in POLICIES:
        rows.append(row(child, score, u, policy, exact))
        print(rows[-1], flush=True)
    RESULT.write_text(json.dumps(rows, indent=1) + "\n")
    cells: list[list[object]] = [["memory", "MiB", "seconds", "forward", "backward", "cosine", "relative error"]]
    for r in rows:
        numbers = [f"{r['mib']:.0f}", f"{r['seconds']:.1f}", f"{r['forward']:g}", f"{r['backward']:g}"]
        cells.append([f"`{r['policy']}`", *numbers, f"{r['cosine']:.3f}", f"{r['error']:.2f}"])
    fill(PAGE, {"memory": markdown(cells)})


def gradient(child: Child, score: zmax.Score, u: Tensor, policy: str) -> Tensor:
    """Return the gradient of minus the mean score by all weights, as one vector."""
    weights = list(child.weights.values())
    generator = child.generator
    assert isinstance(generator, DenoiserGenerator)
    generator = with_memory(generator, policy)
    found = [torch.zeros_like(w) for w in weights]
    for part in u.split(BATCH):
        with torch.enable_grad():
            x = generator.decode(generator.space.latents(part))
            assert isinstance(x, Tensor)
            loss = -score(x).sum() / len(u)
            for into, slope in zip(found, torch.autograd.grad(loss, weights, allow_unused=True), strict=True):
                if slope is not None:
                    into += slope
    return torch.cat([slope.flatten() for slope in found]).double()


def row(child: Child, score: zmax.Score, u: Tensor, policy: str, exact: Tensor) -> dict[str, Any]:
    """Measure one policy."""
    found, ledger = gradient(child, score, u, policy), Ledger()
    seconds = []
    for _ in range(3):
        start = time.process_time()
        gradient(child, score, u[:BATCH], policy)
        seconds.append(time.process_time() - start)
    with Meter(child.generator.networks, ledger):
        gradient(child, score, u[:BATCH], policy)
    generator = child.generator
    assert isinstance(generator, DenoiserGenerator)
    with Live(generator) as live:
        gradient(child, score, u[:BATCH], policy)
    cosine = float((found @ exact) / found.norm().clamp_min(1e-30) / exact.norm())
    error = float((found - exact).norm() / exact.norm())
    told = {"policy": policy, "mib": live.peak / 2**20, "seconds": min(seconds), "cosine": cosine, "error": error}
    return told | {"forward": ledger.nfe / BATCH, "backward": ledger.nfe_backward / BATCH}


if __name__ == "__main__":
    main()
