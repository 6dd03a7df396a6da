"""Every Python block of the documentation runs, page by page, in the order a reader meets them."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import laws
import pytest

PAGES = [laws.ROOT / "README.md", laws.ROOT / "CONTRIBUTING.md", *sorted((laws.ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
SHELL = re.compile(r"^```(?:bash|sh)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(page: Path) -> list[str]:
    """Return the page's Python blocks, each padded so that errors give the line of the page."""
    text = page.read_text(encoding="utf-8")
    return ["\n" * text[: m.start(1)].count("\n") + m.group(1) for m in BLOCK.finditer(text)]


@pytest.fixture
def namespace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """An empty module, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    module = ModuleType("documentation_page")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return vars(module)


@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p)], ids=lambda p: str(p.relative_to(laws.ROOT)))
def test_code_of_the_page_runs(page: Path, namespace: dict[str, Any]) -> None:
    for block in blocks(page):
        exec(compile(block, str(page), "exec"), namespace)  # noqa: S102 - our own pages
    for kind in [value for name, value in namespace.items() if name.startswith("Test")]:
        run_suite(kind)


def run_suite(kind: type) -> None:
    """Run the conformance tests that a page shows, as pytest would collect them."""
    names = [name for name in dir(kind) if name.startswith("test_")]
    assert names, f"{kind.__name__} holds no test"
    for name in names:
        with contextlib.suppress(pytest.skip.Exception):
            getattr(kind(), name)()


@pytest.mark.parametrize("page", sorted((laws.ROOT / "docs").glob("*.md")), ids=lambda p: p.name)
def test_pages_start_with_code_or_include(page: Path) -> None:
    lines = [line for line in page.read_text(encoding="utf-8").splitlines() if line.strip()]
    first = lines[1] if lines[0].startswith("# ") else lines[0]
    assert re.match(r"```(python|bash|\{include\})", first)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(laws.ROOT)))
def test_local_links_and_pictures_exist(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8"))
    local = [link for link in links if "://" not in link and not link.startswith(("mailto:", "reference/"))]
    assert [link for link in local if not os.path.exists(page.parent / link)] == []


def test_named_verbs_and_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (laws.ROOT / "Makefile").read_text(), re.MULTILINE))
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    assert set(re.findall(r"\bmake (demo|test|check|bench|docs|clean)\b", text)) <= targets
    verbs = {verb for code in SHELL.findall(text) for verb in re.findall(r"^zmax (\w+)", code, re.MULTILINE)}
    assert verbs <= {"maximize", "sample", "finetune", "condition", "resume", "report", "list"}
