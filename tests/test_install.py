"""The environment is what the constraints ask for, and zmax needs no torchvision."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from importlib.metadata import requires, version

import laws
import pytest

BLOCKED = """
import importlib, importlib.abc, pkgutil, sys
class Block(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "torchvision":
            raise AssertionError(name + " was asked for")
sys.meta_path.insert(0, Block())
import zmax
for room in ("core", "generators", "scores", "search", "run", "store"):
    package = importlib.import_module("zmax." + room)
    for found in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        importlib.import_module(found.name)
print("torchvision" in sys.modules)
"""


def test_torchvision_is_not_installed() -> None:
    assert importlib.util.find_spec("torchvision") is None


def test_nothing_asks_for_torchvision() -> None:
    wanted = {re.split(r"[^\w-]", line)[0] for line in requires("zmax") or []}
    assert "torchvision" not in wanted
    names = [
        name for path in laws.sources("src", "zoo", "examples", "benchmarks") for name in named_in(path.read_text())
    ]
    assert "torchvision" not in names


def named_in(source: str) -> list[str]:
    import ast

    return [name.split(".")[0] for _, name in laws.imported(ast.parse(source))]


def test_everything_imports_where_torchvision_is_blocked() -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", BLOCKED], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stdout.strip()) == (0, "False"), done.stderr[-2000:]


def pins() -> list[tuple[str, str]]:
    lines = (laws.ROOT / "constraints.txt").read_text().splitlines()
    return [tuple(line.split("==")) for line in lines if line and not line.startswith("#")]  # type: ignore[misc]


@pytest.mark.parametrize(("package", "pinned"), pins())
def test_constraints_hold(package: str, pinned: str) -> None:
    assert version(package).split("+")[0] == pinned
