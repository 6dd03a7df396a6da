"""The settings of a run: each stands here once, with all that its readers need to know of it.

The checks of the verbs, the options of the command line, the command that repeats a run and the table of its page
derive from the fields below; the verbs in Python repeat names, types, defaults and meanings for readers and editors,
and `tests/test_settings.py` holds them to these. This module must stay light: the command line reads it before
it loads torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from zmax.core.errors import InputError
from zmax.core.setting import (
    AMOUNT,
    CHOSEN,
    COUNT,
    GOAL,
    GUARD,
    GUIDANCES,
    KEEP,
    LIMITS,
    NUMBER,
    PART,
    PRECISION,
    RESULT,
    RETRACT,
    SHARE,
    UNTIL,
    WEIGHTS,
    WHOLE,
    Setting,
    described,
    require,
)

SettingsT = TypeVar("SettingsT", bound="Common")

AND = " & "
"""Stands between the names of several scores: the goals of a run, or what a generator is conditioned on."""


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
    workers: Annotated[
        int | None,
        Setting("Processes that score samples, one sample each, where the score is per_sample.", COUNT, python=False),
    ] = None

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
    start: Annotated[
        str | None,
        Setting(
            "Where to begin: the folder of a run (its best), a picture, or a CSV or Parquet file of latents and "
            "scores; from Python also latents, samples, a result, a frame or a pair (z, score).",
            metavar="WHERE",
            verbs=("maximize",),
        ),
    ] = None
    strength: Annotated[
        float,
        Setting(
            "How far from a start to look first, as a share of new noise; of a path that share is gone anew.",
            PART,
            metavar="SHARE",
            verbs=("maximize",),
        ),
    ] = 0.5
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
class TrainSettings(Common):
    """How weights are to be moved, whatever they learn; what is None is as the method recommends.

    Raises:
        InputError: one of them cannot be meant.
    """

    rate: Annotated[float | None, Setting("Learning rate of AdamW.", AMOUNT, metavar="R")] = None
    precision: Annotated[
        str, Setting("Of the networks while they are trained: float32 or bfloat16.", PRECISION, metavar="WORD")
    ] = "float32"
    fresh: Annotated[
        int | None,
        Setting("Fresh samples scored at each look; a 64th of the score calls, from 16 to 64, if not given.", COUNT),
    ] = None


@dataclass(frozen=True, kw_only=True)
class TuneSettings(TrainSettings):
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
    updates: Annotated[int | None, Setting("Optimiser steps a round.", COUNT)] = None
    looks: Annotated[int, Setting("How often fresh samples are looked at, at equal shares of the budget.", COUNT)] = 8
    keep: Annotated[
        str,
        Setting(
            "Which weights are returned: chosen (those before held-out score, diversity or realism fell) or last.",
            KEEP,
            metavar="WORD",
            panel=RESULT,
        ),
    ] = CHOSEN


@dataclass(frozen=True, kw_only=True)
class ConditionSettings(TrainSettings):
    """How a generator is to be conditioned; what is None is as the method recommends.

    Raises:
        InputError: one of them cannot be meant.
    """

    data: Annotated[
        str | None,
        Setting(
            "A folder of images, with a CSV or Parquet file of file names and scores, to learn from instead of samples "
            "of the generator.",
            metavar="FOLDER",
            verbs=("condition",),
        ),
    ] = None
    draws: Annotated[
        int | None,
        Setting(
            "Samples of the generator scored first, to learn from; three quarters of the score calls if not given.",
            COUNT,
            verbs=("condition",),
        ),
    ] = None
    checked: Annotated[
        int | None,
        Setting(
            "Samples by which achieved scores are compared with requested ones at the end; an eighth of the score "
            "calls if not given.",
            COUNT,
            verbs=("condition",),
        ),
    ] = None
    guidances: Annotated[
        str,
        Setting(
            "Weights of guidance at which that is done, separated by commas; decoders know 0 alone.",
            GUIDANCES,
            metavar="W,W",
            verbs=("condition",),
        ),
    ] = "0,1"
    looks: Annotated[int, Setting("How often fresh samples are looked at, at equal shares of training.", COUNT)] = 4


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


def among(kind: type[SettingsT], arguments: Mapping[str, Any]) -> SettingsT:
    """Return the settings among the arguments of a verb, whose held-out score is known by its words."""
    found = {name: arguments[name] for name in described(kind) if name in arguments}
    judge = found.get("held_out")
    return kind(**found | {"held_out": None if judge is None else str(judge)})
