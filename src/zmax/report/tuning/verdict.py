"""Did a finetune do what was asked? Rules, each computed from two looks and said with its numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from zmax.core.setting import LAST
from zmax.report.sentences import figure, percent
from zmax.report.tuning.course import KINDS, PICTURES, share
from zmax.report.tuning.pairs import shown
from zmax.report.verdict import OK, UNKNOWN, WARN, Check, Verdict
from zmax.results.looks import Look, Z
from zmax.results.spec import TuneSpec
from zmax.results.still import gain
from zmax.results.tuning import TuneResult

KEPT = 0.7
"""Least share of the parent's diversity, or of a picture statistic, above which it has not collapsed."""

LIT = 0.3
"""Share of the pixels by which the dark ones may become more."""


@dataclass(frozen=True)
class Outcome:
    """What is said of a finetune.

    Attributes:
        headline: in a sentence.
        hint: why the score is not moving, or what to change where the parent is returned; "" where there is nothing.
        verdict: the rules.
        self_checks: what was looked at before the first update.
    """

    headline: str
    hint: str
    verdict: Verdict
    self_checks: Verdict | None


def judge(result: TuneResult) -> Outcome:
    """Apply the rules to the child, or where that is the parent, to the last look."""
    looks, self_checks = result.rounds.looks, checked(result)
    if len(looks) < 2:
        missing = Check(UNKNOWN, "Fresh samples of the child are compared with the parent's.", "It has no child yet.")
        return Outcome("There is nothing to judge yet.", "", Verdict((missing,)), self_checks)
    before, after = looks[0], looks[shown(result)]
    rise = rose(before, after)
    verdict = Verdict((rise, *signs(before, after, rise.status == OK), beaten(result)))
    return Outcome(_headline(result, rise, verdict), _hint(result), verdict, self_checks)


def checked(result: TuneResult) -> Verdict | None:
    """Return what was looked at before the first update, None where nothing was."""
    found = tuple(
        Check(OK if ok else WARN, f"{name[:1].upper()}{name[1:]}.", found) for name, ok, found in result.checks
    )
    return Verdict(found) if found else None


def signs(before: Look, after: Look, up: bool) -> Iterator[Check]:
    """Give the rules that show a score that is fooled."""
    yield confirmed(before, after, up)
    if before.realism and after.realism:
        yield natural(before, after)
    if math.isfinite(share(after, before, "distance")):
        yield diverse(before, after)
    if before.statistics and after.statistics:
        yield pictured(before, after)


def rose(before: Look, after: Look) -> Check:
    """Warn when the score of fresh samples, noise by noise, did not rise."""
    rule = "The score of fresh samples rose."
    change, error = gain(before.scores, after.scores)
    if not math.isfinite(change):
        return Check(UNKNOWN, rule, "Too few samples have a score.")
    means = f"Its mean went from {figure(before.score)} to {figure(after.score)}, its 5 % quantile from "
    means += f"{figure(before.quantile(0.05))} to {figure(after.quantile(0.05))}; "
    means += f"noise by noise it changed by {figure(change)} ± {figure(Z * error, 2)}."
    return Check(_moved(change, error), rule, means)


def confirmed(before: Look, after: Look, up: bool) -> Check:
    """Warn when the score rose and the held-out score, which no update sees, did not."""
    rule = "The held-out score, which no update sees, rose with it."
    if not before.held_out and not after.held_out:
        return Check(UNKNOWN, rule, "None was given, so nothing tells a better sample from a fooled score: --held-out.")
    columns = [[held_out for _, held_out, _ in look.samples()] for look in (before, after)]
    change, error = gain(*columns)
    if not math.isfinite(change):
        return Check(UNKNOWN, rule, "Too few samples have a held-out score.")
    found = f"Its mean went from {figure(before.judged)} to {figure(after.judged)}; noise by noise it changed by "
    found += f"{figure(change)} ± {figure(Z * error, 2)}."
    status = _moved(change, error)
    return Check(status if up or status == WARN else UNKNOWN, rule, found)


