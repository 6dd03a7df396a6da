"""Figures of a condition, in the colours of the page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from zmax.report.figures import BLUE, INK, ORANGE, dots, inline, legend, plain_axes
from zmax.report.measures import Column, thin
from zmax.report.tuning.figures import LINES
from zmax.results.calibration import LEVEL, Calibration

PLACES = 41
"""Requests at which mean and interval are drawn."""


def calibration_svg(found: Calibration, unit: str, name: str) -> str:
    """Draw achieved against requested scores: samples, mean, interval, the diagonal and the range to trust."""
    figure, axes = plain_axes(f"requested {unit}".strip(), f"achieved {unit}".strip())
    places = np.linspace(found.asked.min(), found.asked.max(), PLACES)
    if found.trusted is not None:
        axes.axvspan(*found.trusted, color=BLUE, alpha=0.1, linewidth=0, label="to trust")
    low, high = np.array([found.interval(s) for s in places]).T
    if np.isfinite(low).all():
        axes.fill_between(places, low, high, color=ORANGE, alpha=0.18, linewidth=0, label=f"{LEVEL:.0%}")
    dots(axes, *thin(found.asked, found.achieved))
    axes.plot(places, [found.mean(s) for s in places], color=ORANGE, linewidth=2.2, label="mean")
    axes.plot(places[[0, -1]], places[[0, -1]], color=INK, linewidth=1.2, linestyle=(0, (2, 3)), label="as asked")
    axes.margins(x=0.02)
    legend(axes, columns=5)
    return inline(figure, name)


def sliding_svg(found: Sequence[Calibration], unit: str) -> str:
    """Draw the Fréchet distance to data of the requested score, a line a weight of guidance, and that of the data."""
    figure, axes = plain_axes(f"requested {unit}".strip(), "Fréchet distance")
    for one, (colour, dashes) in zip(found, LINES, strict=False):
        asked = [level.asked for level in one.levels]
        title = f"guidance {one.guidance:g}" if one.guidance else "samples"
        values = [level.frechet for level in one.levels]
        axes.plot(asked, values, "o", color=colour, linewidth=2.2, linestyle=dashes, markersize=4.5, label=title)
    plain = found[0].levels
    chance = [level.frechet_data for level in plain]
    axes.plot([level.asked for level in plain], chance, color=INK, linewidth=1.2, linestyle=(0, (2, 3)), label="data")
    axes.set_ylim(bottom=0)
    axes.margins(x=0.02)
    legend(axes)
    return inline(figure, "sliding")


def learning_svg(updates: Column, off: Mapping[str, Column]) -> str:
    """Draw the Label Score of fresh samples against optimiser steps, a line a score."""
    figure, axes = plain_axes("optimiser steps", "Label Score in deviations")
    for (title, values), (colour, dashes) in zip(off.items(), LINES, strict=False):
        axes.plot(updates, values, "o", color=colour, linewidth=2.2, linestyle=dashes, markersize=4.5, label=title)
    axes.set_ylim(bottom=0)
    axes.margins(x=0.02)
    if len(off) > 1:
        legend(axes)
    return inline(figure, "learning")


def judged_svg(asked: Column, held_out: Column, unit: str) -> str:
    """Draw the held-out score of kept samples against what was asked."""
    figure, axes = plain_axes(f"requested {unit}".strip(), "held-out score")
    axes.plot(asked, held_out, "o", color=BLUE, markersize=5, mew=0, alpha=0.7)
    axes.margins(0.06)
    return inline(figure, "judged")


def deviations(asked: list[float], achieved: list[float], spread: float) -> float:
    """Return the mean of what lies between what was asked and what came, in deviations of the data."""
    known = [abs(a - s) / spread for s, a in zip(asked, achieved, strict=True) if math.isfinite(a) and math.isfinite(s)]
    return sum(known) / len(known) if known else math.nan
