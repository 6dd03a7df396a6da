"""What a run was asked to do, as data that can be written down and repeated."""

from __future__ import annotations

import shlex
from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar

from zmax.core.budget import DEFAULT_CALLS, Budget
from zmax.core.setting import command_words
from zmax.core.settings import AND, ConditionSettings, Settings, TuneSettings

DRAWN, CHECKED = 0.75, 0.125
"""Shares of the score calls for what is learned from, and for comparing requests with what comes."""

FEWEST, MOST, SHARE = 16, 64, 64
"""Fresh samples of a look: one in so many score calls, between the two."""

PROBED = 6
"""Samples that are scored before a run has a folder, at most."""

QuestionT = TypeVar("QuestionT", bound="Question")


@dataclass(frozen=True)
class Question:
    """What was asked of which generator.

    Attributes:
        generator: specification or name of G.
        score: specification or name of S.
        method: name of the method or tuner.
        params: arguments of its constructor that differ from the defaults.
        budget: limits.
        objects: which of generator, score, held_out and method live only in the program that began the run.
        modality: what kind of samples G gives.
        unit: unit of the score.
        constraints: what samples have to meet: what is judged, ">=" or "<=", and the bound of each.
        goals: names of what has to be high one by one, none where S is one number.
        held_out_unit: unit of the held-out score.
        reason: why `auto` chose the method.
        verb: "maximize", "sample", "finetune" or "condition".
    """

    generator: str
    score: str
    method: str
    budget: Budget
    params: dict[str, Any] = field(default_factory=dict)
    objects: tuple[str, ...] = ()
    modality: str = "other"
    unit: str = ""
    constraints: tuple[tuple[str, str, float], ...] = ()
    goals: tuple[str, ...] = ()
    held_out_unit: str = ""
    reason: str = ""
    verb: str = "maximize"

    def as_json(self) -> dict[str, Any]:
        """Return plain data."""
        return asdict(self)

    @classmethod
    def from_json(cls: type[QuestionT], data: dict[str, Any]) -> QuestionT:
        """Read back plain data."""
        known = {"budget": Budget(**data["budget"]), "objects": tuple(data["objects"])}
        known |= {"constraints": tuple(tuple(one) for one in data.get("constraints", ()))}
        known |= {"goals": tuple(data.get("goals", ()))}
        return cls(**{**data, **known})

    def command(self) -> str | None:
        """Return the shell command that repeats this run, or None when its G or S lives only in the user's program."""
        if self.objects:
            return None
        scores = self.score.split(AND)
        words = ["zmax", self.verb, "-g", self.generator, *(word for s in scores for word in ("-s", s))]
        words += ["-m", self.method]
        for name, value in self.params.items():
            drawn = self.verb == "sample" and name == "temperature"
            words += ["--temperature", repr(value)] if drawn else ["-p", f"{name}={value}"]
        words += [*command_words(self.budget), *command_words(self)]
        return shlex.join(words)


@dataclass(frozen=True)
class RunSpec(Settings, Question):
    """The question and the settings of a run that searches."""


@dataclass(frozen=True)
class TuneSpec(TuneSettings, Question):
    """The question and the settings of a finetune."""


@dataclass(frozen=True)
class ConditionSpec(ConditionSettings, Question):
    """The question and the settings of a generator that is conditioned."""

    @property
    def weights_of_guidance(self) -> tuple[float, ...]:
        """The weights at which requests are compared with what came."""
        return tuple(float(word) for word in self.guidances.split(","))

    @property
    def scores(self) -> list[str]:
        """Specifications or names of the scores, one each."""
        return self.score.split(AND)

    @property
    def drawn(self) -> int:
        """Samples of the generator that are learned from."""
        calls = self.budget.score_calls or DEFAULT_CALLS
        left = calls - self.compared - (self.looks + 1) * fresh_of(self)
        return self.draws or max(2, min(int(DRAWN * calls), left - PROBED))

    @property
    def compared(self) -> int:
        """Samples by which requests are compared with what comes."""
        return self.checked or int(CHECKED * (self.budget.score_calls or DEFAULT_CALLS))


def fresh_of(spec: TuneSpec | ConditionSpec) -> int:
    """Return the fresh samples of a look."""
    calls = spec.budget.score_calls
    return spec.fresh or (MOST if calls is None else min(MOST, max(FEWEST, calls // SHARE)))


Spec = RunSpec | TuneSpec | ConditionSpec
TrainSpec = TuneSpec | ConditionSpec
KINDS: dict[str, type[RunSpec] | type[TuneSpec] | type[ConditionSpec]] = {
    "maximize": RunSpec,
    "sample": RunSpec,
    "finetune": TuneSpec,
    "condition": ConditionSpec,
}
"""What a verb's run is written down as."""
