"""Catalogues as tables for a terminal."""

from __future__ import annotations

from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

_YES_NO = {True: "yes", False: "no", None: "found out"}


def show(title: str, rows: list[dict[str, Any]]) -> None:
    """Print one table; empty columns are left out."""
    lines = [_columns(row) for row in rows]
    for line in lines[:-1]:
        line["description"] += "\n"
    names = [name for name in (lines[0] if lines else {}) if any(line[name] for line in lines)]
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for number, name in enumerate(names):
        table.add_column(name, no_wrap=number == 0, overflow="fold")
    for line in lines:
        table.add_row(*(Text(line[name]) for name in names))
    Console(highlight=False).print(table)


def _columns(row: dict[str, Any]) -> dict[str, str]:
    out = {"name": row.get("usage", row["name"])}
    if "modality" in row:
        out |= {"modality": row["modality"] or "", "dimension": str(row["dimension"] or "")}
    if "road" in row:
        out["road"] = row["road"]
    if "differentiable" in row:
        out["differentiable"] = _YES_NO[row["differentiable"]]
    if "parameters" in row:
        out["parameters"] = "\n".join(f"{name}={value}" for name, value in row["parameters"].items())
    lines = [row["description"]]
    if row.get("choices"):
        lines.append(f"one of: {', '.join(row['choices'])}")
    if "needs" in row:
        limited = f"constraints on {row['constraints']}" if row["constraints"] else "takes no constraints"
        lines += [f"needs {row['needs']}; {limited}"]
        lines += [f"{key}: {row[key]}" for key in ("categories", "start") if row[key]]
        lines += [f"goals: {row['goals']}" if row["goals"] else "takes one goal"]
        lines += [row["reference"]]
    out["description"] = "\n".join(lines)
    return out
