"""Requests on the command line: `--ask` holds a conditioned generator at a score, whatever the verb."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zmax.cli.output import say
from zmax.core.errors import InputError
from zmax.core.setting import RUN

if TYPE_CHECKING:
    from zmax.results import ConditionResult

PREFIX = "conditioned:"

Ask = Annotated[
    list[str] | None,
    typer.Option(
        "--ask",
        metavar="S",
        rich_help_panel=RUN,
        help="Hold the generator conditioned:RUN at this score; of several scores NAME=S, repeated.",
    ),
]
AwayFrom = Annotated[
    list[str] | None,
    typer.Option(
        "--away-from", metavar="S", rich_help_panel=RUN, help="A score that it is pushed away from, with --guidance."
    ),
]
Guidance = Annotated[
    float,
    typer.Option(
        "--guidance",
        metavar="W",
        rich_help_panel=RUN,
        help="How strongly it is held; above 0 scores at a request differ less. Diffusion and flow models only.",
    ),
]
Of = Annotated[
    int,
    typer.Option(
        "--of",
        metavar="K",
        min=1,
        rich_help_panel=RUN,
        help="Candidates for each sample, of which a ranking learned from the data keeps the best; not scored.",
    ),
]


def held(generator: str, ask: list[str] | None, away_from: list[str] | None, guidance: float, of: int = 1) -> str:
    """Return the name of a generator held at a request, and warn of one outside the range to trust.

    Raises:
        InputError: the generator is none that can be asked, or words are no request.
    """
    if not ask and not away_from and not guidance:
        return generator
    from zmax.generators.requests import query_of, request_of

    if not generator.startswith(PREFIX) or "?" in generator:
        raise InputError("--ask", expected=f"-g {PREFIX}RUN, the run of a condition", got=f"-g {generator}")
    wanted = request_of(ask or [])
    for line in condition_in(folder_of(generator)).outside(wanted, of):
        say(f"warning: {line}")
    return f"{generator}?{query_of(wanted, request_of(away_from) if away_from else None, guidance)}"


def condition_in(folder: Path) -> ConditionResult:
    """Return the condition in a folder.

    Raises:
        InputError: the folder holds no run, or one of another verb.
    """
    from zmax.results import ConditionResult, load_result

    found = load_result(folder)
    if not isinstance(found, ConditionResult):
        raise InputError(f"the run in {str(folder)!r}", expected="that of a condition", got=found.spec.verb)
    return found


def folder_of(generator: str) -> Path:
    """Return the folder of the run that made a conditioned generator."""
    place = Path(generator.removeprefix(PREFIX).partition("?")[0])
    return place if place.is_dir() else place.parent
