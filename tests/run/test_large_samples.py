"""Large samples of leaders stay in memory until a checkpoint, and a killed run makes them again, bit for bit."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from PIL import Image

import zmax
from tests.run.test_deaths import in_child
from zmax.core.global_random import left_as_found
from zmax.core.rng import stream
from zmax.run import rounds
from zmax.store import Journal, records
from zmax.store.samples import UNWRITTEN

SIDE = 80
CALLS = 160


def pictures() -> zmax.Generator:
    """Pictures of 77 kB, of which alone and in a batch the last bits differ."""
    weight = torch.randn(8, 3 * SIDE * SIDE, generator=stream(0, "weights"))

    def decode(z):
        return (z @ weight).sigmoid().reshape(-1, 3, SIDE, SIDE) * (1 + 1e-6 * len(z))

    return zmax.generator(decode, shape=(8,), modality="image", name="pictures", differentiable=True)


class Dying:
    """The mean of a picture; kills the process at some call."""

    def __init__(self, at: int = 0) -> None:
        self.at, self.calls = at, 0

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        if self.calls == self.at:
            os.kill(os.getpid(), signal.SIGKILL)
        return x.flatten(1).mean(1)


def work(score, folder: Path | None, method: str, checkpoint_seconds: float):
    torch.set_num_threads(1)
    rounds.CHECKPOINT_SECONDS = rounds.CHECKPOINT_SHARE = checkpoint_seconds
    made = zmax.score(score, differentiable=True, name="mean")
    if folder is not None and folder.exists():
        return zmax.resume(folder, pictures(), made)
    return zmax.maximize(pictures(), made, method, CALLS, batch_size=8, keep=7, out=folder)


@pytest.mark.parametrize("checkpoint_seconds", [100.0, 1e-9])
@pytest.mark.parametrize("method", ["random", "gradient"])
def test_a_killed_run_ends_with_the_same_samples(method, checkpoint_seconds, tmp_path):
    whole = work(Dying(), None, method, 100.0)
    folder = tmp_path / "run"
    assert in_child(lambda: work(Dying(at=14), folder, method, checkpoint_seconds)) == -signal.SIGKILL
    killed = zmax.load_result(folder)
    lost = [e for e in killed.leaders if not e.whole]
    assert all(e.sample == UNWRITTEN for e in lost)
    if checkpoint_seconds == 100.0:
        assert lost
        assert "zmax resume makes it again" in killed.report().read_text()
    r = work(Dying(), folder, method, 100.0)
    for found in (r, zmax.load_result(folder)):
        assert [e.id for e in found.leaders] == [e.id for e in whole.leaders]
        assert all(torch.equal(a.sample, b.sample) for a, b in zip(found.leaders, whole.leaders, strict=True))
    assert not Journal.open(folder).shelf.due()
    assert r.ledger.counted == whole.ledger.counted


class Stop(zmax.run.progress.Silent):
    """Raises at some batch."""

    def __init__(self, error: type[BaseException]) -> None:
        self.left, self.error = 14, error

    def updated(self, snapshot):
        self.left -= 1
        if not self.left:
            raise self.error


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError, SystemExit])
def test_a_run_that_is_stopped_has_all_samples(error, tmp_path):
    with suppress(MemoryError, SystemExit):
        zmax.maximize(pictures(), Dying(), "random", CALLS, batch_size=8, out=tmp_path / "run", progress=Stop(error))
    leaders = zmax.load_result(tmp_path / "run").leaders
    assert len(leaders) == 16
    assert all(isinstance(e.sample, torch.Tensor) and e.whole for e in leaders)


@pytest.mark.parametrize("kind", ["tensor", "array", "pil"])
def test_a_picture_is_written_once_a_checkpoint(kind, tmp_path, monkeypatch):
    written: list[object] = []
    pack = records.pack_sample
    monkeypatch.setattr(records, "pack_sample", lambda sample: (written.append(sample), pack(sample))[1])
    bytes_of = pictures()

    def decode(z):
        x = bytes_of.decode(z)
        turned = (x * 255).byte().permute(0, 2, 3, 1).numpy()
        return {"tensor": x, "array": x.numpy(), "pil": [Image.fromarray(row) for row in turned]}[kind]

    rising = iter(range(10**6))
    G = zmax.generator(decode, shape=(8,), name="pictures")
    S = zmax.score(lambda x: [float(next(rising)) for _ in x], differentiable=False, noisy=True)
    monkeypatch.setattr(rounds, "CHECKPOINT_SECONDS", 100.0)
    with left_as_found():
        zmax.maximize(G, S, "random", 400, batch_size=8, keep=4, out=tmp_path / "run")
    reference, most = 16, 4
    assert len(written) <= reference + most * 4  # leaders of the reference, of the end, of the repeats and before them
