"""What every page is made of: templates, tiles, and a file that is written whole."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import torch
from jinja2 import Environment, PackageLoader, StrictUndefined

from zmax.core.errors import InputError, StoreError
from zmax.report import sentences
from zmax.results import Result, TuneResult


@dataclass(frozen=True)
class Tile:
    """A main figure of the run.

    Attributes:
        title: what it is.
        value: the number as recorded, None if there is none.
        shown: the number as shown.
        note: what goes with it, such as the probability.
    """

    title: str
    value: float | None
    shown: str
    note: str = ""


def common(result: Result | TuneResult, failures: dict[int, str]) -> dict[str, Any]:
    """Return what every page shows of a run, whatever its verb."""
    spec = result.spec
    return {
        "spec": spec,
        "stopped": sentences.stop_words(result.stop_reason),
        "warnings": result.warnings,
        "ledger": sentences.ledger_rows(result.ledger),
        "failures": sentences.failure_rows(failures),
        "settings": sentences.setting_rows(spec),
        "command": spec.command(),
        "python": sentences.python_line(spec),
    }


def rendered(template: str, context: dict[str, Any]) -> str:
    """Return a page as text; everything that is not markup of ours is escaped."""
    environment = Environment(
        loader=PackageLoader("zmax.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"figure": sentences.figure, "brief": sentences.brief, "percent": sentences.percent}
    versions = f"zmax {version('zmax')}, torch {torch.__version__}"
    return environment.get_template(template).render({"versions": versions, **context})


def place(path: str | Path) -> Path:
    """Return the file that a page is to be written to.

    Raises:
        InputError: it is a folder.
    """
    file = Path(path)
    if file.is_dir():
        raise InputError(f"cannot write a page to {str(path)!r}", expected="a file", got="a folder")
    return file


def put(file: Path, text: str) -> Path:
    """Write a page whole or not at all, and return its file; folders are made.

    Raises:
        StoreError: it cannot be written.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile("w", dir=file.parent, suffix=".tmp", delete=False, encoding="utf-8") as draft:
            draft.write(text)
        os.chmod(draft.name, 0o644)
        os.replace(draft.name, file)
    except OSError as error:
        raise StoreError(f"the page {str(file)!r} cannot be written: {error}", remedy="choose another file") from error
    return file
