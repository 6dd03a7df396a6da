"""What a run was asked to do, as data that can be written down and repeated."""

from __future__ import annotations

import shlex
from dataclasses import asdict, dataclass, field
from typing import Any

from zmax.core.budget import Budget
from zmax.core.settings import Settings, command_words


@dataclass(frozen=True)
class RunSpec(Settings):
    """The question and the settings of one run.

    Attributes:
        verb: "maximize" or "sample".
        generator: specification or name of G.
        score: specification or name of S.
        method: name of the method.
        params: arguments of its constructor that differ from the defaults.
        budget: limits.
        objects: which of generator, score, held_out and method live only in the program that began the run.
        modality: what kind of samples G gives.
        unit: unit of the score.
        held_out_unit: unit of the held-out score.
        reason: why `auto` chose the method.
    """

    generator: str
    score: str
    method: str
    budget: Budget
    params: dict[str, Any] = field(default_factory=dict)
    objects: tuple[str, ...] = ()
    modality: str = "other"
    unit: str = ""
    held_out_unit: str = ""
    reason: str = ""
    verb: str = "maximize"

    def as_json(self) -> dict[str, Any]:
        """Return plain data."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> RunSpec:
        """Read back plain data."""
        return cls(**{**data, "budget": Budget(**data["budget"]), "objects": tuple(data["objects"])})

    def command(self) -> str | None:
        """Return the shell command that repeats this run, or None when its G or S lives only in the user's program."""
        if self.objects:
            return None
        words = ["zmax", self.verb, "-g", self.generator, "-s", self.score, "-m", self.method]
        for name, value in self.params.items():
            drawn = self.verb == "sample" and name == "temperature"
            words += ["--temperature", repr(value)] if drawn else ["-p", f"{name}={value}"]
        words += [*command_words(self.budget), *command_words(self)]
        return shlex.join(words)
