"""The result of a condition: a generator that is asked for a score, and what comes of it."""

from __future__ import annotations

import warnings
from functools import cached_property
from typing import Any

import numpy as np
from torch import Tensor

from zmax.core.errors import CapabilityError, InputError, ZmaxWarning
from zmax.core.generator import decoded
from zmax.core.rng import stream
from zmax.core.samples import Samples, take
from zmax.generators.conditioned import Conditioned
from zmax.generators.requests import Request
from zmax.kit.ranker import FEWEST, Ranker
from zmax.natural.sliding import Level
from zmax.results.calibration import Calibration
from zmax.results.spec import ConditionSpec
from zmax.results.tuning import TuneResult
from zmax.store import Entry
from zmax.store.samples import unpack

PAGE = "zmax.report.conditioning:write_conditioning"
"""What writes the page of a condition."""

MANY = 64
"""Samples made at once."""

RANKER = "ranker"
"""Where the journal keeps what chooses among candidates."""

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
            levels = tuple(Level(**level) for level in data.pop("levels", []))
            found.append(Calibration(**data, asked=alive[0], achieved=alive[1], levels=levels))
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
        of: int = 1,
        seed: int = 0,
    ) -> Samples:
        """Draw samples that are asked for a score.

        Args:
            n: their number.
            score: what is asked for, in the score's units; nothing if None.
            away_from: what to be pushed away from.
            guidance: how strongly; see :meth:`Conditioned.at`.
            of: candidates for each sample, of which :attr:`ranker` chooses; the score is not called.
            seed: of the latents.

        Raises:
            InputError: the request does not fit the scores.
            CapabilityError: candidates, of a condition that has learned no ranking.
        """
        for line in self.outside(score, of):
            warnings.warn(line, ZmaxWarning, stacklevel=2)
        held = self.generator.at(score, away_from, guidance)
        u = held.space.sample(n * of, stream(seed, "asked"))
        samples = decoded(held, u, MANY)
        return samples if of == 1 else take(samples, self.best_of(samples, score, n))

    def best_of(self, samples: Samples, score: Request | None, n: int) -> list[int]:
        """Return which n of some candidates are kept for a request, the best first; the score is not called.

        Asked within the data those are kept whose place among the data is nearest to that of the request; asked above
        it, those that rank highest.

        Raises:
            CapabilityError: the condition has learned no ranking.
        """
        ranker = self.ranker
        if ranker is None or not isinstance(samples, Tensor):
            raise CapabilityError(
                "candidates for a request",
                expected=f"a condition that learned to rank {FEWEST} scored tensors or more",
                got=f"{self.learned} samples" if isinstance(samples, Tensor) else "samples that are no tensors",
                remedy="leave `of` out",
            )
        return ranker.order(samples, self.generator.request(score))[:n].tolist()

    @cached_property
    def ranker(self) -> Ranker | None:
        """What chooses among candidates: it learned from the data which of two samples scores higher."""
        blob = self._journal.blob(RANKER)
        return None if blob is None else Ranker.of(unpack(blob))

    @property
    def ordered(self) -> dict[str, float]:
        """By score, the share of pairs of data, kept aside, that :attr:`ranker` orders right."""
        return dict(self._journal.get("ordered", {}))

    def outside(self, score: Request | None, of: int = 1) -> list[str]:
        """Return a line for each score whose request is outside the range in which what comes is near it.

        It says how far outside the data the request is, and what chooses among candidates, `of` for each sample.
        """
        wanted = dict(zip(self.generator.names, self.generator.request(score).tolist(), strict=True))
        lines = []
        for one in self.calibrations:
            value, trusted = wanted[one.name], one.trusted
            if one.guidance or value != value or (trusted is not None and trusted[0] <= value <= trusted[1]):
                continue
            inside = "none" if trusted is None else f"{trusted[0]:.4g} to {trusted[1]:.4g}"
            line = f"{one.name} = {value:.4g} is outside the range to trust ({inside})"
            if one.beyond(value):
                line += f"; it is {abs(one.beyond(value)):.1f} standard deviations "
                line += f"{'above' if one.beyond(value) > 0 else 'below'} every score in the data"
            if one.name in self.ordered:
                line += f"; {self._choice(one.name, of)}"
            lines.append(line)
        return lines

    def _choice(self, name: str, of: int) -> str:
        """Say what chooses, or could."""
        right = f"a ranking that orders {self.ordered[name]:.0%} of pairs of data right"
        return f"the best of {of} candidates each are kept, by {right}" if of > 1 else f"of=8 keeps the best by {right}"

    @cached_property
    def asked(self) -> tuple[Entry, ...]:
        """Samples that were kept of the comparison without guidance, from the lowest request to the highest.

        Their `parts` are the requests, under "asked NAME", and of several scores what came, under NAME.
        """
        return tuple(sorted(self._journal.kept(ASKED), key=lambda entry: entry.id))

    def summary(self) -> dict[str, Any]:
        """Return the main figures as plain data."""
        return super().summary() | {
            "calibrations": [one.row() for one in self.calibrations],
            "ordered": self.ordered,
        }

    def __repr__(self) -> str:
        told = f"Label Score {self.calibration.label_score:.3g} sd" if self.calibrations else "not calibrated"
        return f"ConditionResult({self.spec.method}: {told}, stopped by {self.stop_reason})"
