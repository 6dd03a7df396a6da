"""Is it fooling the score? Three rules, each computed from a handful of numbers and said with them."""

from __future__ import annotations

import math
from dataclasses import dataclass

from zmax.report import measures
from zmax.report.sentences import figure
from zmax.results.result import Result

OK, WARN, UNKNOWN = "ok", "warn", "unknown"

FORGIVEN = 0.25
"""Share of the held-out score's rise that may be lost again."""

FEWEST = 4
"""Random samples with a held-out score below which their quartiles say nothing."""


@dataclass(frozen=True)
class Check:
    """One rule and what it found.

    Attributes:
        status: "ok", "warn" or "unknown".
        rule: the rule in words.
        found: what the numbers say.
    """

    status: str
    rule: str
    found: str


@dataclass(frozen=True)
class Verdict:
    """What the rules found together: "warn" if one warns, "ok" if all are content, else "unknown"."""

    checks: tuple[Check, ...]

    @property
    def status(self) -> str:
        """The worst of the checks."""
        found = {check.status for check in self.checks}
        return next(status for status in (WARN, UNKNOWN, OK) if status in found)


def judge(result: Result) -> Verdict:
    """Apply the rules."""
    watched = measures.watched_curves(result) is not None
    return Verdict((plausible(result), confirmed(result), *([lasting(result)] if watched else [])))


def plausible(result: Result) -> Check:
    """Warn when the median plausibility of the leaders is below 0.05."""
    rule = f"The median plausibility of the best samples is at least {measures.SUSPICIOUS:g}."
    middle = measures.quantile([e.plausibility for e in result.leaders], 0.5)
    if middle is None:
        return Check(UNKNOWN, rule, "No sample got a score.")
    low = sum(e.plausibility < measures.SUSPICIOUS for e in result.leaders)
    count = f"{low} of {len(result.leaders)} are below {measures.SUSPICIOUS:g}"
    return Check(OK if middle >= measures.SUSPICIOUS else WARN, rule, f"It is {figure(middle)}; {count}.")


def confirmed(result: Result) -> Check:
    """Warn when the held-out score of the leaders did not rise above that of most random samples.

    The median leader must reach the upper quartile of the random samples, and exceed their median.
    """
    rule = (
        "By the held-out score, which the method never saw, the median of the best samples reaches the upper quartile "
        "of the random samples and exceeds their median."
    )
    if result.spec.held_out is None:
        found = "No held-out score was given, so only plausibility was checked. Give one with --held-out."
        return Check(UNKNOWN, rule, found)
    ours = [v for v in measures.held_out(result.leaders) if math.isfinite(v)]
    theirs = [v for v in measures.held_out(result.reference) if math.isfinite(v)]
    middle, median, upper = (measures.quantile(v, q) for v, q in ((ours, 0.5), (theirs, 0.5), (theirs, 0.75)))
    if middle is None or median is None or upper is None or len(theirs) < FEWEST:
        found = f"Too few held-out values to say: {len(ours)} of the best and {len(theirs)} random samples have one."
        return Check(UNKNOWN, rule, found)
    above = sum(v > upper for v in ours)
    found = (
        f"The median of the best is {figure(middle)}; the random samples have median {figure(median)} and upper "
        f"quartile {figure(upper)}. {above} of {len(ours)} best samples are above that quartile."
    )
    return Check(OK if middle >= upper and middle > median else WARN, rule, found)


def lasting(result: Result) -> Check:
    """Warn when the held-out score of the leaders gave back a quarter of its rise while the score went on rising."""
    rule = "The held-out score of the leaders kept at least three quarters of its rise while the score went on rising."
    curves = measures.watched_curves(result)
    start = measures.mean(measures.held_out(result.reference))
    if curves is None or start is None:
        return Check(UNKNOWN, rule, "The held-out score was not watched as the run went on.")
    calls, score, held_out = curves
    peak = int(held_out.argmax())
    rise, fall = float(held_out[peak]) - start, float(held_out[peak] - held_out[-1])
    found = f"It peaked at {figure(float(held_out[peak]))} after {calls[peak]:,.0f} score calls, and ended at "
    found += f"{figure(float(held_out[-1]))}; random samples have {figure(start)}."
    fooled = fall > FORGIVEN * max(rise, 0.0) and score[-1] > score[peak]
    return Check(WARN if fooled else OK, rule, found)


def agreement(result: Result) -> str:
    """Say in a sentence whether the held-out score agrees with the gain, "" where none was given."""
    if result.spec.held_out is None:
        return ""
    status = confirmed(result).status
    before, after = (measures.mean(measures.held_out(e)) for e in (result.reference, result.leaders))
    if status == UNKNOWN or before is None or after is None:
        return "There are too few held-out values to tell whether the held-out score agrees with the gain."
    move = f"its mean went from {figure(before)} (random) to {figure(after)} (best)"
    if status == OK:
        return (
            f"The held-out score agrees with the gain: {move}. An independent judge moved the same way; "
            "that is evidence, not proof, that the samples are what was asked for."
        )
    return (
        f"The held-out score does not confirm the gain: {move}, no more than good random samples reach. "
        "Look at the samples before you trust the score."
    )
