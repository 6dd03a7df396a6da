"""Processes that score: which answer belongs to which sample, and what becomes of one that raises, dies or is late."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections import Counter
from pathlib import Path

import pytest
import torch

import zmax
from zmax.core.errors import InputError, WorkerError
from zmax.core.imports import load_attribute
from zmax.run.progress import Silent
from zmax.scores.workers import Workers

ORACLE = """
import os, signal, time
from pathlib import Path

LOG = Path(__file__).with_name("log")


class Thing:
    def __init__(self, n):
        self.n = n


def oracle(word):
    with LOG.open("a") as log:
        log.write(f"{word} {os.getpid()}\\n")
    what, _, seconds = word.partition(" ")
    time.sleep(float(seconds or 0.01))
    if what == "raise":
        raise ValueError("no")
    if what == "exit":
        os._exit(3)
    if what == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    print("noise")
    return float(len(what))


def size(thing):
    return thing.n


def total(x):
    return x.sum()
"""


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("oracle") / "costly_oracle.py"
    path.write_text(ORACLE)
    return path


def made(file: Path, name: str = "oracle", **options):
    (file.parent / "log").write_text("")
    return zmax.score(load_attribute(f"{file}:{name}"), per_sample=True, **{"workers": 2, **options})


def asked(file: Path) -> list[tuple[str, int]]:
    lines = [line.rpartition(" ") for line in (file.parent / "log").read_text().splitlines()]
    return [(word, int(process)) for word, _, process in lines]


def test_answers_come_as_they_are_known_and_belong_to_their_samples(file, capfd):
    S, words = made(file), ["aaaa 0.6", "bb", "c", "ddd"]
    answers = list(S.answers(words))
    assert {a.row: float(a.value) for a in answers} == {0: 4.0, 1: 2.0, 2: 1.0, 3: 3.0}
    assert answers[-1].row == 0
    assert [a.running for a in answers][-1] == 0
    assert max(a.running for a in answers) == 2
    assert len({process for _, process in asked(file)}) == 2
    assert S(words[1:]).tolist() == [2.0, 1.0, 3.0]
    S.close()
    assert capfd.readouterr().out == ""


def test_one_that_raises_dies_crashes_or_is_late_fails_alone_and_once(file):
    S = made(file, timeout=0.7)
    words = ["raise", "aa", "exit", "bbb", "crash", "late 60", "c", "dd"]
    began = time.monotonic()
    answers = {a.row: a for a in S.answers(words)}
    assert time.monotonic() - began < 30
    assert {i: a.failure for i, a in answers.items() if a.failure} == {
        0: "ValueError: no",
        2: "the worker that scored it died (exit code 3)",
        4: "the worker that scored it died (signal 11: Segmentation fault)",
        5: "no answer within 0.7 s: its worker was ended",
    }
    assert [float(answers[i].value) for i in (1, 3, 6, 7)] == [2.0, 3.0, 1.0, 2.0]
    assert Counter(word for word, _ in asked(file)) == Counter(words)
    S.close()


def test_samples_of_classes_of_the_file_and_tensors_reach_the_workers(file):
    thing = load_attribute(f"{file}:Thing")
    S = made(file, "size")
    assert S([thing(3), thing(5)]).tolist() == [3.0, 5.0]
    S.close()
    T = made(file, "total", workers=1)
    x = torch.arange(6.0).reshape(3, 2).requires_grad_()
    assert T(x).tolist() == [1.0, 5.0, 9.0]
    assert T.differentiable is False
    T.close()


def test_an_idle_worker_that_was_killed_is_replaced(file):
    S = made(file)
    S(["a", "b"])
    for process in {process for _, process in asked(file)}:
        os.kill(process, signal.SIGKILL)
    time.sleep(0.1)
    assert S(["aa", "b", "ccc"]).tolist() == [2.0, 1.0, 3.0]
    S.close()


def test_workers_end_with_whoever_stops_listening(file):
    S = made(file)
    answers = S.answers(["a", "bb 60"])
    assert next(answers).row == 0
    answers.close()
    S.close()
    assert not [child for child in multiprocessing.active_children() if child.name == "score oracle"]


def test_what_cannot_be_handed_over_is_refused_at_once():
    with pytest.raises(InputError, match="def"):
        zmax.score(lambda x: 1.0, per_sample=True, workers=2)
    with pytest.raises(InputError, match="per_sample=True"):
        zmax.score(len, workers=2)
    with pytest.raises(InputError, match="gradient"):
        zmax.score(len, per_sample=True, workers=2, differentiable=True)
    with pytest.raises(InputError, match="positive int"):
        zmax.score(len, per_sample=True, workers=0)
    with pytest.raises(InputError, match="per_sample=True"):
        zmax.load_score("brightness + colourfulness").hire(2)


class Unloadable:
    def __reduce__(self):
        return (exec, ("raise ImportError('not here')",))

    def __call__(self, x):
        return 1.0


def test_a_function_that_no_worker_can_load_ends_the_run():
    with pytest.raises(WorkerError, match=r"not here.*\n.*__main__"):
        list(Workers(Unloadable(), 2, None, "mine").answers(["a"]))


class Running(Silent):
    """Sees how many samples are being scored."""

    def __init__(self) -> None:
        self.running: list[int] = []

    def updated(self, snapshot) -> None:
        self.running.append(snapshot.running)


def test_a_run_with_workers_is_the_run_without(file):
    G = zmax.generator(lambda z: ["x" * int(1 + 9 * abs(v)) for v in z[:, 0]], shape=(4,), modality="text")
    runs, seen = [], Running()
    for workers in (None, 2):
        S = made(file, workers=workers)
        runs.append(zmax.maximize(G, S, "random", budget=12, seed=0, progress=seen))
    assert max(seen.running) == 2
    assert runs[0].history.score.tolist() == runs[1].history.score.tolist()
    assert runs[0].ledger.score_calls == runs[1].ledger.score_calls == 12
    assert (runs[0].spec.workers, runs[1].spec.workers) == (None, 2)
