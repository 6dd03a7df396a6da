from __future__ import annotations

import inspect
import os
import sys
import textwrap
from pathlib import Path

import pytest
import torch
from PIL import Image

from zmax.core.errors import InputError
from zmax.core.score import Score
from zmax.scores import catalogue, load_score, scores

SOURCE = """
import torch
from helper_of_mine import SCALE
from zmax.core.score import Score

def total(x):
    return SCALE * x.sum(1)

class Deep(Score):
    name = "deep"
    def __call__(self, samples):
        return -samples.square().sum(1)

class NeedsMore:
    def __init__(self, argument):
        pass

ready = Deep()
number = 3
net = torch.nn.Sequential(torch.nn.Flatten(0))
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "helper_of_mine.py").write_text("SCALE = 2.0\n")
    (tmp_path / "mine.py").write_text(SOURCE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [*sys.path])
    return tmp_path


X = torch.tensor([[1.0, 2.0]])


def test_files_give_functions_instances_classes_and_modules(folder: Path) -> None:
    assert float(load_score("mine.py:total")(X)) == 6.0
    assert float(load_score(f"{folder}/mine.py:ready")(X)) == -5.0
    assert float(load_score("./mine.py:Deep")(X)) == -5.0
    assert load_score("mine.py:net")(torch.ones(2, 1)).tolist() == [1.0, 1.0]
    assert load_score("mine.py:total").name == "total"
    assert float(load_score("0.5*mine.py:total - mine.py:ready/2")(X)) == 5.5


def test_a_file_is_imported_once_and_again_when_it_changes(folder: Path) -> None:
    first = load_score("mine.py:ready")
    assert load_score("mine.py:ready") is first
    (folder / "mine.py").write_text(SOURCE.replace("SCALE * x", "10 * x") + "# changed\n")
    assert float(load_score("mine.py:total")(X)) == 30.0


def test_modules_of_the_working_directory_are_found(folder: Path) -> None:
    (folder / "my_judges_here.py").write_text("def flat(x):\n    return x[:, 0]\n")
    assert float(load_score("my_judges_here:flat")(X)) == 1.0


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("missing.py:f", "no file 'missing.py'"),
        ("mine.py:totl", "'total'"),
        ("mine.py:number", "callable"),
        ("mine.py:NeedsMore", "without arguments"),
        ("mine.py", "file.py:attr"),
        ("nowhere.at.all:f", "no module 'nowhere'"),
        ("attribut:glasses", "'attribute'"),
        ("brightness:3", "takes no argument"),
        ("colour", "needs an argument"),
        ("colour:", "needs an argument"),
        ("3 + 4", "holds no score"),
        ("colour:tomatoe", "'tomato'"),
        ("target:nothing.png", "no file"),
        ("target:mine.py", "cannot be read as a picture"),
    ],
)
def test_bad_specifications_say_what_is_wrong(folder: Path, spec: str, words: str) -> None:
    with pytest.raises(InputError) as caught:
        load_score(spec)
    assert words in str(caught.value)


def test_a_near_file_is_offered(folder: Path) -> None:
    with pytest.raises(InputError, match=r"did you mean 'minee?\.py'"):
        load_score("mone.py:total")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("x = 1\nraise ValueError('broken inside')", ["ValueError: broken inside", "line 2"]),
        ("x = (\n", ["SyntaxError", "line 1"]),
        ("import not_a_module_anywhere", ["ModuleNotFoundError", "not_a_module_anywhere", "line 1"]),
        ("import sys\nsys.exit(3)", ["SystemExit", "line 2"]),
    ],
)
def test_a_failing_import_gives_its_error_and_line(folder: Path, body: str, words: list[str]) -> None:
    (folder / "broken.py").write_text(textwrap.dedent(body))
    (folder / "broken_module.py").write_text(textwrap.dedent(body))
    for spec in ("broken.py:f", "broken_module:f"):
        with pytest.raises(InputError) as caught:
            load_score(spec)
        assert all(word in str(caught.value) for word in words), str(caught.value)


def test_not_a_string() -> None:
    with pytest.raises(InputError, match=r"zmax\.score"):
        inspect.unwrap(load_score)(len)  # without the run-time type check


def test_the_same_name_is_the_same_score_so_combinations_share_it() -> None:
    left, right = load_score("0.5*brightness + colour:#fff"), load_score("brightness")
    assert left.terms[0] is right
    assert len((left + right).terms) == 2


def test_a_picture_that_changes_is_read_again(tmp_path: Path) -> None:
    file = tmp_path / "flat.png"
    x = torch.zeros(1, 3, 2, 2)
    for shade in (0, 255):
        Image.new("RGB", (2, 2), (shade,) * 3).save(file)
        os.utime(file, ns=(shade, shade))
        assert float(load_score(f"'target:{file}'")(x)) == -shade / 255


def test_the_catalogue_describes_what_is_there() -> None:
    table = {row.name: row for row in catalogue()}
    assert set(table) == set(scores)
    assert all(row.description.endswith(".") and len(row.description) < 120 for row in table.values())
    assert {name for name, row in table.items() if row.differentiable is False} == {
        "compressibility",
        "incompressibility",
    }
    for name, row in table.items():
        if row.argument is None:
            made = load_score(name)
            assert isinstance(made, Score)
            assert made.name == name
            assert made.differentiable is row.differentiable
