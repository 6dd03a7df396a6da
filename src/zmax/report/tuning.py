"""The page of a finetune."""

from __future__ import annotations

from pathlib import Path

from zmax.results.tuning import TuneResult


def write_tuning(result: TuneResult, path: Path) -> Path:
    """Write the page of a finetune."""
    path.write_text("<!doctype html>\n", encoding="utf-8")
    return path
