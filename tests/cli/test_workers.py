"""Other processes on the command line: ours that score, and those that the user's own code starts."""

from __future__ import annotations

import json
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Zmax
from zmax.cli import program
from zmax.results import load_result

ORACLE = """
import os


def length(word):
    if os.path.exists("broken"):
        raise ValueError("no licence")
    print("noise")
    return float(len(word))
"""

SCORE = """
import zmax
from oracle import length

each = zmax.score(length, per_sample=True, noisy=True, name="length")
"""


@pytest.fixture
def oracle(toys: Path) -> Path:
    (toys / "oracle.py").write_text(ORACLE)
    (toys / "scores.py").write_text(SCORE)
    return toys


def test_workers_are_asked_for_by_number_recorded_and_repeated(oracle: Path, zmax: Zmax) -> None:
    words = ["maximize", "-g", "toy.py:words", "-s", "scores.py:each", "-n", "24", "-m", "random", "--out", "run"]
    said = zmax(*words, "--workers", "2", "--json")
    assert said.code == 0
    found = json.loads(said.out)
    assert "--workers 2" in found["command"]
    assert found["ledger"]["score_calls"] == 24
    assert load_result(oracle / "run").spec.workers == 2
    assert zmax("resume", "run", "-n", "8", "--workers", "1", "--max-failures", "0.75").code == 0
    spec = load_result(oracle / "run").spec
    assert (spec.workers, spec.max_failures, spec.budget.score_calls) == (1, 0.75, 32)


def test_workers_of_a_score_of_batches_are_refused(oracle: Path, zmax: Zmax) -> None:
    said = zmax("maximize", "-g", "toy.py:G", "-s", "toy.py:near", "-n", "24", "--workers", "2")
    assert said.code == 2
    assert "per_sample=True" in said.err


def test_what_a_file_holds_is_found_by_processes_that_its_own_code_spawns(oracle: Path) -> None:
    from zmax.core.imports import load_attribute

    (oracle / "own_oracle.py").write_text("def double(x):\n    return 2 * x\n")
    double = load_attribute("own_oracle.py:double")
    code = "import pickle, sys; from pathlib import Path; print(pickle.loads(Path(sys.argv[1]).read_bytes())(4))"
    (oracle / "pickled").write_bytes(pickle.dumps(double))
    words = [sys.executable, "-c", code, str(oracle / "pickled")]
    environment = {**os.environ, "PYTHONPATH": str(oracle)}  # multiprocessing hands over all of sys.path
    assert subprocess.run(words, env=environment, capture_output=True, text=True, check=True).stdout == "8\n"
    assert str(oracle) in sys.path


def test_a_forked_child_can_be_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    ours: list[object] = []

    def run(words: list[str]) -> int:
        ours.append(signal.getsignal(signal.SIGTERM))
        child = multiprocessing.get_context("fork").Process(target=signal.pause)
        child.start()
        child.terminate()
        child.join(10)
        ours.append(child.exitcode)
        return 0

    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(program, "run", run)
    with pytest.raises(SystemExit):
        program.main()
    assert ours[0] is not before
    assert ours[1] == -signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) is before
