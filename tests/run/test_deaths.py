"""The process that scores is killed, or killed by a sample: nothing is lost, and the sample is found."""

from __future__ import annotations

import math
import os
import signal
import traceback
import warnings
from pathlib import Path

import pytest
import torch

import zmax
from tests.run.toys import Oracle, identity, same, single
from zmax.run.opening import PAIR


def in_child(work) -> int:
    """Do some work in a copy of this process, and return how it ended."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forks; the work starts no threads
        child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException:  # noqa: BLE001 - a copy of pytest must not go on
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


class Logged:
    """Writes down what it is asked, and ends the process at some call, or at one sample."""

    def __init__(self, log: Path, *, at: int = 0, poison: float = math.nan) -> None:
        self._log, self._at, self._poison = log, at, poison

    def __call__(self, x: torch.Tensor) -> float:
        with self._log.open("a") as log:
            log.write(f"{float(x[0])!r}\n")
        if len(self.asked()) == self._at:
            os.kill(os.getpid(), signal.SIGKILL)
        if float(x[0]) == self._poison:
            os._exit(9)
        return float(x[0])

    def asked(self) -> list[float]:
        return [float(line) for line in self._log.read_text().split()]


def go(score, folder) -> None:
    """Start a run in the folder, or go on with it."""
    if folder.exists():
        zmax.resume(folder, identity(), score)
    else:
        zmax.maximize(identity(), score, "random", budget=120, seed=0, out=folder, guard="report")


@pytest.mark.parametrize("at", [20, 57])
def test_a_killed_run_asks_again_only_for_the_sample_that_was_running(tmp_path, at):
    folder, log = tmp_path / "run", tmp_path / "log"
    oracle = Oracle()
    whole = zmax.maximize(identity(), single(oracle), "random", budget=120, seed=0, guard="report")
    assert in_child(lambda: go(single(Logged(log, at=at)), folder)) == -signal.SIGKILL
    go(single(Logged(log)), folder)
    assert same(zmax.load_result(folder), whole)
    asked = Logged(log).asked()
    assert asked[: at - 1] + asked[at + 1 :] == oracle.asked
    assert asked[at] == oracle.asked[0], "to see that S is what it was, without charge"


@pytest.mark.parametrize("how", ["single", "batch"])
def test_a_sample_that_kills_the_process_is_found_and_recorded_as_failed(tmp_path, how):
    folder, log = tmp_path / "run", tmp_path / "log"
    whole = zmax.maximize(identity(), lambda x: x[:, 0], "random", budget=120, seed=0, guard="report")
    fn = Logged(log, poison=whole.history.score[50])
    score = single(fn) if how == "single" else zmax.score(lambda x: [fn(row) for row in x], name="oracle")
    assert [in_child(lambda: go(score, folder)) for _ in range(4)] == [9, 9, 9, 0]
    result = zmax.load_result(folder)
    assert list(result.history.failures) == [50]
    assert "the process died 3 times" in result.history.failures[50]
    good = [i for i in range(120 - PAIR) if i != 50]
    assert result.history.score[good].tolist() == whole.history.score[good].tolist()
    assert result.ledger.score_calls == 120
    if how == "single":
        assert len(fn.asked()) == 119 + 3 + 3, "that sample three times, and one without charge at each resume"
