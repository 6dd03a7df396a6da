"""Does what comes answer what was asked? Rules, each computed from a calibration and said with its numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from zmax.report.sentences import figure, percent
from zmax.report.tuning.verdict import Outcome, checked, diverse, natural
from zmax.report.verdict import OK, UNKNOWN, WARN, Check, Verdict
from zmax.results.calibration import TRUSTED, Calibration, spearman
from zmax.results.conditioning import ASKED, ConditionResult
from zmax.results.looks import Z

ORDERED, COVERED = 0.9, 0.9
"""Least rank correlation of requests and scores, and least share of the requests that is inside the range to trust."""

VARIED = 0.8
"""Least distance of two samples of one request, in distances of two of the data of that score."""


def judge(result: ConditionResult) -> Outcome:
    """Apply the rules to each score without guidance, and to fresh samples beside the parent's."""
    plain = [one for one in result.calibrations if not one.guidance]
    if not plain:
        missing = Check(UNKNOWN, "What comes is compared with what was asked.", "It has not come to that yet.")
        return Outcome("There is nothing to judge yet.", "", Verdict((missing,)), checked(result))
    several = len(plain) > 1
    rules = [rule for one in plain for rule in (near(one, several), ordered(one, several), covered(one, several))]
    rules += [varied(one, several) for one in plain if one.levels]
    verdict = Verdict((*rules, *_kept(result)))
    return Outcome(headline(plain), _hint(result, plain), verdict, checked(result))


def near(one: Calibration, several: bool) -> Check:
    """Warn when scores are further from the requests than what is trusted."""
    rule = f"{_of(one, several)}What comes is near what was asked, within {TRUSTED:g} standard deviations of the data."
    found = f"Label Score, the mean of |achieved − requested|: {figure(one.label_score, 3)} deviations, which is "
    found += f"{figure(one.label_score * one.spread, 3)} in units of the score, over {len(one.asked):,} samples."
    return Check(OK if one.label_score <= TRUSTED else WARN, rule, found)


def ordered(one: Calibration, several: bool) -> Check:
    """Warn when a higher request does not bring a higher score."""
    rule = f"{_of(one, several)}Higher requests bring higher scores."
    return Check(OK if one.rho >= ORDERED else WARN, rule, f"Spearman's rank correlation is {figure(one.rho, 3)}.")


def covered(one: Calibration, several: bool) -> Check:
    """Warn when requests that the data would allow are outside the range to trust."""
    rule = f"{_of(one, several)}The range to trust holds what the data hold."
    if one.trusted is None:
        return Check(WARN, rule, "There is no such range: not even at the median is the mean near what was asked.")
    low, high = one.trusted
    share = float(((one.asked >= low) & (one.asked <= high)).mean())
    found = (
        f"From {figure(low)} to {figure(high)}, the mean of what comes is within {TRUSTED:g} deviations of what was "
    )
    found += f"asked; {percent(share, 0)} of the requests, which follow the data, are inside."
    return Check(OK if share >= COVERED else WARN, rule, found)


def varied(one: Calibration, several: bool) -> Check:
    """Warn when samples of one request are more alike than data of that score are."""
    rule = f"{_of(one, several)}Samples of one request differ as data of that score do."
    found = f"Two samples are {figure(one.diversity, 2)} times as far apart as two of the data."
    return Check(OK if one.diversity >= VARIED else WARN, rule, found)


def judged(result: ConditionResult) -> Check:
    """Warn when the held-out score, which nothing was trained on, falls as more is asked for."""
    rule = "The held-out score does not fall as more is asked for."
    asked, held_out = held_out_by(result)
    if len(asked) < 8:
        return Check(UNKNOWN, rule, "Too few samples have a held-out score.")
    rho = spearman(np.array(asked), np.array(held_out))
    if not math.isfinite(rho):
        return Check(UNKNOWN, rule, "It is the same for all samples.")
    words = f"Its rank correlation with what was asked is {figure(rho, 2)} over {len(asked)} samples."
    return Check(WARN if rho * math.sqrt(len(asked) - 1) < -Z else OK, rule, words)


def held_out_by(result: ConditionResult) -> tuple[list[float], list[float]]:
    """Return what was asked of the first score, and the held-out score, of the samples that have one."""
    name = f"{ASKED} {result.calibrations[0].name}"
    pairs = [(e.parts[name], e.held_out) for e in result.asked if e.held_out is not None and math.isfinite(e.held_out)]
    return [asked for asked, _ in pairs], [value for _, value in pairs]


def headline(plain: list[Calibration]) -> str:
    """Say in a sentence whether what comes is near what was asked, and where to trust it."""
    far = [one for one in plain if one.label_score > TRUSTED]
    if far:
        names = " and ".join(one.name for one in far)
        return f"What comes is not always near what was asked of {names}."
    ranges = [_range(one, len(plain) > 1) for one in plain]
    return f"What comes is near what was asked. Trust {' and '.join(ranges)}."


def _range(one: Calibration, several: bool) -> str:
    if one.trusted is None:
        return f"no request of {one.name}"
    low, high = (figure(value) for value in one.trusted)
    return f"requests{f' of {one.name}' if several else ''} from {low} to {high}"


def _kept(result: ConditionResult) -> Iterator[Check]:
    """Give the rules that compare fresh samples with the parent's, and look at the judge."""
    looks = result.rounds.looks
    if len(looks) > 1 and looks[0].realism and looks[-1].realism:
        yield natural(looks[0], looks[-1])
    if len(looks) > 1 and np.isfinite([looks[0].distance, looks[-1].distance]).all():
        yield diverse(looks[0], looks[-1])
    if result.spec.held_out is not None:
        yield judged(result)


def _hint(result: ConditionResult, plain: list[Calibration]) -> str:
    first = {one.name: one for one in plain}
    better = [
        one for one in result.calibrations if one.guidance and one.label_score < 0.9 * first[one.name].label_score
    ]
    if not better:
        return ""
    best = min(better, key=lambda one: one.label_score)
    return f"Guidance of {best.guidance:g} brings the Label Score of {best.name} to {figure(best.label_score, 3)}."


def _of(one: Calibration, several: bool) -> str:
    return f"{one.name}: " if several else ""
