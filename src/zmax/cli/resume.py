"""`zmax resume`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zmax.cli.options import Json, Run, ShowProgress

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


def resume(
    run: Run,
    more: More = None,
    max_failures: MaxFailures = None,
    workers: Workers = None,
    json: Json = False,
    progress: ShowProgress = None,
) -> int:
    """Go on with a run that was stopped, or give it more score calls.

    \b
    Examples:
      zmax resume runs/glasses
      zmax resume runs/glasses -n 1000

    \b
    Nothing that was scored is scored again. On the CPU an interrupted or killed
    run ends exactly where it would have ended undisturbed.
    """
    from zmax import load_result
    from zmax import resume as go_on
    from zmax.cli.outcome import DONE, conclude
    from zmax.results import TuneResult
    from zmax.run.processes import launched

    known = load_result(run)
    budget = None if more is None else raised(known, more)
    settings: dict[str, Any] = {"max_failures": max_failures, "workers": workers}
    if isinstance(known, TuneResult) and not launched().main:  # another process keeps and shows the run
        go_on(run, budget=budget, **settings)
        return DONE
    return conclude(lambda: go_on(run, budget=budget, **settings, progress=progress), run, as_json=json)


def raised(result: Result | TuneResult, more: int) -> Budget:
    """Return the run's budget with that many more score calls, without other limits it has reached."""
    budget, ledger = result.spec.budget, result.ledger
    calls = (ledger.score_calls if budget.score_calls is None else budget.score_calls) + more
    budget = replace(budget, score_calls=calls)
    while (limit := budget.reached(ledger)) not in (None, "score_calls", "recalled"):
        budget = replace(budget, **{str(limit): None})
    return budget
