"""`zmax resume`."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zmax.cli.options import Json, Run, ShowProgress
from zmax.cli.output import say

if TYPE_CHECKING:
    from zmax.core.budget import Budget
    from zmax.results import Result, TuneResult

More = Annotated[
    int | None,
    typer.Option(
        "-n",
        "--calls",
        metavar="N",
        help="N more score calls than the run was given; lifts other limits it has reached.",
    ),
]

MaxFailures = Annotated[
    float | None,
    typer.Option(
        metavar="SHARE",
        help="Another share of failing evaluations above which the run stops; what has failed is then left so.",
    ),
]
Workers = Annotated[int | None, typer.Option(metavar="N", help="Another number of processes that score samples.")]

Accept = Annotated[
    bool,
    typer.Option("--accept-changes", help="Go on although code, weights or versions are no longer those of the start."),
]
Yes = Annotated[bool, typer.Option("-y", "--yes", help="Do not ask before the code runs that the folder names.")]


def resume(
    run: Run,
    more: More = None,
    max_failures: MaxFailures = None,
    workers: Workers = None,
    accept: Accept = False,
    yes: Yes = False,
    json: Json = False,
    progress: ShowProgress = None,
) -> int:
    """Go on with a run that was stopped, or give it more score calls.

    \b
    Examples:
      zmax resume runs/glasses
      zmax resume runs/glasses -n 1000

    \b
    Nothing that was scored is scored again, but one sample, without charge, to
    see that its score is what it was. On the CPU an interrupted or killed run
    ends exactly where it would have ended undisturbed.

    \b
    It runs the code that the folder names: G, S, the method and the judge.
    """
    from zmax import load_result
    from zmax import resume as go_on
    from zmax.cli.outcome import DONE, conclude
    from zmax.results import TuneResult
    from zmax.run.identity import code
    from zmax.run.processes import launched

    known = load_result(run)
    budget = None if more is None else raised(known, more)
    settings: dict[str, Any] = {"max_failures": max_failures, "workers": workers, "accept_changes": accept}
    if isinstance(known, TuneResult) and not launched().main:  # another process keeps and shows the run
        go_on(run, budget=budget, **settings)
        return DONE
    spec = known.spec
    names = code(spec.generator, spec.score, spec.held_out, spec.method)
    if names and not allowed(names, ask=not yes):
        return DONE
    return conclude(lambda: go_on(run, budget=budget, **settings, progress=progress), run, as_json=json)


def allowed(names: list[str], *, ask: bool) -> bool:
    """Show which code a folder names, and where a person can answer, ask whether to run it."""
    say(f"runs the code of {', '.join(dict.fromkeys(names))}")
    return not ask or not (sys.stdin.isatty() and sys.stderr.isatty()) or typer.confirm("go on?", err=True)


def raised(result: Result | TuneResult, more: int) -> Budget:
    """Return the run's budget with that many more score calls, without other limits it has reached."""
    budget, ledger = result.spec.budget, result.ledger
    calls = (ledger.score_calls if budget.score_calls is None else budget.score_calls) + more
    budget = replace(budget, score_calls=calls)
    while (limit := budget.reached(ledger)) not in (None, "score_calls", "recalled"):
        budget = replace(budget, **{str(limit): None})
    return budget
