"""Which tests to try on a break: those seen to touch its line, remembered between runs while nothing changes."""

from __future__ import annotations

import ast
import functools
import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks.mutants.sample import Mutant
from benchmarks.mutants.trials import at_once, measure

EXPECTED = 25.0  # seconds of tests that a break gets
LONGEST = 1500.0  # seconds that measuring one folder of tests may take
CACHE = ".mutants.json"
APART = {"benchmarks", "zoo", "support", "data"}  # folders of tests that are not about the rooms
Touched = dict[str, dict[str, Any]]  # folder of tests -> digest, seconds of each test, lines each file


def touched(root: Path, pristine: Path, copies: list[Path], only: list[str] | None) -> Touched:
    """Return the measures of the folders of tests, made anew where its tests or a file they touch has changed."""
    cache = root / CACHE
    known: Touched = json.loads(cache.read_text()) if cache.exists() else {}
    files = sorted((pristine / "tests").glob("*/**/test_*.py"))
    folders: dict[str, list[str]] = defaultdict(list)
    for file in files:
        folders[str(file.parent.relative_to(pristine))].append(str(file.relative_to(pristine)))
    parts = {name: name.split("/")[1] for name in folders}
    names = [name for name, part in parts.items() if part not in APART and (only is None or part in only)]
    stale = [n for n in names if n not in known or known[n]["digest"] != digest(pristine, n, known[n]["lines"])]
    stale.sort(key=lambda name: -sum((pristine / file).stat().st_size for file in folders[name]))
    jobs = [(name, functools.partial(measure, tests=folders[name]), LONGEST) for name in stale]
    for name, outcome in at_once(jobs, copies):
        if "lines" not in outcome:
            raise RuntimeError(f"measuring {name} failed: {outcome}; run its tests by themselves")
        print(f"measured {name}: {len(outcome['seconds'])} tests, {sum(outcome['seconds'].values()):.0f} s", flush=True)
        known[name] = {"digest": digest(pristine, name, outcome["lines"]), **outcome}
        cache.write_text(json.dumps(known))  # whatever ends this early, what was measured stays
    return {name: known[name] for name in names}


def digest(pristine: Path, folder: str, sources: Iterable[str]) -> str:
    """Return a digest of the tests of a folder and of the source files they touch."""
    files = [*(pristine / folder).glob("*.py"), *(pristine / "tests" / "support").glob("*.py")]
    there = sorted(file for file in (*files, *(pristine / name for name in sources)) if file.exists())
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in there)).hexdigest()


def related(mutant: Mutant, source: str, measures: Touched) -> tuple[list[str], float]:
    """Return the tests for a break and the seconds they should take: those of its room first, then the fastest."""
    seconds = {test: time for measure in measures.values() for test, time in measure["seconds"].items()}
    lines = [measure["lines"].get(mutant.file, {}) for measure in measures.values()]
    tests = {test for line in relevant(source, mutant.line) for known in lines for test in known.get(str(line), ())}
    if not tests and not in_function(source, mutant.line):
        tests = set(seconds)
    chosen, total = [], 0.0
    for test in sorted(tests, key=lambda test: (test.split("/")[1] != mutant.room, seconds[test])):
        if chosen and total + seconds[test] > EXPECTED:
            continue
        chosen.append(test)
        total += seconds[test]
    return chosen, total


def relevant(source: str, line: int) -> list[int]:
    """Return the lines whose tests concern a line: its statement's, or what depends on what runs at import."""
    tree = ast.parse(source)
    around = [node for node in ast.walk(tree) if isinstance(node, ast.stmt) and first(node) <= line <= last(node)]
    inner = min(around, key=lambda node: last(node) - first(node))
    if in_function(source, line):
        body = getattr(inner, "body", None)
        return list(range(inner.lineno, max(inner.lineno + 1, body[0].lineno) if body else last(inner) + 1))
    named = [node for node in around if isinstance(node, (ast.FunctionDef, ast.ClassDef))]
    owner: ast.AST = min(named, key=lambda node: last(node) - first(node), default=tree)
    inside = (node for node in ast.walk(owner) if isinstance(node, ast.FunctionDef))
    return [row for node in inside for row in range(node.body[0].lineno, last(node) + 1)]


def in_function(source: str, line: int) -> bool:
    """Say whether a line stands in a function's body, and so does not run at import."""
    functions = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef))
    return any(node.body[0].lineno <= line <= last(node) for node in functions)


def first(node: ast.stmt) -> int:
    """Return a statement's first line, its decorators' included."""
    return min([node.lineno, *(decorator.lineno for decorator in getattr(node, "decorator_list", ()))])


def last(node: ast.stmt) -> int:
    """Return a statement's last line."""
    return node.end_lineno or node.lineno
