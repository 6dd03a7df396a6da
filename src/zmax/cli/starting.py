"""What a verb that starts a run can be given, and how the run is carried out."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zmax.cli.folders import claimed
from zmax.core.errors import InputError

if TYPE_CHECKING:
    from zmax.results import Result

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
Device = Annotated[
    str, typer.Option(metavar="NAME", rich_help_panel=_RUN, help="Where the generator runs: cpu, cuda, cuda:1 or mps.")
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
Temperature = Annotated[
    float,
    typer.Option(
        "-t", "--temperature", metavar="T", rich_help_panel=_RUN, help="Of the tilted law, in units of the score."
    ),
]
Guard = Annotated[
    str,
    typer.Option(
        metavar="WORD",
        rich_help_panel=_RUN,
        help="What keeps samples where the prior lives: retract, penalise, or report (nothing but showing it).",
    ),
]
Patience = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        rich_help_panel=_LIMITS,
        help="Stop once the held-out score has not risen for N twentieths of the budget while the score has.",
    ),
]


def carry_out(
    verb: Callable[..., Result],
    words: tuple[str, str, str],
    out: Path | None,
    limits: dict[str, int | float | None],
    param: list[str] | None,
    *,
    json: bool,
    device: str,
    **settings: Any,
) -> int:
    """Start a run of that verb in its folder, write its pages and print its figures.

    Args:
        verb: `zmax.maximize` or `zmax.sample`.
        words: generator, score and method.
        out: the folder, None for a new one with a telling name.
        limits: budget fields by name, None where not given.
        param: NAME=VALUE words for the method.
        json: print one JSON object.
        device: where the generator is to run.
        settings: what else the verb is given.

    Returns:
        The exit code.
    """
    from zmax import Budget, load_generator
    from zmax.cli.conclude import conclude

    given = {name: value for name, value in limits.items() if value is not None} or {"score_calls": DEFAULT_CALLS}
    budget = Budget(**given)  # type: ignore[arg-type]
    generator, score, method = words
    params = parse(param or [])
    model = generator if device == "cpu" else load_generator(generator).to(device)
    with claimed(out, [*words, _short(given)]) as folder:
        run = partial(verb, model, score, method=method, budget=budget, out=folder, params=params, **settings)
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
