"""What the results of all verbs do alike with their run: keep it in a folder, write its page."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from zmax.core.errors import InputError
from zmax.core.imports import load_attribute
from zmax.store import Journal, begun


def saved(journal: Journal, folder: str | Path) -> Path:
    """Write a run into a folder, unless it is kept there.

    Raises:
        InputError: the folder already holds another run.
    """
    path = Path(folder)
    if journal.folder is None or path.resolve() != journal.folder.resolve():
        with begun(path):
            journal.copy_to(path)
    return path


def paged(result: Any, writer: str, file: str | Path | None) -> Path:
    """Write the page of a result that has a `folder`, by default as `report.html` in it.

    Args:
        result: the result.
        writer: what writes it, by name: pages are made of results, not results of pages.
        file: where to.

    Raises:
        InputError: there is neither a folder nor a file.
    """
    if file is None and result.folder is None:
        raise InputError("report() needs a place", remedy="report('page.html'), or run with out='runs/x'")
    write = cast("Callable[[Any, Path], Path]", load_attribute(writer))
    if file is not None:
        return write(result, Path(file))
    page = Path(result.folder) / "report.html"
    if page.is_symlink():  # what a folder from elsewhere points to is not ours to write
        page.unlink()
    return write(result, page)
