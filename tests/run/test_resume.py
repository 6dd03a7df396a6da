"""A run that is killed at any moment goes on and ends, bit for bit, where the uninterrupted run ends."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time
from pathlib import Path

import pytest
import torch

import zmax
from tests.run.toys import identity
from zmax.core.errors import InputError, StoreError
from zmax.core.rng import Rng, stream
from zmax.core.state import dump
from zmax.run import rounds as loop
from zmax.store import Journal

METHODS = ["random", "gradient", "cma", "snes"]
KILLS = 20
BUDGET = 1500


class Logged:
    """A score that writes down every sample it is shown, before it answers."""

    def __init__(self, log: Path) -> None:
        self.log = log

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        with self.log.open("ab") as file:
            file.writelines(row.detach().numpy().tobytes().hex().encode() + b"\n" for row in x)
        time.sleep(0.002)
        return -(x - 1).square().sum(1)


def work(folder: Path, log: Path, method: str, checkpoint_seconds: float) -> None:
    torch.set_num_threads(1)
    loop.CHECKPOINT_SECONDS, loop.CHECKPOINT_SHARE = checkpoint_seconds, 1.0
    generator, score = identity(), zmax.score(Logged(log), differentiable=True, name="logged")
    if (folder / "run.sqlite").exists():
        zmax.resume(folder, generator, score, progress=False)
    else:
        zmax.maximize(generator, score, method, BUDGET, batch_size=5, out=folder, progress=False)


def kill_and_resume(folder: Path, log: Path, method: str, checkpoint_seconds: float, chance: random.Random) -> int:
    """Kill the run at random moments until it has died KILLS times, then let it end; return the kills."""
    context = multiprocessing.get_context("fork")
    kills = 0
    while True:
        process = context.Process(target=work, args=(folder, log, method, checkpoint_seconds))
        process.start()
        if kills < KILLS:
            process.join(chance.uniform(0.005, 0.06))
            if process.is_alive():
                os.kill(process.pid, signal.SIGKILL)
                kills += 1
        process.join()
        if process.exitcode == 0:
            return kills


@pytest.mark.parametrize("checkpoint_seconds", [0.02, 1e9])
@pytest.mark.parametrize("method", METHODS)
def test_sigkill_at_random_moments_loses_nothing_and_repeats_nothing(method, checkpoint_seconds, tmp_path, monkeypatch):
    for name in ("CHECKPOINT_SECONDS", "CHECKPOINT_SHARE"):  # `work` sets them for the child that it is meant for
        monkeypatch.setattr(loop, name, getattr(loop, name))
    monkeypatch.setattr(loop, "DEATHS", 10**9)  # batches cut short twice go one by one, which rounds otherwise
    torch.set_num_threads(1)
    work(tmp_path / "whole", tmp_path / "whole.log", method, 1e9)
    chance = random.Random(f"{method} {checkpoint_seconds}")
    kills = kill_and_resume(tmp_path / "killed", tmp_path / "killed.log", method, checkpoint_seconds, chance)
    assert kills == KILLS

    whole, killed = Journal.open(tmp_path / "whole"), Journal.open(tmp_path / "killed")
    for a, b in zip(whole.chunks(), killed.chunks(), strict=True):
        assert (a.round, a.offset, a.first_id, a.failures) == (b.round, b.offset, b.first_id, b.failures)
        assert torch.equal(a.u, b.u)
        assert torch.equal(a.score, b.score)
        assert torch.equal(a.plausibility, b.plausibility)
    ids = [i for c in killed.chunks() for i in range(c.first_id, c.first_id + len(c.score))]
    assert ids == list(range(len(ids)))  # none lost, none twice
    for role in ("leader", "reference"):
        for a, b in zip(whole.kept(role), killed.kept(role), strict=True):
            assert (a.id, a.score) == (b.id, b.score)
            assert torch.equal(a.sample, b.sample)
    assert whole.last_checkpoint().state == killed.last_checkpoint().state

    shown, once = (tmp_path / "killed.log").read_text().split(), (tmp_path / "whole.log").read_text().split()
    assert set(shown) >= set(once)
    assert len(shown) - len(once) <= KILLS * 22  # only what was in flight when a kill struck (a batch, or the opening)


def test_a_run_of_objects_asks_for_them(tmp_path):
    zmax.maximize(identity(), zmax.score(lambda x: x[:, 0]), "random", 50, out=tmp_path / "run")
    with pytest.raises(InputError, match="generator and score of this run"):
        zmax.resume(tmp_path / "run")


def test_a_method_that_proposes_other_points_is_found_out(tmp_path):
    class Stop:
        def started(self, spec): ...
        def finished(self, reason): ...
        def updated(self, snapshot):
            if snapshot.ledger.score_calls > 60:
                raise MemoryError("killed")

    with pytest.raises(MemoryError):
        zmax.maximize(identity(), lambda x: x[:, 0], "random", 100, out=tmp_path / "run", progress=Stop())
    journal = Journal.open(tmp_path / "run")
    journal.set("spec", {**journal.get("spec"), "seed": 1})
    journal.close()
    with pytest.raises(StoreError, match="other points"):
        zmax.resume(tmp_path / "run", identity(), lambda x: x[:, 0])


def test_a_finished_run_resumes_to_itself(tmp_path):
    first = zmax.maximize(identity(), lambda x: x[:, 0], "snes", 200, out=tmp_path / "run")
    again = zmax.resume(tmp_path / "run", identity(), lambda x: x[:, 0])
    assert again.ledger.score_calls == first.ledger.score_calls
    assert [e.id for e in again.top()] == [e.id for e in first.top()]


def test_there_must_be_a_run(tmp_path):
    with pytest.raises(InputError, match="no run in"):
        zmax.resume(tmp_path)


def test_a_named_generator_without_networks_stays_where_it_is(tmp_path):
    (tmp_path / "mine.py").write_text(
        "import zmax\nfrom zmax.core.space import Space\n"
        "class Plain(zmax.Generator):\n"
        "    space = Space.of((3,))\n"
        "    def decode(self, z):\n        return z\n"
    )
    zmax.maximize(f"{tmp_path}/mine.py:Plain", lambda x: x[:, 0], "random", 50, out=tmp_path / "run")
    again = zmax.resume(tmp_path / "run", score=lambda x: x[:, 0], budget=60)
    assert (again.spec.device, again.ledger.score_calls) == ("cpu", 60)


def test_slow_checkpoints_take_at_most_a_hundredth_of_the_time(monkeypatch):
    now, saved = [0.0], []
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 5.0)
    monkeypatch.setattr(loop, "CHECKPOINT_SHARE", 0.01)

    def checkpoint(journal, position):
        saved.append(now[0])
        now[0] += 2.0

    monkeypatch.setattr(Journal, "checkpoint", checkpoint)
    monkeypatch.setattr(loop.time, "monotonic", lambda: now[0])
    checkpoints = loop.Checkpoints(Journal.create(None, {}))
    for step in range(1000):
        now[0] += 1.0
        checkpoints.save(step, step, lambda: dump(Rng.of(stream(0))))
    assert saved[0] == 5.0
    assert 2.0 * len(saved) <= 0.01 * now[0] + 2.0
