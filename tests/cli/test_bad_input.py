"""Whatever is wrong with a command line: one clear message, the right code, no traceback, nothing left behind."""

from __future__ import annotations

import gc
import json
import operator
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Zmax

GOOD = {"-g": "toy.py:G", "-s": "toy.py:near", "-m": "random", "-n": "60", "--out": "run"}

BAD: dict[str, tuple[dict[str, str], str]] = {
    "unknown generator": ({"-g": "avatar-gan"}, "'avatars-gan'"),
    "unknown score": ({"-s": "brightnes"}, "'brightness'"),
    "unknown label": ({"-s": "attribute:glases"}, "'glasses'"),
    "unknown method": ({"-m": "gradiant"}, "'gradient'"),
    "unknown held-out": ({"--held-out": "brightnes"}, "'brightness'"),
    "missing file": ({"-g": "toi.py:G"}, "'toy.py'"),
    "missing attribute": ({"-s": "toy.py:neer"}, "'near'"),
    "no attribute": ({"-s": "toy.py"}, "toy.py:"),
    "not a generator": ({"-g": "toy.py:number"}, "not a generator"),
    "not a score": ({"-s": "toy.py:number"}, "callable"),
    "module of the generator": ({"-g": "no_such_module.models:G"}, "no_such_module"),
    "file that does not import": ({"-g": "broken.py:G"}, "line 2"),
    "wrong latent shape": ({"-g": "toy.py:misfit"}, "4"),
    "score of wrong length": ({"-s": "toy.py:short"}, "one each"),
    "generator that raises": ({"-g": "toy.py:bomb"}, "no such picture"),
    "factory that raises": ({"-g": "toy.py:factory_that_raises"}, "weights are missing"),
    "score of other samples": ({"-g": "toy.py:words"}, "TypeError"),
    "gradients of a black box": ({"-g": "toy.py:blind", "-m": "gradient"}, "'cma'"),
    "unknown parameter": ({"-m": "snes", "-p": "stepp=0.3"}, "step"),
    "parameter of wrong type": ({"-m": "snes", "-p": "step=wide"}, "'wide'"),
    "parameter out of range": ({"-m": "snes", "-p": "step=-1"}, "step"),
    "parameter without value": ({"-m": "snes", "-p": "step"}, "NAME=VALUE"),
    "unknown device": ({"-g": "avatars-gan", "--device": "nowhere"}, "'nowhere'"),
    "no calls": ({"-n": "0"}, "positive"),
    "calls that are no number": ({"-n": "many"}, "--help"),
    "negative time": ({"--seconds": "-1"}, "positive"),
    "batch of none": ({"--batch-size": "0"}, "batch_size"),
    "impossible share": ({"--max-failures": "2"}, "[0, 1]"),
    "unknown option": ({"--colour": "red"}, "--help"),
    "out is a file": ({"--out": "toy.py"}, "folder"),
    "out holds a run": ({"--out": "taken"}, "zmax resume taken"),
}


def words(changes: dict[str, str]) -> list[str]:
    return ["maximize", *(word for pair in (GOOD | changes).items() for word in pair)]


@pytest.fixture
def workplace(toys: Path, zmax: Zmax) -> Path:
    (toys / "broken.py").write_text("import torch\nG = torch.no_such_thing\n")
    return toys


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_and_leaves_nothing(case: str, workplace: Path, zmax: Zmax) -> None:
    if "taken" in words(BAD[case][0]):
        assert zmax(*words({"--out": "taken"})).code == 0
    before = contents(workplace)
    changes, expected = BAD[case]
    said = zmax(*words(changes))
    assert said.code == 2, said.err
    assert said.err.startswith("error: ")
    assert expected in said.err
    assert "Traceback" not in said.err
    assert said.out == ""
    assert contents(workplace) == before


@pytest.mark.parametrize("case", ["unknown generator", "score of wrong length", "unknown option"])
def test_without_a_named_folder_nothing_is_left_either(case: str, workplace: Path, zmax: Zmax) -> None:
    before = contents(workplace)
    given = words(BAD[case][0])
    place = given.index("--out")
    assert zmax(*given[:place], *given[place + 2 :]).code == 2
    assert contents(workplace) == before


@pytest.mark.parametrize("case", ["unknown generator", "generator that raises", "calls that are no number"])
def test_with_json_the_error_is_an_object(case: str, workplace: Path, zmax: Zmax) -> None:
    said = zmax(*words(BAD[case][0]), "--json")
    found = json.loads(said.out)
    assert found["exit_code"] == said.code == 2
    assert BAD[case][1] in found["error"]


@pytest.mark.parametrize("verb", ["resume", "report"])
def test_verbs_on_runs_need_a_run(verb: str, workplace: Path, zmax: Zmax) -> None:
    said = zmax(verb, "nowhere")
    assert (said.code, said.out) == (2, "")
    assert "no run in 'nowhere'" in said.err
    assert not Path("nowhere").exists()


def test_an_unknown_verb_gets_the_nearest(workplace: Path, zmax: Zmax) -> None:
    said = zmax("maximise")
    assert said.code == 2, said.err
    assert "maximize" in said.err


def test_a_bug_of_ours_says_so(workplace: Path, zmax: Zmax, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["zmax.report"], "write_report", operator.truediv)
    said = zmax(*words({}))
    assert said.code == 1
    assert "Traceback" in said.err
    assert "bug in zmax" in said.err


def contents(folder: Path) -> set[tuple[str, int]]:
    gc.collect()  # a result closes its database when it goes
    files = (p for p in folder.rglob("*") if "__pycache__" not in p.parts)
    return {(str(p), p.stat().st_mtime_ns if p.is_file() else 0) for p in files}
