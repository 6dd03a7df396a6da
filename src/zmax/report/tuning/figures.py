"""Figures of a finetune, in the colours of the page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from zmax.report.figures import BLUE, DOTS, GRID, INK, ORANGE, RED, inline, legend, plain_axes
from zmax.report.measures import Column
from zmax.report.tuning.course import Course
from zmax.results.frontier import Frontier, Point
from zmax.results.looks import Z

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LINES = ((ORANGE, "-"), (BLUE, (0, (5, 2))), (INK, (0, (1.5, 1.5))), (DOTS, (0, (7, 2, 1.5, 2))))
"""Colours and dashes of lines that share a figure."""


def scores_svg(course: Course, score: str) -> str:
    """Draw the quantiles of the scores of fresh samples against score calls."""
    figure, axes = plain_axes("score calls", score)
    low, lower, middle, upper, high = course.quantiles.T
    axes.fill_between(course.calls, low, high, color=ORANGE, alpha=0.16, linewidth=0, label="5–95, 25–75 %")
    axes.fill_between(course.calls, lower, upper, color=ORANGE, alpha=0.3, linewidth=0)
    axes.plot(course.calls, middle, color=ORANGE, linewidth=2.2, label="median")
    if np.isfinite(middle[0]):
        axes.axhline(middle[0], color=BLUE, linewidth=1.6, linestyle=(0, (5, 3)), label="parent")
    _chosen(axes, course, middle)
    return _over_calls(figure, axes, course, "scores")


def judged_svg(course: Course, mean: Column) -> str:
    """Draw the mean held-out score of fresh samples with its 95 % interval against score calls."""
    figure, axes = plain_axes("score calls", "held-out score")
    margin = Z * np.nan_to_num(course.held_out_error)
    axes.fill_between(course.calls, mean - margin, mean + margin, color=BLUE, alpha=0.2, linewidth=0, label="95 %")
    axes.plot(course.calls, mean, color=BLUE, linewidth=2.2, label="mean held-out score")
    _chosen(axes, course, mean)
    return _over_calls(figure, axes, course, "judged")


def shares_svg(course: Course, shares: Mapping[str, Column], name: str, least: float) -> str:
    """Draw numbers as shares of the parent's against score calls, with the line below which they have collapsed."""
    figure, axes = plain_axes("score calls", "share of the parent's")
    axes.axhline(1, color=GRID, linewidth=1.6)
    axes.axhline(least, color=RED, linewidth=1.2, linestyle=(0, (2, 2)))
    for (title, values), (colour, dashes) in zip(shares.items(), LINES, strict=False):
        axes.plot(course.calls, values, color=colour, linewidth=2.2, linestyle=dashes, label=title)
    axes.axvline(course.calls[course.chosen], color=INK, linewidth=1, linestyle=(0, (2, 3)))
    axes.set_ylim(bottom=0)
    return _over_calls(figure, axes, course, name)


def frontier_svg(found: Frontier, value: str) -> str:
    """Draw value against KL to the parent, on a scale of square roots, beside best-of-n of the parent."""
    figure, axes = plain_axes("KL to the parent in nats", value)
    axes.set_xscale("function", functions=(_root, np.square))
    line = found.line
    margin = Z * line.error
    axes.fill_between(line.kl, line.value - margin, line.value + margin, color=BLUE, alpha=0.16, linewidth=0)
    axes.plot(line.kl, line.value, color=BLUE, linewidth=2.2, linestyle=(0, (5, 2)), label="best of n of the parent")
    kl, values = (np.array([getattr(p, name) for p in found.points]) for name in ("kl", "value"))
    kl = kl.clip(0)
    axes.plot(kl, values, "o-", color=ORANGE, linewidth=1.2, markersize=4.5, mew=0, label="looks")
    if found.chosen is not None:
        _cross(axes, found.chosen)
    widest = max(float(kl.max()), float(line.kl[-1]) if len(line.kl) else 0.0, 1e-3)
    axes.set_xlim(0, widest * 1.1)
    axes.set_xticks(_ticks(widest), [f"{tick:g}" for tick in _ticks(widest)])
    axes.margins(y=0.12)
    legend(axes)
    return inline(figure, "frontier")


def _cross(axes: Axes, point: Point) -> None:
    across = Z * point.kl_error if np.isfinite(point.kl_error) else 0.0
    along = Z * point.error if np.isfinite(point.error) else 0.0
    kl = max(point.kl, 0.0)
    axes.errorbar(
        [kl],
        [point.value],
        xerr=[[min(across, kl)], [across]],
        yerr=along,
        fmt="o",
        color=INK,
        markersize=8.5,
        mfc=ORANGE,
        mew=1.6,
        elinewidth=1.2,
        label="chosen",
    )


def _ticks(widest: float) -> Column:
    """Return about five round numbers from 0 on that are nearly even on a scale of square roots."""
    even = np.square(np.linspace(0, np.sqrt(widest), 6)[1:])
    size = 10.0 ** np.floor(np.log10(even))
    return np.unique(np.concatenate([[0.0], np.round(even / size) * size]))


def _root(x: Column) -> Column:
    return np.sqrt(np.clip(x, 0, None))


def _chosen(axes: Axes, course: Course, values: Column) -> None:
    """Mark the look whose weights are returned."""
    x, y = course.calls[course.chosen], values[course.chosen]
    axes.axvline(x, color=INK, linewidth=1, linestyle=(0, (2, 3)))
    axes.plot([x], [y], "o", color=INK, markersize=8, mfc=ORANGE, mew=1.6, label="chosen")


def _over_calls(figure: Figure, axes: Axes, course: Course, name: str) -> str:
    axes.set_xlim(0, float(course.calls[-1]) * 1.02)
    axes.margins(y=0.1)
    legend(axes)
    return inline(figure, name)
