"""Help that teaches and comes at once, and tables that hold all there is."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from typing import Any

import pytest
import typer

from tests.cli.conftest import Zmax
from zmax import __version__
from zmax.cli import app
from zmax.core.methods import registry
from zmax.core.tuner import conditioners, tuners
from zmax.generators import generators
from zmax.scores import scores

COMMAND: Any = typer.main.get_command(app)
VERBS = ["maximize", "sample", "finetune", "list", "resume", "report"]

WITHOUT_THE_LIBRARY = """
import importlib.util, sys, time, types
package = types.ModuleType("zmax")
package.__path__, package.__version__ = [sys.argv[1]], "0"
sys.modules["zmax"] = package
started = time.process_time()
from zmax.cli.program import run
assert run(["--help"]) == 0 and run(["maximize", "--help"]) == 0
heavy = sorted({"torch", "numpy", "matplotlib", "PIL"} & set(sys.modules))
print("\\n", heavy, time.process_time() - started)
"""


@pytest.mark.parametrize("verb", VERBS)
def test_each_verb_has_an_example_and_explains_every_option(verb: str, zmax: Zmax) -> None:
    said = zmax(verb, "--help")
    assert said.code == 0
    assert f"zmax {verb}" in said.out
    assert "Example" in said.out
    explained = [p for p in COMMAND.commands[verb].params if p.name != "help"]
    assert [p.name for p in explained if not p.help] == []


def test_the_top_shows_the_main_job_and_every_verb(zmax: Zmax) -> None:
    said = zmax()
    assert said.code == 0
    assert "zmax maximize -g avatars-gan -s attribute:glasses" in said.out
    assert all(verb in said.out for verb in VERBS)


def test_version(zmax: Zmax) -> None:
    assert zmax("--version").out == f"zmax {__version__}\n"


def test_help_loads_nothing_heavy() -> None:
    place = inspect.getfile(sys.modules["zmax"]).rpartition("/")[0]
    words = [sys.executable, "-c", WITHOUT_THE_LIBRARY, place]
    runs = [subprocess.run(words, capture_output=True, text=True, timeout=60, check=True) for _ in range(5)]
    said = [done.stdout.splitlines()[-1].strip().rpartition(" ") for done in runs]
    assert {heavy for heavy, _, _ in said} == {"[]"}
    assert min(float(seconds) for _, _, seconds in said) < 0.5


def test_list_names_everything_in_the_registries(zmax: Zmax) -> None:
    said = zmax("list", "--json")
    assert said.code == 0, said.err
    found = json.loads(said.out)
    assert {kind: [row["name"] for row in rows] for kind, rows in found.items()} == {
        "generators": list(generators),
        "scores": list(scores),
        "methods": sorted([*registry, *tuners, *conditioners]),
    }
    assert all(row["description"] for rows in found.values() for row in rows)


def test_list_shows_the_defaults_of_the_constructors(zmax: Zmax) -> None:
    found = json.loads(zmax("list", "methods", "--json").out)["methods"]
    for row in found:
        table = {"finetune": tuners, "condition": conditioners}.get(row["road"], registry)
        signature = inspect.signature(table.load(row["name"])).parameters
        assert row["parameters"] == {name: p.default for name, p in signature.items()}


@pytest.mark.parametrize("kind", ["generators", "scores", "methods"])
def test_tables_show_what_json_holds(kind: str, zmax: Zmax) -> None:
    rows = json.loads(zmax("list", kind, "--json").out)[kind]
    shown = zmax("list", kind).out
    assert all(row["name"] in shown for row in rows)
