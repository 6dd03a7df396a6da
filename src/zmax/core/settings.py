"""The settings of a run: each stands here once, with all that its readers need to know of it.

The checks of the verbs, the options of the command line, the command that repeats a run and the table of its page
derive from the fields below; the verbs in Python repeat names, types, defaults and meanings for readers and editors,
and `tests/test_settings.py` holds them to these. This module must stay light: the command line reads it before
it loads torch.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from zmax.core.errors import InputError

RUN, LIMITS, RESULT = PANELS = ("What to run", "When to stop (at the first limit reached)", "What comes out")
"""Where the command line's help shows an option."""

RETRACT, PENALISE, NATURAL, REPORT = GUARDS = ("retract", "penalise", "natural", "report")


@dataclass(frozen=True)
class Rule:
    """What a value may be.

    Attributes:
        expected: that in words.
        allows: whether a value is that.
    """

    expected: str
    allows: Callable[[Any], bool]


def _int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _number(value: object) -> bool:
    return _int(value) or isinstance(value, float)


ANYTHING = Rule("anything", lambda value: True)
WHOLE = Rule("an int", _int)
NUMBER = Rule("a number", _number)
COUNT = Rule("a positive int", lambda value: _int(value) and value > 0)
AMOUNT = Rule("a positive number", lambda value: _number(value) and 0 < value < float("inf"))
SHARE = Rule("a share in [0, 1]", lambda value: _number(value) and 0 <= value <= 1)
GUARD = Rule(", ".join(GUARDS), lambda value: value in GUARDS)

CHOSEN, LAST = KEPT = ("chosen", "last")
"""Which weights of a finetune are returned."""

GOAL = re.compile(r"p(\d{1,2})\s*>=\s*([-+]?\d+\.?\d*(?:e[-+]?\d+)?)")
UNTIL = Rule("a quantile and a score, as in 'p05 >= 2'", lambda value: bool(GOAL.fullmatch(str(value).strip())))
WEIGHTS = Rule("auto, full, lora or lora:RANK", lambda value: bool(re.fullmatch(r"auto|full|lora(:\d+)?", str(value))))
PRECISION = Rule("float32 or bfloat16", lambda value: value in ("float32", "bfloat16"))
KEEP = Rule(" or ".join(KEPT), lambda value: value in KEPT)


@dataclass(frozen=True)
class Setting:
    """What is to be known of a setting besides its name, type and default.

    Attributes:
        help: what it means, in one sentence.
        rule: what it may be; where None is the default, None may be too.
        metavar: what stands for its value in the command line's help.
        panel: where that help shows it.
        flags: its words on the command line, first the one that a written command has; by default its name.
        verbs: those that take it.
        python: whether they take it in Python, not only on the command line.
        always: whether a written command has it even where it is the default.
    """

    help: str
    rule: Rule = ANYTHING
    metavar: str = "N"
    panel: str = RUN
    flags: tuple[str, ...] = ()
    verbs: tuple[str, ...] = ("maximize", "sample", "finetune")
    python: bool = True
    always: bool = False


def described(kind: type) -> dict[str, Setting]:
    """Return what is known of each field of a class that is a setting.

    Example:
        >>> list(described(Settings))[:2]
        ['seed', 'batch_size']
    """
    hints = get_type_hints(kind, include_extras=True).items()
    return {name: get_args(hint)[1] for name, hint in hints if get_origin(hint) is Annotated}


def flags(name: str, setting: Setting) -> tuple[str, ...]:
    """Return the words of a setting on the command line.

    Example:
        >>> flags("batch_size", Setting("Samples decoded together."))
        ('--batch-size',)
    """
    return setting.flags or ("--" + name.replace("_", "-"),)


def require(given: object, before: str = "") -> None:
    """Refuse settings that their rules do not allow.

    Args:
        given: what holds them.
        before: goes before the name of the setting.

    Raises:
        InputError: one of them has the wrong type or range.
    """
    for name, setting in described(type(given)).items():
        value, default = getattr(given, name), getattr(type(given), name)
        if value is None is default or setting.rule.allows(value):
            continue
        raise InputError(f"{before}{name}", expected=setting.rule.expected, got=repr(value))


def written(given: object) -> dict[str, Any]:
    """Return the settings that who asks for the same again must give: those that are not the default, or always are.

    Example:
        >>> written(Settings(keep=4))
        {'seed': 0, 'batch_size': 32, 'keep': 4}
    """
    kind = type(given)
    values = {name: getattr(given, name) for name in described(kind)}
    return {n: v for n, v in values.items() if described(kind)[n].always or v != getattr(kind, n)}


