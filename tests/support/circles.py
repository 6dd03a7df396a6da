"""Modules that import each other in a loop."""

from __future__ import annotations

import ast
from collections.abc import Iterator


def circles(sources: dict[str, str]) -> list[set[str]]:
    """Return the modules that import each other in a loop, anywhere in their files; a package's face is left out.

    Args:
        sources: text by dotted name; packages end with ".__init__".
    """
    arrows = {
        module: {name for _, base in _targets(text) for name in (base, base.rpartition(".")[0]) if name in sources}
        for module, text in sources.items()
        if not module.endswith("__init__")
    }
    reach = {module: _reached(module, arrows) for module in arrows}
    return [
        loop for m in arrows if len(loop := {n for n in reach[m] if m in reach.get(n, set())}) > 1 and m == min(loop)
    ]


def _targets(source: str) -> Iterator[tuple[int, str]]:
    """Give line and every dotted name that an import may mean: a module, or a name in one."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)


def _reached(start: str, arrows: dict[str, set[str]]) -> set[str]:
    seen: set[str] = set()
    todo = [start]
    while todo:
        todo += [n for n in arrows.get(todo.pop(), set()) if n not in seen and not seen.add(n)]  # type: ignore[func-returns-value]
    return seen
