"""`zmax maximize`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from zmax.cli.folders import claimed
from zmax.cli.options import Json, ShowProgress
from zmax.core.errors import InputError

DEFAULT_CALLS = 2000
_RUN, _LIMITS, _RESULT = "What to run", "When to stop (at the first limit reached)", "What comes out"

GeneratorName = Annotated[
    str,
    typer.Option(
        "-g",
        "--generator",
        metavar="G",
        rich_help_panel=_RUN,
        help="A name of `zmax list generators`, file.py:attr or package.module:attr.",
    ),
]
ScoreName = Annotated[
    str,
    typer.Option(
        "-s",
        "--score",
        metavar="S",
        rich_help_panel=_RUN,
        help="A name of `zmax list scores`, file.py:attr, or arithmetic: '0.7*a + 0.3*b'.",
    ),
]
Method = Annotated[
    str,
    typer.Option(
        "-m",
        "--method",
        metavar="M",
        rich_help_panel=_RUN,
        help="A name of `zmax list methods`; auto chooses by what G and S offer.",
    ),
]
Params = Annotated[
    list[str] | None,
    typer.Option(
        "-p",
        "--param",
        metavar="NAME=VALUE",
        rich_help_panel=_RUN,
        help="A parameter of the method, such as step=0.3; may be repeated.",
    ),
]
HeldOut = Annotated[
    str | None,
    typer.Option(
        metavar="S", rich_help_panel=_RUN, help="A second score that no method sees; it judges the winners at the end."
    ),
]
Seed = Annotated[
    int,
    typer.Option(metavar="N", rich_help_panel=_RUN, help="Seed of all randomness; the same seed gives the same run."),
]
BatchSize = Annotated[
    int,
    typer.Option(
        metavar="N", rich_help_panel=_RUN, help="Samples decoded and scored together; lower it if memory runs out."
    ),
]
Calls = Annotated[
    int | None,
    typer.Option(
        "-n",
        "--calls",
        metavar="N",
        rich_help_panel=_LIMITS,
        help=f"Score calls; {DEFAULT_CALLS} if no limit is given.",
    ),
]
Nfe = Annotated[
    int | None, typer.Option(metavar="N", rich_help_panel=_LIMITS, help="Forward network evaluations of the generator.")
]
ScoreGrads = Annotated[
    int | None, typer.Option(metavar="N", rich_help_panel=_LIMITS, help="Samples whose score is differentiated.")
]
Seconds = Annotated[float | None, typer.Option(metavar="S", rich_help_panel=_LIMITS, help="Wall-clock time.")]
MaxFailures = Annotated[
    float, typer.Option(metavar="SHARE", rich_help_panel=_LIMITS, help="Largest share of failing evaluations.")
]
Out = Annotated[
    Path | None,
    typer.Option(
        "-o",
        "--out",
        metavar="FOLDER",
        rich_help_panel=_RESULT,
        help="Where the run is kept; by default a new folder runs/G-S-M-N.",
    ),
]
Keep = Annotated[
    int, typer.Option(metavar="N", rich_help_panel=_RESULT, help="How many of the best distinct samples are kept.")
]


def maximize(
    generator: GeneratorName,
    score: ScoreName,
    method: Method = "auto",
    param: Params = None,
    held_out: HeldOut = None,
    seed: Seed = 0,
    batch_size: BatchSize = 32,
    calls: Calls = None,
    nfe: Nfe = None,
    score_grads: ScoreGrads = None,
    seconds: Seconds = None,
    max_failures: MaxFailures = 0.5,
    out: Out = None,
    keep: Keep = 16,
    json: Json = False,
    progress: ShowProgress = None,
) -> int:
    """Find samples of a generator that maximise a score.

    \b
    Example:
      zmax maximize -g avatars-gan -s attribute:glasses -n 2000 --out runs/glasses

    \b
    Keeps the run, a page (report.html) and the best samples in a folder, and
    prints how they compare with random samples. A run that is interrupted or
    killed goes on with `zmax resume FOLDER`.
    """
    from zmax import Budget
    from zmax import maximize as start
    from zmax.cli.conclude import conclude

    given = {
        "score_calls": calls,
        "nfe": nfe,
        "score_grads": score_grads,
        "seconds": seconds,
    }
    limits = {name: value for name, value in given.items() if value is not None} or {"score_calls": DEFAULT_CALLS}
    budget = Budget(**limits)  # type: ignore[arg-type]
    params = parse(param or [])
    with claimed(out, [generator, score, method, _short(limits)]) as folder:
        begin = partial(start, generator, score, method, budget, seed, batch_size, held_out, folder, params=params)
        run = partial(begin, keep=keep, max_failures=max_failures, progress=progress)
        return conclude(run, folder, as_json=json)


def parse(words: list[str]) -> dict[str, str]:
    """Read NAME=VALUE words.

    Raises:
        InputError: one of them is something else, or a name comes twice.

    Example:
        >>> parse(["step=0.3", "batch=8"])
        {'step': '0.3', 'batch': '8'}
    """
    params: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name or name in params:
            raise InputError("-p", expected="NAME=VALUE, each name once, as in -p step=0.3", got=repr(word))
        params[name.strip()] = value.strip()
    return params


def _short(limits: dict[str, int | float]) -> str:
    units = {"score_calls": "", "nfe": "nfe", "score_grads": "grads", "seconds": "s"}
    return "-".join(
        f"{value:g}{units[name]}" if value < 1e6 else f"{int(value)}{units[name]}" for name, value in limits.items()
    )
