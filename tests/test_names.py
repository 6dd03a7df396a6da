"""Every dotted name that a page, a docstring or an example uses is there, whatever else was imported before."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator

import laws
import pytest

PAGES = [laws.ROOT / "README.md", laws.ROOT / "CONTRIBUTING.md", *sorted((laws.ROOT / "docs").glob("*.md"))]
NAME = re.compile(r"(?<![\w.\"'/])zmax(?:\.[A-Za-z]\w*)+")
IMPORT = re.compile(r"^\s*(?:>>> |\.\.\. )?(?:from zmax\S* import .*|import zmax\.\S+.*)$", re.MULTILINE)
ROLE = re.compile(r":\w+:`~?$")

TRY = """
import itertools, json, pkgutil, sys
import torch

def fresh():
    for module in [m for m in sys.modules if m.partition(".")[0] == "zmax"]:
        del sys.modules[module]
    import zmax
    return zmax

def room(name):
    return name.split(".")[1] if name.count(".") > 1 else ""

def missing(package, name):
    found = package
    try:
        for part in name.split(".")[1:]:
            found = getattr(found, part)
    except AttributeError as error:
        return f"{name}: {error}"

def unimportable(name):
    try:
        pkgutil.resolve_name(name)
    except (ImportError, AttributeError) as error:
        return f"{name}: {error}"

used, linked = json.loads(sys.argv[1])
wrong = []
for _, group in itertools.groupby(sorted(used, key=room), room):
    package = fresh()
    wrong += [missing(package, name) for name in group]
wrong += map(unimportable, linked)
print(json.dumps([w for w in wrong if w]))
"""
"""Only torch is kept between rooms: the names `zmax.room.x` of each are asked of a zmax that has imported nothing."""


def texts() -> Iterator[str]:
    """Give the pages, the examples and all docstrings."""
    for path in [*PAGES, *laws.sources("examples")]:
        yield path.read_text(encoding="utf-8")
    for path in laws.sources("src"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, (ast.Module, laws.Definition)):
                yield ast.get_docstring(node) or ""


def names(text: str) -> Iterator[tuple[str, bool]]:
    """Give the names in a text, and whether each is the target of a link; not those imported or of the form a:b."""
    text = IMPORT.sub("", text)
    for match in NAME.finditer(text):
        if not re.match(r":\w", text[match.end() :]):
            yield match.group(), bool(ROLE.search(text[: match.start()]))


def wrong(used: list[str], linked: list[str]) -> list[str]:
    """Return what is wrong with the names, by a new interpreter."""
    command = [sys.executable, "-c", TRY, json.dumps([used, linked])]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    found: list[str] = json.loads(done.stdout)
    return found


def test_every_name_in_use_is_there_in_a_fresh_process() -> None:
    found = {pair for text in texts() for pair in names(text)}
    used, linked = (sorted(name for name, link in found if link is kind) for kind in (False, True))
    assert {"zmax.maximize", "zmax.generators.from_diffusers"} <= set(used)
    assert wrong(used, linked) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("G = zmax.generators.lost(x)", [("zmax.generators.lost", False)]),
        ("see :class:`~zmax.core.rng.Lost`", [("zmax.core.rng.Lost", True)]),
        ("from zmax.core.rng import Lost", []),
        (">>> from zmax.lost import x", []),
        ('group = "zmax.lost" or zmax.search.lost:Climb', []),
        ("It is zmax.maximize.", [("zmax.maximize", False)]),
    ],
)
def test_names_are_found_in_texts(text: str, expected: list[tuple[str, bool]]) -> None:
    assert list(names(text)) == expected


def test_lost_names_are_told() -> None:
    told = wrong(["zmax.generators.lost", "zmax.lost", "zmax.Space.of"], ["zmax.core.rng.Lost", "zmax.core.rng.Rng"])
    assert [line.partition(":")[0] for line in told] == ["zmax.lost", "zmax.generators.lost", "zmax.core.rng.Lost"]
