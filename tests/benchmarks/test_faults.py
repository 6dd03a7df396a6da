"""A short form of `make faults`: one write of each kind of run, at which it is killed, resumed and compared."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch

from benchmarks.fault_kinds import KINDS
from benchmarks.faults import differences, in_child, kill_at_writes, tried


@pytest.mark.parametrize("name", KINDS)
def test_a_run_killed_at_a_write_ends_where_the_undisturbed_run_ends(name: str) -> None:
    chance = random.Random(name)
    found = kill_at_writes(KINDS[name], lambda writes: [chance.randrange(writes // 4, writes - 2)])
    assert found["kills"] == 1
    assert found["differ"] == {}
    assert found["exit code"] == (3 if name == "failed" else 0)


def test_what_differs_is_found() -> None:
    one = {"a": [torch.ones(2), 1.0], "b": {1: float("nan")}}
    assert list(differences(one, {"a": [torch.ones(2), 1.0], "b": {1: float("nan")}})) == []
    assert list(differences(one, {"a": [torch.tensor([1.0, 2.0]), 1.0], "b": {1: float("nan")}})) == ["/a/0"]
    assert list(differences(one, {"a": [torch.ones(2), 1], "b": {1: 0.0}})) == ["/a/1: 1.0 and 1", "/b/1: nan and 0.0"]


def test_a_run_that_differs_is_noticed(tmp_path: Path) -> None:
    code = in_child(lambda: KINDS["random"].start(tmp_path / "whole"))
    found = tried(KINDS["random"], tmp_path, 50, {"ledger": {"score_calls": 1}}, code)
    assert found
