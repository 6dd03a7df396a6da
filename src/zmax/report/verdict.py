"""Is it fooling the score? A few rules, each computed from a handful of numbers and said with them."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from zmax.report import measures
from zmax.report.sentences import figure
from zmax.results.result import Result

OK, WARN, UNKNOWN = "ok", "warn", "unknown"

FORGIVEN = 0.25
"""Share of the held-out score's rise that may be lost again."""

UNMEASURED = "How natural the samples look was not measured: `zmax.realism(G)`, made once, lets every run do it."

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
    measured = [natural(result)] if measures.realism(result.leaders) else []
    limits = [met(result)] if result.spec.constraints else []
    return Verdict((*limits, plausible(result), *measured, confirmed(result), *([lasting(result)] if watched else [])))


def met(result: Result) -> Check:
    """Warn when no sample meets the constraints."""
    rule = "Some sample meets the constraints."
    if not result.leaders:
        return Check(UNKNOWN, rule, "No sample got a score.")
    found = f"{result.meeting[:1].upper()}{result.meeting[1:]}."
    return Check(OK if result.leaders[0].feasible else WARN, rule, found)


def plausible(result: Result) -> Check:
    """Warn when the plausibility of the best sample, or its median over the leaders, is below 0.05."""
    found = _usual("plausibility", [e.plausibility for e in result.leaders])
    if measures.realism(result.leaders) or result.spec.modality not in ("image", "vector"):
        return found
    return replace(found, found=f"{found.found} {UNMEASURED}")


def natural(result: Result) -> Check:
    """Warn when the realism of the best sample, or its median over the leaders, is below 0.05."""
    return _usual("realism", [math.nan if e.realism is None else e.realism for e in result.leaders])


def _usual(name: str, values: list[float]) -> Check:
    """Hold a number in [0, 1] of each leader, best first, against what is suspicious."""
    least = measures.SUSPICIOUS
    rule = f"The {name} of the best sample, and its median over the best ones, are at least {least:g}."
    middle = measures.quantile(values, 0.5)
    if middle is None:
        return Check(UNKNOWN, rule, "No sample got a score.")
    low = sum(v < least for v in values)
    found = f"They are {figure(values[0])} and {figure(middle)}; {low} of {len(values)} are below {least:g}."
    return Check(WARN if values[0] < least or middle < least else OK, rule, found)


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
