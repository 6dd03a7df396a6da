"""One setting: its meaning, what it may be, and how the command line and a page show it.

This module must stay light: the command line reads it before it loads torch.
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
PART = Rule("a share in (0, 1]", lambda value: _number(value) and 0 < value <= 1)
GUARD = Rule(", ".join(GUARDS), lambda value: value in GUARDS)

CHOSEN, LAST = KEPT = ("chosen", "last")
"""Which weights of a finetune are returned."""

GOAL = re.compile(r"p(\d{1,2})\s*>=\s*([-+]?\d+\.?\d*(?:e[-+]?\d+)?)")
UNTIL = Rule("a quantile and a score, as in 'p05 >= 2'", lambda value: bool(GOAL.fullmatch(str(value).strip())))
WEIGHTS = Rule("auto, full, lora or lora:RANK", lambda value: bool(re.fullmatch(r"auto|full|lora(:\d+)?", str(value))))
PRECISION = Rule("float32 or bfloat16", lambda value: value in ("float32", "bfloat16"))
KEEP = Rule(" or ".join(KEPT), lambda value: value in KEPT)
GUIDANCES = Rule("numbers separated by commas", lambda v: bool(re.fullmatch(r"-?[\d.]+(\s*,\s*-?[\d.]+)*", str(v))))


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
    verbs: tuple[str, ...] = ("maximize", "sample", "finetune", "condition")
    python: bool = True
    always: bool = False


def described(kind: type) -> dict[str, Setting]:
    """Return what is known of each field of a class that is a setting.

    Example:
        >>> from zmax.core.settings import Settings
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
        >>> from zmax.core.settings import Settings
        >>> written(Settings(keep=4))
        {'seed': 0, 'batch_size': 32, 'keep': 4}
    """
    kind = type(given)
    values = {name: getattr(given, name) for name in described(kind)}
    return {n: v for n, v in values.items() if described(kind)[n].always or v != getattr(kind, n)}


def command_words(given: object) -> list[str]:
    """Return the settings as words of the command line.

    Example:
        >>> from zmax.core.settings import Settings
        >>> command_words(Settings(keep=4))
        ['--seed', '0', '--batch-size', '32', '--keep', '4']
    """
    known = described(type(given))
    return [word for name, v in written(given).items() for word in (flags(name, known[name])[0], str(v))]
