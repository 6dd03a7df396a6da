"""The kinds of run that :mod:`benchmarks.faults` kills: small ones, which take a tenth of a second."""

from __future__ import annotations

import hashlib
import sqlite3
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import zmax
from zmax.core.rng import stream
from zmax.store import FILE
from zmax.testing import linear_gaussian
from zmax.testing.trained import PointNetwork


def vectors() -> zmax.Generator:
    """A linear generator of eight values."""
    return linear_gaussian(torch.eye(8), torch.zeros(8)).generator()


def flow() -> zmax.Generator:
    """A flow model of points, of random weights."""
    network = PointNetwork(2, 8, stream(0, "faults"))
    return zmax.diffusion(
        network, shape=(2,), schedule="rectified-flow", steps=3, parametrisation="velocity", modality="vector"
    )


def pairs() -> zmax.Generator:
    """Samples that no file holds whole: objects."""

    class Pair:
        def __init__(self, x: Tensor) -> None:
            self.x = x

        def __repr__(self) -> str:
            return f"Pair({self.x.tolist()})"

    def decode(z: Tensor) -> list[Pair]:
        return [Pair(row) for row in z]

    return zmax.generator(decode, shape=(4,), modality="other", differentiable=False, name="pairs")


def near(x: Tensor) -> Tensor:
    """Minus the squared distance to (1, ..., 1)."""
    return -(x - 1).square().sum(1)


def fooled(x: Tensor) -> Tensor:
    """What a judge says that does not rise with `near`."""
    return -x.square().sum(1)


def sick(x: Tensor) -> Tensor:
    """Fails on most of what is good."""
    if bool((x[:, 0] > 0.5).any()):
        raise RuntimeError("too high")
    return x[:, 0]


def halves(x: Tensor) -> dict[str, Tensor]:
    """Descriptors of a sample."""
    return {"left": x[:, 0].sigmoid(), "right": x[:, 1].sigmoid()}


@dataclass(frozen=True)
class Noisy:
    """A score whose noise depends on the sample and on how many repeats the journal holds, and so can be repeated."""

    folder: Path

    def __call__(self, x: Tensor) -> Tensor:
        """Return `near` with noise."""
        done = 0
        if (self.folder / FILE).exists():
            reader = sqlite3.connect(f"file:{self.folder / FILE}?mode=ro", uri=True)
            done = reader.execute("SELECT COUNT(*) FROM repeats").fetchone()[0]
            reader.close()
        bits = [hashlib.blake2b(row.numpy().tobytes() + bytes([done % 256]), digest_size=4).digest() for row in x]
        return near(x) + torch.tensor([int.from_bytes(bit, "big") / 2**32 for bit in bits])


@dataclass(frozen=True)
class Kind:
    """A kind of run.

    Attributes:
        method: its method.
        settings: of the verb.
        verb: its name.
        generator: makes G.
        score: makes S for a run in that folder.
        held_out: the judge.
    """

    method: Callable[[], Any]
    settings: dict[str, Any] = field(default_factory=dict)
    verb: str = "maximize"
    generator: Callable[[], zmax.Generator] = vectors
    score: Callable[[Path], Any] = lambda folder: zmax.score(near, differentiable=True, name="near")
    held_out: Any = None

    def start(self, folder: Path) -> None:
        """Start a run there."""
        with warnings.catch_warnings(action="ignore"):
            verb = getattr(zmax, self.verb)
            asked = {"budget": 160, "batch_size": 16, "seed": 1, "progress": False, "out": folder} | self.settings
            verb(self.generator(), self.score(folder), method=self.method(), held_out=self.held_out, **asked)

    def resume(self, folder: Path) -> None:
        """Go on with it."""
        method = None if isinstance(self.method(), str) else self.method()
        with warnings.catch_warnings(action="ignore"):
            zmax.resume(folder, self.generator(), self.score(folder), self.held_out, method=method, progress=False)


def named(name: str) -> Callable[[], str]:
    return lambda: name


def objects(folder: Path) -> zmax.Score:
    return zmax.score(lambda pairs: near(torch.stack([pair.x for pair in pairs])), name="objects")


def sickly(folder: Path) -> zmax.Score:
    return zmax.score(sick, differentiable=False, name="sick")


def judged(pairs: list[Any]) -> Tensor:
    return fooled(torch.stack([pair.x for pair in pairs]))


LEARN = {"budget": 120, "draws": 40, "checked": 20, "fresh": 8, "looks": 2}
STEPS = {"params": {"steps": 24, "batch": 8, "asks": 1, "asked": 8}}

KINDS: dict[str, Kind] = {
    "random": Kind(named("random")),
    "cma": Kind(named("cma")),
    "gradient": Kind(named("gradient"), {"params": {"batch": 16}}),
    "halving": Kind(named("halving")),
    "particles": Kind(named("fk"), {"params": {"particles": 8}}, generator=flow),
    "held-out": Kind(named("snes"), held_out=fooled),
    "patience": Kind(named("snes"), {"budget": 400, "patience": 3}, held_out=fooled),
    "plateau": Kind(named("random"), {"budget": 400, "patience": 2}),
    "noisy": Kind(
        named("snes"), {"budget": 320}, score=lambda folder: zmax.score(Noisy(folder), noisy=True, name="noisy")
    ),
    "failing": Kind(named("snes"), score=sickly),
    "failed": Kind(named("snes"), {"max_failures": 0.2}, score=sickly),
    "mcmc": Kind(named("pcn"), {"temperature": 1.0, "keep": 8}, "sample", held_out=fooled),
    "isir": Kind(named("isir"), {"temperature": 1.0, "keep": 8}, "sample"),
    "finetune": Kind(
        named("direct"),
        {"budget": 120, "looks": 2, "rate": 3e-3, "params": {"batch": 8}},
        "finetune",
        flow,
        held_out=fooled,
    ),
    "ranked": Kind(
        named("ranked"),
        {"budget": 120, "looks": 2, "rate": 3e-3, "params": {"batch": 8, "rows": 16}},
        "finetune",
        flow,
    ),
    "condition": Kind(named("flow"), LEARN | STEPS, "condition", flow, held_out=fooled),
    "elites": Kind(lambda: zmax.search.CMAMAE(descriptor=halves, cells=3, population=8)),
    "natural": Kind(named("snes"), {"guard": "natural"}, generator=flow),
    "objects": Kind(named("snes"), generator=pairs, score=objects, held_out=judged),
}
