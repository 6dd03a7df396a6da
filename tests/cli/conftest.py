"""A folder with toy models and scores, and the program run in this process or in another."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from zmax.cli.program import run
from zmax.results import Result, TuneResult

TOY = """
import os
import time
from pathlib import Path

import torch
import zmax
from zmax.testing.trained import PointNetwork

G = zmax.generator(torch.nn.Identity(), shape=(4,), modality="vector", name="G")
blind = zmax.generator(lambda z: z.numpy(), shape=(4,), modality="vector", differentiable=False, name="blind")
words = zmax.generator(lambda z: ["ab" * int(1 + abs(v)) for v in z[:, 0]], shape=(4,), modality="text", name="words")
misfit = zmax.generator(torch.nn.Linear(5, 2), shape=(4,), modality="vector", name="misfit")
number = 3

linear = torch.nn.Linear(4, 2)
with torch.no_grad():
    linear.weight.copy_(torch.eye(4)[:2])
    linear.bias.zero_()
tunable = zmax.generator(linear, shape=(4,), modality="vector", name="tunable")
total = zmax.score(lambda x: x.sum(1), differentiable=True, name="total")

flow = zmax.diffusion(
    PointNetwork(2, 8, torch.Generator().manual_seed(0)), shape=(2,), schedule="rectified-flow", steps=3,
    parametrisation="velocity", modality="vector", name="flow",
)


def failing(x):
    if Path("broken").exists():
        Path("calls").write_text(Path("calls").read_text() + "." * len(x))
        if len(Path("calls").read_text()) > 40:
            raise RuntimeError("the oracle is down")
    return x.sum(1)


sick = zmax.score(failing, differentiable=True, name="sick")


def near(x):
    return -((x - 1) ** 2).sum(1)


def first(x):
    return x[:, 0]


def length(texts):
    return torch.tensor([float(len(t)) for t in texts])


def short(x):
    return x[1:, 0]


def slow(x):
    time.sleep(float(os.environ.get("TOY_SLEEP", "0")))
    return near(x)


def chatty(x):
    print("noise from python")
    os.system("echo noise from a program")
    return near(x)


def breakable(x):
    if Path("broken").exists() and (x[:, 0] > -99).all():
        Path("calls").write_text(Path("calls").read_text() + "." * len(x))
        if len(Path("calls").read_text()) > 60:
            raise RuntimeError("the oracle is down")
    return near(x)


def boom(z):
    raise ValueError("no such picture")


bomb = zmax.generator(boom, shape=(4,), differentiable=False, name="bomb")


def factory_that_raises():
    raise RuntimeError("weights are missing")
"""


@dataclass(frozen=True)
class Said:
    """What one command line did."""

    code: int
    out: str
    err: str


Zmax = Callable[..., Said]


@pytest.fixture
def toys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a working directory that holds toy.py."""
    (tmp_path / "toy.py").write_text(TOY)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def zmax(toys: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Zmax:
    """Run command lines in this process, with pages that cost nothing."""

    def page(result: Result, file: Path) -> Path:
        file.write_text(f"{result.best.score}")
        return file

    def tuned_page(result: TuneResult, file: Path) -> Path:
        file.write_text(f"{result.chosen}")
        return file

    def samples(result: Result | TuneResult, folder: Path) -> None:
        folder.mkdir(exist_ok=True)

    monkeypatch.setattr("zmax.report.write_report", page)
    monkeypatch.setattr("zmax.report.export_samples", samples)
    monkeypatch.setattr("zmax.report.tuning.write_tuning", tuned_page)
    monkeypatch.setattr("zmax.report.conditioning.write_conditioning", tuned_page)

    def call(*words: str) -> Said:
        capfd.readouterr()
        code = run(words)
        return Said(code, *capfd.readouterr())

    return call


def start(*words: str, folder: Path, sleep: float = 0.0) -> subprocess.Popen[str]:
    """Start the program in a process of its own, as a shell does."""
    return subprocess.Popen(
        [sys.executable, "-m", "zmax", *words],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", "TOY_SLEEP": str(sleep), "MPLBACKEND": "agg"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=_foreground,
    )


def _foreground() -> None:
    """Listen to Ctrl-C even where the test suite itself runs in the background."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
