"""A run goes on with what it was started with, or says what changed."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import pytest
import torch

import zmax
from benchmarks.faults import in_child
from tests.run.toys import first, identity, sphere
from zmax.core.errors import FailedRunError, StoreError
from zmax.run.identity import changes, code, weights_sum
from zmax.run.opening import PAIR
from zmax.store import Journal

CODE = """
import torch, zmax
from helper import shift
G = zmax.generator(torch.nn.Identity(), shape=(4,), modality="vector", name="G")
def near(x):
    return -((x - shift) ** 2).sum(1)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with code and a run of it, which began in another process."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(CODE)
    (tmp_path / "helper.py").write_text("shift = 1\n")
    assert in_child(lambda: zmax.maximize("mine.py:G", "mine.py:near", "snes", 60, out="run")) == 0
    return tmp_path


def resumed(**more: Any) -> int:
    """Resume in another process: 0, or 9 if it was refused, with the reason in `why`."""

    def work() -> None:
        try:
            zmax.resume("run", budget=80, **more)
        except StoreError as error:
            Path("why").write_text(str(error))
            os._exit(9)

    return in_child(work)


def test_what_did_not_change_goes_on(folder: Path) -> None:
    calls = zmax.load_result("run").ledger.score_calls
    assert resumed() == 0
    assert (calls, zmax.load_result("run").ledger.score_calls) == (60, 80)  # the sample scored again is not charged


@pytest.mark.parametrize(
    ("file", "text", "words"),
    [
        ("mine.py", CODE + "\n# one more line\n", ["mine.py of the generator", "mine.py of the score"]),
        ("helper.py", "shift = 2\n", ["helper.py of the score", "the score of sample 0", "is now"]),
    ],
)
def test_changed_code_is_refused_by_name_unless_that_is_accepted(
    folder: Path, file: str, text: str, words: list[str]
) -> None:
    Path(file).write_text(text)
    assert resumed() == 9
    why = Path("why").read_text()
    assert all(word in why for word in [*words, "accept_changes=True", "--accept-changes"]), why
    assert zmax.load_result("run").ledger.score_calls == 60
    assert resumed(accept_changes=True) == 0
    assert zmax.load_result("run").ledger.score_calls == 80
    assert resumed() == 0  # what was accepted is what it goes on with


def test_other_versions_are_refused(folder: Path) -> None:
    journal = Journal.open("run")
    journal.set("identity", journal.get("identity") | {"torch": "1.0", "zmax": "0.0.1"})
    journal.close()
    assert resumed() == 9
    assert "torch 1.0 is now" in Path("why").read_text()
    assert "zmax 0.0.1 is now" in Path("why").read_text()


def test_other_weights_are_refused_and_another_score_too(tmp_path: Path) -> None:
    def model() -> zmax.Generator:
        layer = torch.nn.Linear(4, 4, bias=False)
        torch.nn.init.eye_(layer.weight)
        return zmax.generator(layer, shape=(4,), modality="vector", networks=[layer])

    other = model()
    with torch.no_grad():
        other.networks[0].weight[3, 3] = 2.0  # type: ignore[index, operator]
    zmax.maximize(model(), first, "random", 40, out=tmp_path / "run")
    with pytest.raises(StoreError, match="the weights of the generator"):
        zmax.resume(tmp_path / "run", other, first)
    with pytest.raises(StoreError, match="the score of sample 0"):
        zmax.resume(tmp_path / "run", model(), sphere)
    assert zmax.resume(tmp_path / "run", model(), first, budget=50).ledger.score_calls == 50


def test_a_score_that_failed_may_be_mended_but_not_become_another(tmp_path: Path) -> None:
    def broken(x: torch.Tensor) -> torch.Tensor:
        if bool((x[:, 0] > -0.5).any()):
            raise RuntimeError("down")
        return x[:, 0]

    with pytest.raises(FailedRunError):
        zmax.maximize(identity(), broken, "random", 200, out=tmp_path / "run")
    with pytest.raises(StoreError, match="the score of sample"):
        zmax.resume(tmp_path / "run", identity(), lambda x: 3 * x[:, 0] + 1)
    assert zmax.resume(tmp_path / "run", identity(), first).stop_reason == "score_calls"


def test_checksums_see_one_weight_and_names_of_code_are_found() -> None:
    net = torch.nn.Linear(3, 2)
    before = weights_sum([net])
    with torch.no_grad():
        net.bias[1] += 1
    assert weights_sum([net]) != before
    assert changes({}, {"zmax": "1", "torch": "2", "parts": {}}) == []
    assert code("avatars-gan", "min(a.py:f, 'b c.py:g') - brightness") == ["a.py:f", "b c.py:g"]


def leave(x: torch.Tensor) -> torch.Tensor:
    if bool((x[:, 0] > 1.0).any()):
        raise SystemExit(7)
    return x[:, 0]


def test_a_score_that_exits_fails_for_its_sample_alone() -> None:
    r = zmax.maximize(identity(), leave, "random", 200)
    assert r.stop_reason == "score_calls"
    assert "SystemExit: 7" in r.history.failures.values()
    assert r.best.score <= 1.0
    with pytest.raises(FailedRunError, match="SystemExit: 1"):
        zmax.maximize(identity(), lambda x: exit(1), "random", 50)
    assert FailedRunError.exit_code == 3


class PowerCut(BaseException):
    pass


def test_a_batch_that_any_exception_cuts_short_is_charged_once(tmp_path: Path) -> None:
    calls = [0]

    def fatal(x: torch.Tensor) -> torch.Tensor:
        calls[0] += len(x)
        if calls[0] > 55:
            raise PowerCut
        return x[:, 0]

    with pytest.raises(PowerCut):
        zmax.maximize(identity(), fatal, "random", 200, batch_size=8, out=tmp_path / "run")
    assert zmax.load_result(tmp_path / "run").ledger.score_calls == 52
    assert zmax.resume(tmp_path / "run", identity(), first).ledger.score_calls == 200
    assert len(zmax.load_result(tmp_path / "run").history) == 200 - PAIR


def test_two_threads_that_share_a_generator_pay_each_their_own() -> None:
    layer = torch.nn.Linear(4, 2)
    G = zmax.generator(layer, shape=(4,), modality="vector", networks=[layer])
    alone = zmax.maximize(G, first, "random", 300, batch_size=4)
    found: dict[int, zmax.Result] = {}

    def work(number: int) -> None:
        found[number] = zmax.maximize(G, first, "random", 300, batch_size=4)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {r.ledger.nfe for r in found.values()} == {alone.ledger.nfe}
