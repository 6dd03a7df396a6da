"""What a verb that starts a run can be given, and how the run is carried out."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import typer

from zmax.cli.folders import claimed
from zmax.cli.options import Json, ShowProgress
from zmax.core.budget import DEFAULT_CALLS, Budget
from zmax.core.errors import InputError
from zmax.core.setting import PANELS, RESULT, RUN, Setting, described, flags
from zmax.core.settings import AND, Common, ConditionSettings, Settings, TuneSettings

SETTINGS: dict[str, type[Common]] = {"finetune": TuneSettings, "condition": ConditionSettings}
"""Those of verbs that train."""

GeneratorName = Annotated[
    str,
    typer.Option(
        "-g",
        "--generator",
        metavar="G",
        rich_help_panel=RUN,
        help="A name of `zmax list generators`, file.py:attr or package.module:attr.",
    ),
]


def scored(words: str) -> Any:
    """Return the option that names a score, or several where the verb takes a list."""
    return typer.Option("-s", "--score", metavar="S", rich_help_panel=RUN, help=words)


NAMES = "A name of `zmax list scores`, file.py:attr, http://host/path, or arithmetic: '0.7*a + 0.3*b'"
ScoreName = Annotated[str, scored(f"{NAMES}.")]
Method = Annotated[
    str,
    typer.Option(
        "-m",
        "--method",
        metavar="M",
        rich_help_panel=RUN,
        help="A name of `zmax list methods`; auto chooses by what G and S offer.",
    ),
]
Params = Annotated[
    list[str] | None,
    typer.Option(
        "-p",
        "--param",
        metavar="NAME=VALUE",
        rich_help_panel=RUN,
        help="A parameter of the method, such as step=0.3; may be repeated.",
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(
        "-o",
        "--out",
        metavar="FOLDER",
        rich_help_panel=RESULT,
        help="Where the run is kept; by default a new folder runs/G-S-M-N.",
    ),
]


def starts(verb: Callable[..., int]) -> Callable[..., int]:
    """Give a verb its options: its own, those of `carry_out`, and the limits and settings of a run."""
    named = {option.name: option for option in [*_options(carry_out), *_options(verb)]}.values()
    asked = SETTINGS.get(verb.__name__, Settings)
    fields = [(kind, n, s) for kind in (Budget, asked) for n, s in described(kind).items()]
    known = [_option(kind, name, setting) for kind, name, setting in fields if verb.__name__ in setting.verbs]
    options = sorted([*named, *known], key=lambda p: PANELS.index(get_args(p.annotation)[1].rich_help_panel))
    function: Any = verb
    function.__signature__ = inspect.Signature(options, return_annotation=int)
    return verb


def carry_out(
    verb: Callable[..., Any],
    *,
    generator: GeneratorName,
    score: ScoreName,
    method: Method = "auto",
    param: Params = None,
    out: Out = None,
    json: Json = False,
    progress: ShowProgress = None,
    **settings: Any,
) -> int:
    """Start a run of that verb in its folder, write its pages and print its figures.

    Args:
        verb: `zmax.maximize`, `zmax.sample`, `zmax.finetune` or `zmax.condition`.
        generator, score, method: their names.
        param: NAME=VALUE words for the method.
        out: the folder, None for a new one with a telling name.
        json: print one JSON object.
        progress: show a progress bar.
        settings: limits, settings of a run, and what else the verb is given.

    Returns:
        The exit code.
    """
    from zmax import load_generator
    from zmax.cli.outcome import DONE, conclude
    from zmax.run.processes import Crew, launched

    limits = {name: settings.pop(name) for name in described(Budget)}
    given = {name: value for name, value in limits.items() if value is not None} or {"score_calls": DEFAULT_CALLS}
    budget, params = Budget(**given), parse(param or [])
    device, workers = settings.pop("device"), settings.pop("workers")
    crew = launched() if verb.__name__ == "finetune" else Crew()
    model = generator if device == "cpu" else load_generator(generator).to(device)
    judge = score if workers is None else hired(score, workers)
    settings |= {"method": method, "budget": budget, "params": params, "progress": progress}
    if not crew.main:  # another process keeps and shows the run
        verb(model, judge, **settings)
        return DONE
    with claimed(out, [generator, score, method, _short(given)]) as folder:
        return conclude(lambda: verb(model, judge, out=folder, **settings), folder, as_json=json)


def hired(names: str, workers: int) -> Any:
    """Return the score of that name, or the scores, with so many processes each.

    Raises:
        InputError: one of them judges whole batches.
    """
    from zmax import load_score

    found = [load_score(name) for name in names.split(AND)]
    for one in found:
        one.hire(workers)
    return found[0] if len(found) == 1 else found


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


def _options(function: Callable[..., int]) -> list[inspect.Parameter]:
    """Return the parameters of a function that are options of the command line."""
    parameters = inspect.signature(function, eval_str=True).parameters.values()
    return [p for p in parameters if get_origin(p.annotation) is Annotated]


def _option(kind: type, name: str, setting: Setting) -> inspect.Parameter:
    """Return a setting as an option."""
    option = typer.Option(
        *flags(name, setting), metavar=setting.metavar, rich_help_panel=setting.panel, help=setting.help
    )
    kind_of_value: Any = get_type_hints(kind)[name]
    annotation: Any = Annotated[kind_of_value, option]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=getattr(kind, name), annotation=annotation)
