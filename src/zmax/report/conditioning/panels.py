"""The figures of a condition with the words that go with them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from markupsafe import Markup

from zmax.report import figures as drawing
from zmax.report.conditioning import figures
from zmax.report.conditioning.verdict import held_out_by
from zmax.report.panels import Panel
from zmax.report.sentences import figure
from zmax.results.calibration import LEVEL, TRUSTED
from zmax.results.conditioning import ConditionResult


def panels(result: ConditionResult) -> list[Panel]:
    """Return the figures that this condition has numbers for."""
    with drawing.style():
        return [*_calibrations(result), *_sliding(result), *_learning(result), *_judged(result)]


def _calibrations(result: ConditionResult) -> Iterator[Panel]:
    several = len({one.name for one in result.calibrations}) > 1
    for number, one in enumerate(result.calibrations):
        title = f"{one.name}, " if several else ""
        title += f"guidance {one.guidance:g}" if one.guidance else "without guidance"
        title = f"Requested and achieved: {title}"
        alt = f"Achieved scores lie {figure(one.label_score, 3)} deviations from the requested ones on average, with a "
        alt += f"rank correlation of {figure(one.rho, 3)}."
        caption = (
            f"A dot is a sample. The line is the mean of what comes, the band holds a new sample with a probability of "
            f"{LEVEL:.0%}, and the shade is the range to trust, where the mean is within {TRUSTED:g} deviations of the "
            "diagonal."
        )
        svg = Markup(figures.calibration_svg(one, label(result), f"calibration-{number}"))
        yield Panel(title, svg, alt, caption if not number else "")


def _sliding(result: ConditionResult) -> Iterator[Panel]:
    """Give the Fréchet distance along the requests of the first score."""
    name = result.calibrations[0].name if result.calibrations else ""
    found = [one for one in result.calibrations if one.name == name and one.levels]
    if not found:
        return
    eyes = f"in the features of {found[0].seen_by}" if found[0].seen_by else "in the samples' own values"
    alt = f"The sliding Fréchet distance is {figure(found[0].frechet, 3)}, that of the data to themselves "
    alt += f"{figure(found[0].frechet_data, 3)}."
    caption = (
        f"How far samples are, {eyes}, from data that have the score which was asked for; the dotted line is how far "
        "two halves of such data are from each other. Two samples of one request are "
        f"{figure(found[0].diversity, 3)} times as far apart as two of the data."
    )
    yield Panel("Samples beside data of that score", Markup(figures.sliding_svg(found, label(result))), alt, caption)


def _learning(result: ConditionResult) -> Iterator[Panel]:
    looks = [look for look in result.rounds.looks if look.asked]
    if len(looks) < 2:
        return
    spreads = {one.name: one.spread for one in result.calibrations}
    names = list(spreads) or result.spec.scores
    off = {}
    for j, name in enumerate(names):
        spread = spreads.get(name) or float(np.nanstd(looks[0].achieved[j])) or 1.0
        off[name] = np.array([figures.deviations(look.asked[j], look.achieved[j], spread) for look in looks])
    ends = ", ".join(f"{figure(values[0], 3)} to {figure(values[-1], 3)}" for values in off.values())
    caption = "Of fresh samples, always of the same noises and requests; at 0 steps it is what asking nothing gives."
    updates = np.array([float(look.updates) for look in looks])
    svg = Markup(figures.learning_svg(updates, off))
    yield Panel("Label Score while it learned", svg, f"The Label Score goes from {ends}.", caption)


def _judged(result: ConditionResult) -> Iterator[Panel]:
    if result.spec.held_out is None or not result.calibrations:
        return
    asked, held_out = (np.array(column) for column in held_out_by(result))
    if not len(asked):
        return
    alt = f"Held-out scores of {len(asked)} samples against what was asked."
    caption = "No update sees this score. Where it falls as more is asked for, the score is being fooled."
    svg = Markup(figures.judged_svg(asked, held_out, label(result)))
    yield Panel("Held-out score", svg, alt, caption)


def label(result: ConditionResult) -> str:
    """Return what the axes of scores are called."""
    unit = result.spec.unit
    return f"score ({unit})" if unit and unit.isascii() and unit.isprintable() else "score"
