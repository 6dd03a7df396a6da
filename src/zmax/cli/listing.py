"""`zmax list`."""

from __future__ import annotations

from enum import Enum
from typing import Annotated, Any

import typer

from zmax.cli.options import Json
from zmax.cli.output import emit

Rows = list[dict[str, Any]]


class Kind(str, Enum):
    """What can be listed."""

    generators = "generators"
    scores = "scores"
    methods = "methods"


Which = Annotated[Kind | None, typer.Argument(help="One table; all three if left out.", show_default=False)]


def list_(kind: Which = None, json: Json = False) -> int:
    """Show the generators, scores and methods that can be named.

    \b
    Example:
      zmax list methods
    """
    kinds = list(Kind) if kind is None else [kind]
    tables = {k.value: rows(k) for k in kinds}
    if json:
        emit(tables)
        return 0
    from zmax.cli.tables import show

    for name, found in tables.items():
        show(name, found)
    return 0


def rows(kind: Kind) -> Rows:
    """Return one table as data, one dictionary a row."""
    from zmax.cli import catalogues

    return {
        Kind.generators: catalogues.generators,
        Kind.scores: catalogues.scores,
        Kind.methods: catalogues.methods,
    }[kind]()
