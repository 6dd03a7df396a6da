"""Looks at fresh samples of a finetuned generator as numbers, and the rule that chooses among them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
"""Of the scores, those of the curve."""

Z = 1.96
"""Standard errors either side that make a 95 % interval."""

DISTANCE = 0.7
"""Least mean distance between samples, as a share of the parent's, at which weights may be chosen."""

NATURAL = 0.75
"""Least share of natural samples, as a share of the parent's."""


@dataclass(frozen=True)
class Look:
    """What fresh samples of the child, of the same noises each time, are like after some updates.

    Attributes:
        look: its number, 0 for the parent.
        round, updates: rounds and optimiser steps done.
        score_calls, nfe, seconds: what they had cost.
        scores: of each sample, -inf where it failed.
        held_out: held-out score of each, empty where none is given.
        realism: of each under the parent, empty where it is not known.
        distance, vendi: mean distance between samples and Vendi score, over features of the samples.
        distance_error: standard error of the distance.
        statistics: means of cheap statistics of pictures.
        kl, kl_error: KL(child || parent) in nats with its standard error; NaN where it was not estimated.
        loss, slope: mean loss and gradient norm of the updates since the look before.
        moved: how far the weights are from the parent's, as a share of the size of those.
        asked, achieved: of a conditioned generator, by score: what was requested of each sample, and what came.
    """

    look: int
    round: int
    updates: int
    score_calls: int
    nfe: int
    seconds: float
    scores: list[float]
    held_out: list[float] = field(default_factory=list)
    realism: list[float] = field(default_factory=list)
    distance: float = math.nan
    distance_error: float = math.nan
    vendi: float = math.nan
    statistics: dict[str, float] = field(default_factory=dict)
    kl: float = math.nan
    kl_error: float = math.nan
    loss: float = math.nan
    slope: float = math.nan
    moved: float = math.nan
    asked: list[list[float]] = field(default_factory=list)
    achieved: list[list[float]] = field(default_factory=list)

    @property
    def off(self) -> float:
        """Label Score: mean distance of achieved from requested scores, NaN where nothing is asked for."""
        pairs = zip(self.asked, self.achieved, strict=True)
        return _mean([abs(a - s) for asked, came in pairs for a, s in zip(asked, came, strict=True)])

    def quantile(self, share: float) -> float:
        """Return that quantile of the scores, a failure counting as the lowest."""
        return float(np.quantile(np.array(self.scores), share, method="lower"))

    @property
    def score(self) -> float:
        """Mean score of the samples that have one."""
        return _mean(self.scores)

    @property
    def judged(self) -> float:
        """Mean held-out score, NaN where there is none."""
        return _mean(self.held_out)

    @property
    def judged_error(self) -> float:
        """Standard error of the mean held-out score."""
        known = np.array([v for v in self.held_out if math.isfinite(v)])
        return float(known.std(ddof=1) / len(known) ** 0.5) if len(known) > 1 else math.nan

    @property
    def natural(self) -> float:
        """Share of the samples of realism at least 0.05, NaN where it is not known."""
        return float(np.mean(np.array(self.realism) >= 0.05)) if self.realism else math.nan

    def samples(self) -> list[tuple[float, float, float]]:
        """Return score, held-out score and realism of each sample, NaN where they are not known."""
        judged, natural = iter(self.held_out), iter(self.realism)
        alive = [math.isfinite(score) for score in self.scores]
        held_out = [next(judged, math.nan) if ok else math.nan for ok in alive]
        return [(s, h, next(natural, math.nan)) for s, h in zip(self.scores, held_out, strict=True)]

    def row(self) -> dict[str, float]:
        """Return the numbers of the curve."""
        quantiles = {f"p{round(100 * q):02}": self.quantile(q) for q in QUANTILES}
        names = ("look", "round", "updates", "score_calls", "nfe", "seconds")
        told = {name: float(getattr(self, name)) for name in names}
        told |= {"score": self.score, **quantiles, "held_out": self.judged, "held_out_error": self.judged_error}
        told |= {"kl": self.kl, "kl_error": self.kl_error, "natural": self.natural}
        told |= {"distance": self.distance, "vendi": self.vendi, "loss": self.loss, "slope": self.slope}
        told["moved"] = self.moved
        told |= {"off": self.off} if self.asked else {}
        return told | self.statistics


def choose(looks: list[Look], keep: str) -> tuple[int, str]:
    """Return which look's weights are returned, and why.

    The last one before the held-out score fell below its best by more than their joint 95 % interval, or before
    diversity or realism fell below what a part of the parent's law may have.
    """
    last = len(looks) - 1
    if keep == "last":
        return last, "the last weights, as asked for"
    best = looks[0]
    for look in looks[1:]:
        fault = _fault(look, best, looks[0])
        if fault:
            return look.look - 1, f"the weights before {fault}"
        if not look.judged <= best.judged:
            best = look
    return last, "the last weights: neither held-out score, nor diversity, nor realism had fallen"


def _fault(look: Look, best: Look, parent: Look) -> str:
    margin = Z * math.hypot(look.judged_error, best.judged_error)
    if look.judged < best.judged - margin:
        return f"the held-out score fell from {best.judged:.3g} to {look.judged:.3g}"
    if look.distance + Z * look.distance_error < DISTANCE * parent.distance:
        return f"the mean distance between samples fell to {look.distance / parent.distance:.0%} of the parent's"
    if look.natural < NATURAL * parent.natural - Z * math.sqrt(0.25 / max(1, len(look.realism))):
        return f"the share of natural samples fell from {parent.natural:.0%} to {look.natural:.0%}"
    return ""


def _mean(values: list[float]) -> float:
    known = [value for value in values if math.isfinite(value)]
    return sum(known) / len(known) if known else math.nan