def natural(before: Look, after: Look) -> Check:
    """Warn when the share of natural samples fell by more than its 95 % interval."""
    rule = "As many samples look like the parent's: the share of realism at least 0.05 did not fall."
    old, new, n = before.natural, after.natural, min(len(before.realism), len(after.realism))
    margin = Z * math.sqrt((old * (1 - old) + new * (1 - new)) / n)
    found = f"It was {percent(old, 0)} and is {percent(new, 0)} of {n}."
    return Check(WARN if new < old - margin else OK, rule, found)


def diverse(before: Look, after: Look) -> Check:
    """Warn when samples are nearer to each other, or of fewer kinds, than seven tenths of the parent's."""
    rule = f"Samples differ as much as {KEPT:.0%} of the parent's do, and are of as many kinds."
    kept = {name: share(after, before, name) for name in ("distance", "vendi")}
    parts = [f"{KINDS[name]} {percent(value, 0) if value < 1 else f'{value:.0%}'}" for name, value in kept.items()]
    found = f"Of the parent's: {', '.join(parts)}."
    return Check(WARN if min(kept.values()) < KEPT else OK, rule, found)


def pictured(before: Look, after: Look) -> Check:
    """Warn when a cheap statistic of pictures collapsed or soared, which it did in published runs as reward rose."""
    rule = "Colours, edges and brightness of pictures are what they were, within 30 %."
    kept = {name: share(after, before, name) for name in ("colours", "edges", "norm")}
    kept = {name: value for name, value in kept.items() if math.isfinite(value)}
    darker = after.statistics.get("dark", 0.0) - before.statistics.get("dark", 0.0)
    parts = [f"{PICTURES[name]} {value:.0%}" for name, value in kept.items()]
    found = f"Of the parent's: {', '.join(parts)}."
    if "dark" in after.statistics:
        found += f" Dark pixels: {before.statistics['dark']:.0%} and now {after.statistics['dark']:.0%}."
    odd = any(not KEPT <= value <= 1 / KEPT for value in kept.values()) or darker > LIT
    return Check(WARN if odd else OK, rule, found)


def beaten(result: TuneResult) -> Check:
    """Warn when best-of-n of the parent gives more at the same KL than the child does."""
    rule = "The child is above best-of-n of the parent at the same KL."
    found = result.frontier
    point = None if found is None else next((p for p in found.points if p.look == shown(result)), None)
    if found is None or point is None:
        return Check(UNKNOWN, rule, "The KL of the child to the parent is not known.")
    end = found.line.end
    kl = min(max(point.kl, 0.0), end)
    line = found.line.at(kl)
    if line is None:
        return Check(UNKNOWN, rule, "Too few samples of the parent have a score.")
    value, error = line
    over, margin = point.value - value, Z * math.hypot(point.error, error)
    what = "held-out score" if found.judged else "score"
    words = f"At a KL of {figure(point.kl, 3)} nats its mean {what} is {figure(point.value)}; best-of-n has "
    words += f"{figure(value)} at {figure(kl, 3)}: a difference of {figure(over)} ± {figure(margin, 2)}."
    if over < -margin:
        return Check(WARN, rule, words)
    far = "" if point.kl <= end else " Further out, so few samples of the parent do not tell what best-of-n gives."
    return Check(OK if over > margin and not far else UNKNOWN, rule, words + far)


def _moved(change: float, error: float) -> str:
    return OK if change > Z * error else WARN if change < -Z * error or change == error == 0 else UNKNOWN


def _hint(result: TuneResult) -> str:
    if result.still:
        return f"By the last look the score has not risen: {result.still}."
    if result.chosen or not isinstance(result.spec, TuneSpec) or result.spec.keep == LAST:
        return ""
    rate = result.recipe.get("rate", math.nan)
    return f"It went too far before the first look: take a third of the learning rate, {rate:.1g}, or look more often."


def _headline(result: TuneResult, rise: Check, verdict: Verdict) -> str:
    if not result.chosen:
        return f"What is returned is the parent: {result.why}."
    if rise.status != OK:
        return "The score of fresh samples did not rise."
    fooled = [check for check in verdict.checks[1:-1] if check.status == WARN]
    if fooled:
        return "The score rose, and there are signs that it is fooled."
    judged = verdict.checks[1].status != UNKNOWN
    said = (
        "The score rose, and no sign says that it is fooled" if judged else "The score rose; no judge has confirmed it"
    )
    return f"{said}{', but best-of-n of the parent gives more' if verdict.checks[-1].status == WARN else ''}."
