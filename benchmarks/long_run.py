"""What 200,000 calls of a trivial score take: time, memory, size of the folder, time to load and to report.

Best-of-N over an identity of eight values, in batches of 32, in a folder; each figure of one process on one thread.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

import zmax

RESULT = Path(__file__).parent / "results" / "long_run.json"


def first(x: torch.Tensor) -> torch.Tensor:
    """A score that takes no time."""
    return x[:, 0]


def measured(calls: int) -> dict[str, Any]:
    """Carry out a run and return its figures."""
    torch.set_num_threads(1)
    G = zmax.generator(torch.nn.Identity(), shape=(8,), modality="vector")
    with tempfile.TemporaryDirectory() as home:
        folder = Path(home) / "run"
        times = [time.monotonic()]
        zmax.maximize(G, first, "random", calls, out=folder, progress=False)
        times.append(time.monotonic())
        result = zmax.load_result(folder)
        times.append(time.monotonic())
        result.report()
        times.append(time.monotonic())
        size = sum(file.stat().st_size for file in folder.iterdir() if file.name.startswith("run.sqlite"))
    names = ("run seconds", "load seconds", "report seconds")
    spent = {name: round(b - a, 2) for name, a, b in zip(names, times[:-1], times[1:], strict=True)}
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"calls": calls, **spent, "peak MiB": round(memory), "file MiB": round(size / 2**20, 1)}


def main() -> None:
    """Measure, print and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=200_000)
    asked = parser.parse_args()
    found = measured(asked.calls)
    print(json.dumps(found, indent=1))
    if asked.calls == 200_000:
        RESULT.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
