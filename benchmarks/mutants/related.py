"""Which tests to try on a break: those seen to touch its line, remembered between runs while nothing changes."""

from __future__ import annotations

import ast
import functools
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.mutants.sample import Mutant
from benchmarks.mutants.trials import at_once, measure

EXPECTED = 25.0  # seconds of tests that a break gets
LONGEST = 1500.0  # seconds that measuring one folder of tests may take
CACHE = ".mutants.json"
APART = {"benchmarks", "zoo", "support", "data"}  # folders of tests that are not about the rooms
Touched = dict[str, dict[str, Any]]  # folder of tests -> digest, seconds of each test, lines each file


def digest(files: Iterator[Path]) -> str:
    """Return a digest of what files hold."""
    return hashlib.sha256(b"\0".join(str(file.name).encode() + file.read_bytes() for file in sorted(files))).hexdigest()


def touched(root: Path, pristine: Path, copies: list[Path], only: list[str] | None) -> Touched:
    """Return the measures of the folders of tests, made anew where the folder or the source has changed."""
    cache = root / CACHE
    known: Touched = json.loads(cache.read_text()) if cache.exists() else {}
    shared = digest((pristine / "src").rglob("*.py")) + digest((pristine / "tests" / "support").rglob("*.py"))
    folders = sorted({file.parent for file in (pristine / "tests").glob("*/**/test_*.py")})
    wanted = [
        folder
        for folder in folders
        if (part := folder.relative_to(pristine).parts[1]) not in APART and (only is None or part in only)
    ]
    names = {str(folder.relative_to(pristine)): folder for folder in wanted}
    stamps = {name: digest([*folder.glob("*.py")]) + shared for name, folder in names.items()}
    stale = [name for name in names if known.get(name, {}).get("digest") != stamps[name]]
    stale.sort(key=lambda name: -sum(file.stat().st_size for file in names[name].glob("test_*.py")))
    jobs = [
        (n, functools.partial(measure, tests=[f"{n}/{f.name}" for f in sorted(names[n].glob("test_*.py"))]), LONGEST)
        for n in stale
    ]
    for name, outcome in at_once(jobs, copies):
        if "lines" not in outcome:
            raise RuntimeError(f"measuring {name} failed: {outcome}; run its tests by themselves")
        print(f"measured {name}: {len(outcome['seconds'])} tests, {sum(outcome['seconds'].values()):.0f} s", flush=True)
        known[name] = {"digest": stamps[name], **outcome}
        cache.write_text(json.dumps(known))  # whatever ends this early, what was measured stays
    return {name: known[name] for name in names}


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
