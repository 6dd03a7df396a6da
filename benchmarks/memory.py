"""Memory and time of gradients through 50 steps of `avatars-flow` under every memory policy.

`python -m benchmarks.memory` writes `results/memory.json` and the table in `docs/memory.md`, in about two minutes on
one core. Each row runs in a process of its own. Peak memory is taken twice: as the bytes of the tensors that live at
once, all but the weights, and as what the process grew by (Linux: its largest resident set, less that before, after a
first small gradient that loads code; every tensor of 64 KiB or more is mapped on its own, so that it goes back when it
is freed). Time is the least processor time, of three, of forward and backward.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from weakref import WeakSet, finalize

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

import zmax
from benchmarks.pages import fill
from zmax.core.budget import Ledger
from zmax.generators.diffusion.generator import DenoiserGenerator, with_memory
from zmax.generators.diffusion.reversible import Reversible
from zmax.run.meter import Meter

HERE = Path(__file__).parent
RESULT = HERE / "results" / "memory.json"
PAGE = HERE.parent / "docs" / "memory.md"
STEPS, BATCH, REPEATS = 50, 16, 3
ROWS = (
    ("none", STEPS),
    ("none", 1),
    ("checkpoint", STEPS),
    ("sqrt", STEPS),
    ("truncated:5", STEPS),
    ("detached", STEPS),
    ("invertible", STEPS),
)

Row = dict[str, Any]


class Live(TorchDispatchMode):
    """Bytes of the tensors made while open and still alive, and the most at once; recomputed ones count like others."""

    def __init__(self, generator: DenoiserGenerator) -> None:  # noqa: D107
        super().__init__()
        self.now = self.peak = 0
        self._seen: WeakSet[Any] = WeakSet(p.untyped_storage() for p in generator.denoiser.parameters())

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # noqa: D105
        out = func(*args, **(kwargs or {}))
        tree_map_only(Tensor, self._count, out)
        return out

    def _count(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        if storage in self._seen:
            return
        size = storage.nbytes()
        self._seen.add(storage)
        self.now += size
        self.peak = max(self.peak, self.now)
        finalize(storage, self._drop, size)

    def _drop(self, size: int) -> None:
        self.now -= size


def gradient(generator: DenoiserGenerator, u: Tensor) -> Tensor:
    """Return the gradient of the mean brightness of each picture."""
    u = u.clone().requires_grad_()
    x = generator.decode(generator.space.latents(u))
    assert isinstance(x, Tensor)
    return torch.autograd.grad(x.mean((1, 2, 3)).sum(), u)[0]


def made(policy: str, steps: int) -> DenoiserGenerator:
    """Return the flow under that policy, with frozen weights as in latent search."""
    flow = zmax.load_generator(f"avatars-flow:{steps}")
    assert isinstance(flow, DenoiserGenerator)
    flow.denoiser.requires_grad_(False)
    if policy == "invertible":
        flow.sampler = Reversible(steps)
    return with_memory(flow, policy)


def row(policy: str, steps: int) -> Row:
    """Measure one policy."""
    torch.set_num_threads(1)
    generator, ledger = made(policy, steps), Ledger()
    u = generator.space.sample(BATCH, torch.Generator().manual_seed(0))
    gradient(made(policy, 2), u[:1])
    Path("/proc/self/clear_refs").write_text("5")  # the largest resident set is counted from here
    before = resident("VmRSS")
    gradient(generator, u)
    grown = resident("VmHWM") - before
    seconds = []
    for _ in range(REPEATS):
        start = time.process_time()
        found = gradient(generator, u)
        seconds.append(time.process_time() - start)
    with Meter(generator.networks, ledger):
        gradient(generator, u)
    with Live(generator) as live:
        gradient(generator, u)
    return {
        "policy": policy,
        "steps": steps,
        "live_mib": live.peak / 2**20,
        "grown_mib": grown,
        "seconds": min(seconds),
        "forward": ledger.nfe / BATCH,
        "backward": ledger.nfe_backward / BATCH,
        **against_full(policy, steps, found[:4], u[:4]),
    }


def resident(what: str) -> float:
    """Return a figure of the process's memory, in MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(what)) / 1024


def against_full(policy: str, steps: int, found: Tensor, u: Tensor) -> Row:
    """Return the relative distance from full backpropagation through the same sampler, and the cosine."""
    exact = gradient(with_memory(made(policy, steps), "none"), u)
    product = (found * exact).sum() / found.norm() / exact.norm()
    return {"error": float((found - exact).norm() / exact.norm()), "cosine": float(product)}


def table(rows: list[Row]) -> str:
    """Return the table as Markdown."""
    by = {(r["policy"], r["steps"]): r for r in rows}
    one, full = by["none", 1], by["none", STEPS]
    lines = [
        "| policy | steps | tensors, MiB | process, MiB | tensors, against one step | time, against `none` "
        "| network calls | differentiated | error | cosine |",
        "|" + "---|" * 10,
    ]
    lines += [
        f"| `{r['policy']}` | {r['steps']} | {r['live_mib']:.0f} | {r['grown_mib']:.0f} "
        f"| {r['live_mib'] / one['live_mib']:.2f} | {r['seconds'] / full['seconds']:.2f} "
        f"| {r['forward']:.0f} | {r['backward']:.0f} | {r['error']:.0e} | {r['cosine']:.2f} |"
        for r in rows
    ]
    return "\n".join(lines)


def main() -> None:
    """Run every row in a process of its own, write the figures, and put the table into the docs."""
    if sys.argv[1:]:
        policy, steps = sys.argv[1:]
        print(json.dumps(row(policy, int(steps))))
        return
    rows, mapped = [], os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
    for policy, steps in ROWS:
        command = [sys.executable, "-m", "benchmarks.memory", policy, str(steps)]
        rows.append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True, env=mapped).stdout))
        print(rows[-1], flush=True)
    RESULT.write_text(json.dumps({"batch": BATCH, "repeats": REPEATS, "rows": rows}, indent=1) + "\n")
    fill(PAGE, {"memory": table(rows)})


if __name__ == "__main__":
    main()