def command_words(given: object) -> list[str]:
    """Return the settings as words of the command line.

    Example:
        >>> command_words(Settings(keep=4))
        ['--seed', '0', '--batch-size', '32', '--keep', '4']
    """
    known = described(type(given))
    return [word for name, v in written(given).items() for word in (flags(name, known[name])[0], str(v))]


@dataclass(frozen=True, kw_only=True)
class Common:
    """How a run is to be carried out, whatever its verb.

    Raises:
        InputError: one of them cannot be meant.
    """

    seed: Annotated[int, Setting("Seed of all randomness; the same seed gives the same run.", WHOLE, always=True)] = 0
    batch_size: Annotated[
        int, Setting("Samples decoded and scored together; lower it if memory runs out.", COUNT, always=True)
    ] = 32
    held_out: Annotated[
        str | None, Setting("A second score that no method sees; it judges the winners at the end.", metavar="S")
    ] = None
    device: Annotated[
        str,
        Setting("Where the generator runs: cpu, cuda, cuda:1 or mps.", metavar="NAME", python=False),
    ] = "cpu"
    max_failures: Annotated[
        float,
        Setting("Share of failing evaluations above which the run stops.", SHARE, metavar="SHARE", panel=LIMITS),
    ] = 0.5

    def __post_init__(self) -> None:
        require(self)


@dataclass(frozen=True, kw_only=True)
class Settings(Common):
    """How a run that searches is to be carried out.

    Raises:
        InputError: one of them cannot be meant.
    """

    guard: Annotated[
        str,
        Setting(
            "What keeps samples where the prior lives: retract (they are moved back to its typical shell), penalise "
            "(they pay for leaving it, in units of the score's spread), natural (moved back, and samples pay for "
            "looking unlike the generator's), or report (plausibility is only shown).",
            GUARD,
            metavar="WORD",
            verbs=("maximize",),
        ),
    ] = RETRACT
    patience: Annotated[
        int | None,
        Setting(
            "Stop once the held-out score has not risen for so many twentieths of the budget while the score has; "
            "without one, once the score has not.",
            COUNT,
            panel=LIMITS,
            verbs=("maximize",),
        ),
    ] = None
    keep: Annotated[int, Setting("How many of the best distinct samples are kept.", COUNT, panel=RESULT)] = 16


@dataclass(frozen=True, kw_only=True)
class TuneSettings(Common):
    """How a generator is to be finetuned; what is None is as the tuner recommends.

    Raises:
        InputError: one of them cannot be meant.
    """

    until: Annotated[
        str | None,
        Setting(
            "Stop once a quantile of the score over fresh samples is there, as in 'p05 >= 2'.",
            UNTIL,
            metavar="'pNN>=X'",
            panel=LIMITS,
        ),
    ] = None
    ceiling: Annotated[
        float | None,
        Setting(
            "Score above which nothing is gained; with a goal, half a spread of the parent's scores above it if not "
            "given.",
            NUMBER,
            metavar="X",
        ),
    ] = None
    weights: Annotated[
        str,
        Setting(
            "What moves: full, lora or lora:RANK; auto takes all weights of a small model.", WEIGHTS, metavar="WORD"
        ),
    ] = "auto"
    layers: Annotated[
        str | None,
        Setting("Move only weights whose names hold one of these words, separated by commas.", metavar="WORDS"),
    ] = None
    rate: Annotated[float | None, Setting("Learning rate of AdamW.", AMOUNT, metavar="R")] = None
    updates: Annotated[int | None, Setting("Optimiser steps a round.", COUNT)] = None
    precision: Annotated[
        str, Setting("Of the networks while they are trained: float32 or bfloat16.", PRECISION, metavar="WORD")
    ] = "float32"
    looks: Annotated[int, Setting("How often fresh samples are looked at, at equal shares of the budget.", COUNT)] = 8
    fresh: Annotated[
        int | None,
        Setting("Fresh samples scored at each look; a 64th of the score calls, from 16 to 64, if not given.", COUNT),
    ] = None
    keep: Annotated[
        str,
        Setting(
            "Which weights are returned: chosen (those before held-out score, diversity or realism fell) or last.",
            KEEP,
            metavar="WORD",
            panel=RESULT,
        ),
    ] = CHOSEN


def until(text: str) -> tuple[float, float]:
    """Read a goal as (quantile, score).

    Raises:
        InputError: it is no goal.

    Example:
        >>> until("p05 >= 2"), until("p50>=-0.5")
        ((0.05, 2.0), (0.5, -0.5))
    """
    found = GOAL.fullmatch(text.strip())
    if found is None:
        raise InputError("until", expected=UNTIL.expected, got=repr(text))
    return int(found[1]) / 100, float(found[2])
