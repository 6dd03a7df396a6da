"""What a run was asked to do, as data that can be written down and repeated."""

from __future__ import annotations

import shlex
from dataclasses import asdict, dataclass, field
from typing import Any

from zmax.core.budget import Budget

_FLAGS = {"nfe": "--nfe", "score_grads": "--score-grads", "seconds": "--seconds"}


@dataclass(frozen=True)
class RunSpec:
    """The question and the settings of one run.

    Attributes:
        verb: "maximize" or "sample".
        generator: specification or name of G.
        score: specification or name of S.
        method: name of the method.
        params: arguments of its constructor that differ from the defaults.
        budget: limits.
        seed: seed of all randomness.
        batch_size: samples decoded and scored together.
        guard: what keeps the method where the prior lives: "retract", "penalise" or "report".
        device: where G's networks are.
        patience: twentieths of the budget without a better held-out score after which the run stops, None for never.
        held_out: specification or name of the held-out score.
        keep: how many leaders keep their samples.
        max_failures: share of failing evaluations above which the run stops.
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
    seed: int = 0
    batch_size: int = 32
    params: dict[str, Any] = field(default_factory=dict)
    held_out: str | None = None
    keep: int = 16
    max_failures: float = 0.5
    objects: tuple[str, ...] = ()
    modality: str = "other"
    unit: str = ""
    held_out_unit: str = ""
    reason: str = ""
    verb: str = "maximize"
    guard: str = "retract"
    patience: int | None = None
    device: str = "cpu"

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
        if self.budget.score_calls is not None:
            words += ["-n", str(self.budget.score_calls)]
        for name, flag in _FLAGS.items():
            if (limit := getattr(self.budget, name)) is not None:
                words += [flag, repr(limit)]
        words += ["--seed", str(self.seed), "--batch-size", str(self.batch_size)]
        if self.held_out is not None:
            words += ["--held-out", self.held_out]
        if self.guard != type(self).guard:
            words += ["--guard", self.guard]
        if self.patience is not None:
            words += ["--patience", str(self.patience)]
        if self.device != type(self).device:
            words += ["--device", self.device]
        if self.keep != type(self).keep:
            words += ["--keep", str(self.keep)]
        if self.max_failures != type(self).max_failures:
            words += ["--max-failures", repr(self.max_failures)]
        return shlex.join(words)
