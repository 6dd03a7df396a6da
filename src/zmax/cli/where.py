"""Constraints on the command line: `--where` narrows the score, whatever the verb."""

from __future__ import annotations

from typing import Annotated

import typer

from zmax.core.setting import RUN

Where = Annotated[
    list[str] | None,
    typer.Option(
        "--where",
        metavar="'B >= T'",
        rich_help_panel=RUN,
        help="What samples have to meet: a score, >= or <=, and a number; may be repeated.",
    ),
]


def narrowed(score: str, where: list[str] | None) -> str:
    """Return the name of a score for samples alone that meet those constraints.

    Example:
        >>> narrowed("attribute:glasses", ["brightness >= 0.5", "jpeg <= 2"])
        'attribute:glasses where brightness >= 0.5, jpeg <= 2'
    """
    return f"{score} where {', '.join(where)}" if where else score
