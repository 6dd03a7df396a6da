"""The result of a condition: a generator that is asked for a score, and what comes of it."""

from __future__ import annotations

import warnings
from functools import cached_property
from typing import Any

import numpy as np

from zmax.core.errors import InputError, ZmaxWarning
from zmax.core.generator import decoded
from zmax.core.rng import stream
from zmax.core.samples import Samples
from zmax.generators.conditioned import Conditioned
from zmax.generators.requests import Request
from zmax.results.calibration import Calibration
from zmax.results.spec import ConditionSpec
from zmax.results.tuning import TuneResult
from zmax.store import Entry

PAGE = "zmax.report.conditioning:write_conditioning"
"""What writes the page of a condition."""

MANY = 64
"""Samples made at once."""

ASKED = "asked"
"""Role of the samples that are kept of a comparison, and what begins the names of their requests."""


class ConditionResult(TuneResult):
    """What a condition came to.

    Attributes:
        spec: what was asked.
        rounds: the curve of training; requested and achieved scores of fresh samples.
        ledger, stop_reason, checks, moves, recipe: as of a finetune.
    """

    spec: ConditionSpec
    PAGE = PAGE

    @property
    def generator(self) -> Conditioned:
        """The conditioned generator: an ordinary one with one more latent block, "score"; `generator.at(score=s)`."""
        made = self.child.generator
        assert isinstance(made, Conditioned), "made so before training"
        return made

    @property
    def learned(self) -> int:
        """Scored samples that were learned from, 0 while they are not all scored."""
        return int(self._journal.get("learned", 0))

    @cached_property
    def calibrations(self) -> tuple[Calibration, ...]:
        """Requested against achieved, of each score at each weight of guidance; none while they were not compared."""
        found = []
        for data in self._journal.get("calibrations", []):
            pairs = np.array([data.pop("asked"), data.pop("achieved")], dtype=np.float64)
            alive = pairs[:, np.isfinite(pairs).all(0)]
            found.append(Calibration(**data, asked=alive[0], achieved=alive[1]))
        return tuple(found)

    @property
    def calibration(self) -> Calibration:
        """Requested against achieved of the first score, without guidance.

        Raises:
            InputError: it was not measured: the budget ended before.
        """
        if not self.calibrations:
            raise InputError("calibration", expected="samples that were compared at the end", got="none yet")
        return self.calibrations[0]

    def sample(
        self,
        n: int,
        score: Request | None = None,
        *,
        away_from: Request | None = None,
        guidance: float = 0.0,
        seed: int = 0,
    ) -> Samples:
        """Draw samples that are asked for a score.

        Args:
            n: their number.
            score: what is asked for, in the score's units; nothing if None.
            away_from: what to be pushed away from.
            guidance: how strongly; see :meth:`Conditioned.at`.
            seed: of the latents.

        Raises:
            InputError: the request does not fit the scores.
        """
        for line in self.outside(score):
            warnings.warn(line, ZmaxWarning, stacklevel=2)
        held = self.generator.at(score, away_from, guidance)
        return decoded(held, held.space.sample(n, stream(seed, "asked")), MANY)

    def outside(self, score: Request | None) -> list[str]:
        """Return a line for each score whose request is outside the range in which what comes is near it."""
        wanted = dict(zip(self.generator.names, self.generator.request(score).tolist(), strict=True))
        lines = []
        for one in self.calibrations:
            value, trusted = wanted[one.name], one.trusted
            if one.guidance or value != value or (trusted is not None and trusted[0] <= value <= trusted[1]):
                continue
            inside = "none" if trusted is None else f"{trusted[0]:.4g} to {trusted[1]:.4g}"
            past = (value - one.highest) / one.spread
            far = f"; it is {past:.1f} standard deviations above every score in the data" if past > 0 else ""
            lines.append(f"{one.name} = {value:.4g} is outside the range to trust ({inside}){far}")
        return lines

    @cached_property
    def asked(self) -> tuple[Entry, ...]:
        """Samples that were kept of the comparison without guidance, from the lowest request to the highest.

        Their `parts` are the requests, under "asked NAME", and of several scores what came, under NAME.
        """
        return tuple(sorted(self._journal.kept(ASKED), key=lambda entry: entry.id))

    def summary(self) -> dict[str, Any]:
        """Return the main figures as plain data."""
        return super().summary() | {"calibrations": [one.row() for one in self.calibrations]}

    def __repr__(self) -> str:
        told = f"Label Score {self.calibration.label_score:.3g} sd" if self.calibrations else "not calibrated"
        return f"ConditionResult({self.spec.method}: {told}, stopped by {self.stop_reason})"
