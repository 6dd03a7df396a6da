"""Figures as the documentation shows them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev

from scipy.stats import t as student

END = "<!-- end -->"


def interval(values: Sequence[float], digits: int = 3) -> str:
    """Return the mean with its 95 % interval; of one value the value, of none nothing."""
    if len(values) < 2:
        return f"{values[0]:.{digits}f}" if values else ""
    half = float(student.ppf(0.975, len(values) - 1)) * stdev(values) / math.sqrt(len(values))
    return f"{mean(values):.{digits}f} ± {half:.{digits}f}"


def markdown(cells: Sequence[Sequence[object]]) -> str:
    """Return a table; the first row is its head."""
    head, *body = ["| " + " | ".join(map(str, row)) + " |" for row in cells]
    return "\n".join([head, "|" + "---|" * len(cells[0]), *body])


def fill(page: Path, parts: Mapping[str, str], end: str = END) -> None:
    """Put each text between `<!-- name -->` and the next end mark of a page."""
    text = page.read_text()
    for name, content in parts.items():
        before, after = text.split(f"<!-- {name} -->")
        text = f"{before}<!-- {name} -->\n{content}\n{end}{after.split(end, 1)[1]}"
    page.write_text(text)
