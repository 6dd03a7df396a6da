"""The house rules hold for every file, and each rule can fail."""

from __future__ import annotations

import ast
import doctest
import importlib
import inspect
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import laws
import pytest
from circles import circles

SRC_FILES = laws.sources("src")
ALL_FILES = laws.sources("src", "zoo", "benchmarks", "tests", "examples", "docs")
SEEDED_FILES = laws.sources("src", "zoo", "examples", "benchmarks")
EXAMPLES = laws.sources("examples")
MODULES = [laws.module_name(path) for path in SRC_FILES]
ROOMS = sorted({laws.room_of(name) for name in MODULES} - {""})
NEVER_AT_IMPORT = ("matplotlib", "pandas", "scipy", "cma", "sklearn", "typer", "rich", "jinja2", "pytest")


def each(files: list[Path]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("path", files, ids=[str(f.relative_to(laws.ROOT)) for f in files])


@each(SRC_FILES)
def test_imports_point_downward(path: Path) -> None:
    assert laws.forbidden_imports(path.read_text(), laws.module_name(path)) == []


def test_no_files_import_each_other_in_a_circle() -> None:
    named = {laws.module_name(p) + (".__init__" if p.name == "__init__.py" else ""): p for p in SRC_FILES}
    assert circles({name: path.read_text() for name, path in named.items()}) == []


@each(SRC_FILES)
def test_methods_import_no_other_family(path: Path) -> None:
    assert laws.foreign_families(path.read_text(), laws.module_name(path)) == []


@each(SRC_FILES)
def test_module_level_imports_are_light(path: Path) -> None:
    assert laws.heavy_imports(path.read_text(), laws.module_name(path)) == []


@each(SRC_FILES)
def test_fields_with_rows_are_marked(path: Path) -> None:
    assert laws.unmarked_rows(path.read_text()) == []


@each(SRC_FILES)
def test_public_things_are_documented(path: Path) -> None:
    assert laws.undocumented(path.read_text()) == []


@each(ALL_FILES)
def test_files_and_functions_are_short(path: Path) -> None:
    source = path.read_text()
    assert len(source.splitlines()) <= laws.MAX_FILE
    assert laws.long_functions(source) == []


@each(SEEDED_FILES)
def test_randomness_is_explicit(path: Path) -> None:
    assert laws.global_randomness(path.read_text()) == []


@pytest.mark.parametrize("room", ROOMS)
def test_every_room_has_a_layer(room: str) -> None:
    assert room == "testing" or laws.layer(room) is not None


def test_the_package_only_names_things() -> None:
    assert laws.more_than_names((laws.SRC / "zmax" / "__init__.py").read_text()) == []


@pytest.mark.parametrize("name", ["zmax", *(f"zmax.{room}" for room in ROOMS)])
def test_exported_names_exist_and_are_documented(name: str) -> None:
    module = importlib.import_module(name)
    exported = [(n, getattr(module, n)) for n in getattr(module, "__all__", [])]
    explained = [(n, v) for n, v in exported if inspect.isclass(v) or inspect.isroutine(v) or inspect.ismodule(v)]
    assert [n for n, value in explained if not inspect.getdoc(value)] == []
    assert not name.startswith("zmax.") or inspect.getdoc(module)


def test_the_public_surface_is_all_there() -> None:
    import zmax

    fixed = "maximize resume load_generator load_score generator score methods load_result Budget Result"
    assert set(fixed.split()) <= set(zmax.__all__)


def test_importing_zmax_imports_nothing_heavy() -> None:
    code = f"import sys, zmax; print([m for m in {NEVER_AT_IMPORT!r} if m in sys.modules])"
    assert run_python("-c", code).stdout.strip() == "[]"


def test_importing_zmax_costs_little_beyond_torch() -> None:
    code = """
import time, torch, numpy, PIL.Image, jaxtyping, safetensors, sqlite3, importlib.metadata
started = time.process_time(); import zmax; print(time.process_time() - started)
"""
    assert min(float(run_python("-c", code).stdout) for _ in range(2)) < 0.5


@pytest.mark.parametrize("module", MODULES)
def test_docstring_examples_are_true(module: str) -> None:
    if module.endswith("__main__"):
        pytest.skip("runs the program")
    loaded = importlib.import_module(module)
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE, verbose=False)
    heard: list[str] = []
    for test in doctests(loaded):
        runner.run(test, out=heard.append)
    assert runner.summarize(verbose=False).failed == 0, "".join(heard)


def doctests(module: ModuleType) -> list[doctest.DocTest]:
    """Read the examples from the source: wrappers around functions hide them from doctest's own finder."""
    source = inspect.getsource(module)
    nodes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, (ast.Module, laws.Definition))]
    texts = [(getattr(n, "name", "module"), ast.get_docstring(n), getattr(n, "lineno", 1)) for n in nodes]
    parse = doctest.DocTestParser().get_doctest
    found = [parse(t, dict(vars(module)), f"{module.__name__}.{n}", module.__file__, line) for n, t, line in texts if t]
    return [test for test in found if test.examples]


def test_there_are_examples() -> None:
    assert EXAMPLES


@pytest.mark.parametrize("path", EXAMPLES, ids=[f.name for f in EXAMPLES])
def test_examples_run(path: Path, tmp_path: Path) -> None:
    done = run_python(str(path), cwd=tmp_path)
    assert done.stdout.strip(), "an example shows something"


def run_python(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run this Python on one thread and return what it said; it must end well within two minutes."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MPLBACKEND": "agg"}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=cwd, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return done
