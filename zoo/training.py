"""What all recipes share: batches, averages of weights, checkpoints that resume, and the file that is shipped."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from zoo.data import BUILD, Split

SOURCE = Path(__file__).parent.parent / "src" / "zmax"


def folder(name: str) -> Path:
    """Where the zoo of generators or of scores keeps `weights/` and `cards/` of `name`."""
    return SOURCE / ("generators" if name.startswith("avatars-") else "scores") / "zoo"


def tensors(split: Split) -> tuple[Tensor, Tensor]:
    """Images (n, 3, 16, 16) in [0, 1] and labels (n, heads)."""
    images = torch.from_numpy(np.ascontiguousarray(split.images.transpose(0, 3, 1, 2))).float() / 255
    return images, torch.from_numpy(split.labels.astype(np.int64))


def build(kind: type[nn.Module], seed: int, **arguments: Any) -> nn.Module:
    """A network whose first weights are a function of `seed` alone."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)  # noqa: TID251
        return kind(**arguments)


class Batches:
    """Endless shuffled indices, epoch by epoch; resumable because its whole state is the step number and the seed."""

    def __init__(self, size: int, batch: int, seed: int) -> None:
        self.size, self.batch, self.seed = size, batch, seed

    def at(self, step: int) -> Tensor:
        """The indices of one step."""
        epoch, place = divmod(step, self.size // self.batch)
        order = np.random.default_rng([self.seed, epoch]).permutation(self.size)
        return torch.from_numpy(order[place * self.batch : (place + 1) * self.batch])


def step_generator(seed: int, step: int) -> torch.Generator:
    """The random stream of one step, so that a resumed run draws what the uninterrupted run draws."""
    return torch.Generator().manual_seed(seed * 1_000_003 + step)


@torch.no_grad()
def average(into: nn.Module, model: nn.Module, decay: float) -> None:
    """Exponential moving average of the weights: into <- decay * into + (1 - decay) * model."""
    for mean, value in zip(into.parameters(), model.parameters(), strict=True):
        mean.lerp_(value, 1 - decay)


class Run:
    """One training run: its steps, its checkpoint, its clock.

    Args:
        name: Name of the weights, such as `avatars-gan`.
        steps: When to stop.
        parts: What a checkpoint holds: modules and optimisers by name.
        every: Steps between checkpoints.
    """

    def __init__(self, name: str, steps: int, parts: Mapping[str, Any], *, every: int = 500) -> None:
        self.name, self.steps, self.parts, self.every = name, steps, parts, every
        self.path = BUILD / f"{name}.pt"
        self.seconds = 0.0
        self.first = 0
        if self.path.exists():
            saved = torch.load(self.path, weights_only=True)
            self.first, self.seconds = saved["step"], saved["seconds"]
            for key, part in parts.items():
                part.load_state_dict(saved[key])
            print(f"{name}: resumed at step {self.first}", flush=True)

    def __iter__(self) -> Iterator[int]:
        """Steps still to do; saves a checkpoint every so often and at the end."""
        started, before = time.perf_counter(), self.seconds
        for step in range(self.first, self.steps):
            yield step
            self.seconds = before + time.perf_counter() - started
            if (step + 1) % self.every == 0 or step + 1 == self.steps:
                self._save(step + 1)

    def _save(self, step: int) -> None:
        state = {key: part.state_dict() for key, part in self.parts.items()}
        temporary = self.path.with_suffix(".tmp")
        torch.save({"step": step, "seconds": self.seconds, **state}, temporary)
        temporary.replace(self.path)


def ship(name: str, model: nn.Module, arguments: Mapping[str, Any], run: Run, step: int) -> None:
    """Writes `weights/<name>.safetensors` in float16, with the constructor's arguments, and a note on the training."""
    path = folder(name) / "weights" / f"{name}.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    weights = {key: value.detach().half().contiguous() for key, value in model.state_dict().items()}
    temporary = path.with_suffix(".tmp")
    save_file(weights, temporary, metadata={"arguments": json.dumps(arguments)})
    temporary.chmod(0o644)
    temporary.replace(path)
    note = {"steps": step, "seconds": round(run.seconds), "parameters": sum(p.numel() for p in model.parameters())}
    (BUILD / f"{name}.training.json").write_text(json.dumps(note))
