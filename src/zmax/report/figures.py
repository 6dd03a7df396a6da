"""Figures as inline SVG whose colours follow the page, so that they read in light and in dark.

Only fixed words and plain names are drawn; other names given by a user stand in the page's own text.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from zmax.report.measures import SUSPICIOUS, Column, Curve, Points, thin

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.figure import Figure

INK, GRID, DOTS, BLUE, ORANGE, RED = "#000101", "#000102", "#000103", "#000104", "#000105", "#000106"
VARIABLES = {INK: "ink", GRID: "grid", DOTS: "dots", BLUE: "blue", ORANGE: "orange", RED: "red"}
"""Stand-in colours and the page's variables that replace them."""

SIZE, SQUARE = (5.4, 3.5), (6.4, 5.6)


@contextmanager
def style() -> Iterator[None]:
    """Draw in matplotlib's own default style, whatever the user's settings are, and leave those as they were."""
    import matplotlib.style

    own = {"svg.fonttype": "none", "svg.hashsalt": "zmax", "path.simplify": False}
    with matplotlib.style.context(["default", own]):
        yield


def progress_svg(curve: Curve, score: str) -> str:
    """Draw the best score so far against score calls, each evaluation as a dot."""
    figure, axes = plain_axes("score calls", score)
    dots(axes, *thin(curve.calls, curve.score))
    x = np.concatenate([[curve.calls[0]], curve.calls, [curve.end]])
    y = np.concatenate([[curve.best[0]], curve.best, [curve.best[-1]]])
    axes.plot(*_corners(x, y), color=ORANGE, linewidth=2.2, label="best so far", drawstyle="steps-post")
    if curve.reference_mean is not None:
        axes.axhline(curve.reference_mean, color=BLUE, linewidth=1.6, linestyle=(0, (5, 3)), label="random mean")
    axes.set_xlim(0, curve.end * 1.02)
    axes.set_ylim(*_limits(curve.score))
    legend(axes)
    return inline(figure, "progress")


def plausibility_svg(points: Points, score: str) -> str:
    """Draw score against plausibility, with the line at 0.05."""
    figure, axes = plain_axes("plausibility", score)
    axes.axvspan(0, SUSPICIOUS, color=RED, alpha=0.12, linewidth=0)
    axes.axvline(SUSPICIOUS, color=RED, linewidth=1.2, linestyle=(0, (2, 2)), label="0.05")
    dots(axes, *thin(*points.all))
    _groups(axes, points)
    axes.set_xlim(0, 1)
    shown = np.concatenate([points.reference[1], points.leaders[1]])
    axes.set_ylim(*_limits(np.concatenate([points.all[1], shown]), float(shown.min(initial=np.inf))))
    legend(axes)
    return inline(figure, "plausibility")


def held_out_svg(points: Points, score: str, held_out: str) -> str:
    """Draw the held-out score against the score, for the random and the best samples."""
    figure, axes = plain_axes(score, held_out)
    _groups(axes, points)
    axes.margins(0.08)
    legend(axes)
    return inline(figure, "held-out")


def watched_svg(calls: Column, score: Column, held_out: Column) -> str:
    """Draw score and held-out score of the leaders against score calls."""
    figure, axes = plain_axes("score calls", "mean of the top leaders")
    axes.plot(calls, score, color=ORANGE, linewidth=2.2, label="score")
    axes.plot(calls, held_out, color=BLUE, linewidth=2.2, linestyle=(0, (5, 2)), label="held-out score")
    axes.set_xlim(0, float(calls[-1]) * 1.02)
    axes.margins(y=0.1)
    legend(axes)
    return inline(figure, "watched")


def front_svg(points: Points, first: str, second: str) -> str:
    """Draw two goals against each other, with the front as a staircase."""
    figure, axes = plain_axes(first, second)
    dots(axes, *thin(*points.all))
    axes.plot(*points.reference, "s", color="none", markeredgecolor=BLUE, markersize=6.5, mew=1.8, label="random")
    order = np.argsort(points.leaders[0])
    x, y = points.leaders[0][order], points.leaders[1][order]
    axes.plot(x, y, color=ORANGE, linewidth=1.6, drawstyle="steps-pre")
    axes.plot(x, y, "o", color=ORANGE, markersize=5.5, mew=0, label="front")
    axes.set_xlim(*_limits(np.concatenate([points.all[0], points.reference[0], x]), float(x.min())))
    axes.set_ylim(*_limits(np.concatenate([points.all[1], points.reference[1], y]), float(y.min())))
    legend(axes)
    return inline(figure, "front")


def parallel_svg(values: npt.NDArray[np.float64], names: Sequence[str]) -> str:
    """Draw a line for each row across as many upright axes as there are columns, each from 0 to 1."""
    figure, axes = plain_axes("", "share of its range on the front")
    axes.plot(np.arange(len(names)), values.T, color=ORANGE, linewidth=1.2, alpha=0.6)
    axes.set_xticks(range(len(names)), list(names))
    for label in axes.get_xticklabels():
        label.set_parse_math(False)
    return inline(figure, "front")


def part_svg(calls: Column, value: Column, end: float, name: str, what: str = "value in the best so far") -> str:
    """Draw the value that one term of the score has in the best sample so far."""
    figure, axes = plain_axes("score calls", what)
    x, y = np.append(calls, end), np.append(value, value[-1])
    axes.plot(*_corners(x, y), color=ORANGE, linewidth=2.2, drawstyle="steps-post")
    axes.set_xlim(0, end * 1.02)
    axes.margins(y=0.1)
    return inline(figure, name)


def square_axes(x: str, y: str) -> tuple[Figure, Axes]:
    """Return axes without lines for a map whose cells are squares."""
    figure, axes = plain_axes(x, y, SQUARE)
    figure.set_layout_engine("compressed")
    axes.grid(visible=False)
    return figure, axes


def colour_bar(figure: Figure, colours: ScalarMappable, axes: Axes, label: str) -> None:
    """Draw the scale of a map's colours beside it."""
    bar = figure.colorbar(colours, ax=axes, fraction=0.04, pad=0.02)
    bar.set_label(label, color=INK, fontsize=11, parse_math=False)
    bar.ax.tick_params(colors=INK, labelsize=10.5, length=0)
    bar.outline.set_visible(False)


def map_svg(figure: Figure) -> str:
    """Return a map as SVG."""
    return inline(figure, "map")


def plain_axes(x: str, y: str, size: tuple[float, float] = SIZE) -> tuple[Figure, Axes]:
    """Return axes in the page's colours."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    figure.patch.set_visible(False)
    axes = figure.add_subplot()
    axes.patch.set_visible(False)
    axes.set_xlabel(x, color=INK, fontsize=11, parse_math=False)
    axes.set_ylabel(y, color=INK, fontsize=11, parse_math=False)
    axes.tick_params(colors=INK, labelsize=10.5, length=0)
    axes.grid(visible=True, color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.locator_params(axis="x", nbins=5)
    for side, spine in axes.spines.items():
        spine.set_color(GRID)
        spine.set_visible(side in ("left", "bottom"))
    return figure, axes


def dots(axes: Axes, x: Column, y: Column) -> None:
    """Draw dots as one path of strokes of no length, which is far shorter than one element a dot."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    if not len(x):
        return
    vertices = np.repeat(np.column_stack([x, y]), 2, axis=0)
    path = Path(vertices, np.tile([Path.MOVETO, Path.LINETO], len(x)).astype(np.uint8))
    path.should_simplify = False
    patch = PathPatch(path, edgecolor=DOTS, facecolor="none", linewidth=3.2, alpha=0.4, capstyle="round")
    axes.add_patch(patch)
    axes.plot([], [], "o", color=DOTS, markersize=4, alpha=0.6, label="evaluated")


def _groups(axes: Axes, points: Points) -> None:
    axes.plot(*points.reference, "s", color="none", markeredgecolor=BLUE, markersize=6.5, mew=1.8, label="random")
    axes.plot(*points.leaders, "o", color=ORANGE, markersize=6.5, mew=0, label="best")


def _corners(x: Column, y: Column) -> tuple[Column, Column]:
    """Return the points of a staircase at which it changes, with its ends."""
    keep = np.concatenate([[True], (y[1:] != y[:-1])])
    keep[-1] = True
    return x[keep], y[keep]


def _limits(values: Column, least: float = np.inf) -> tuple[float, float]:
    """Return limits that show `least` and all but the lowest hundredth, so that a few disasters do not flatten all."""
    low, high = min(least, float(np.quantile(values, 0.01))), float(values.max())
    room = 0.06 * (high - low) or max(1e-6, abs(high) * 0.1)
    return low - room, high + room


def legend(axes: Axes, columns: int = 4) -> None:
    """Say above the axes which line is which."""
    axes.legend(
        loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=columns, frameon=False, fontsize=10.5, labelcolor=INK,
        handlelength=1.4, columnspacing=1.2, handletextpad=0.5,
    )  # fmt: skip


def inline(figure: Figure, name: str) -> str:
    """Return a figure as SVG to stand inside a page: no prolog, no addresses, own ids, the page's colours."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'\s(xmlns(:\w+)?|version|width|height)="[^"]*"', "", text, count=5)
    text = text.replace("xlink:href", "href")
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r'(url\(|href=")#', rf"\1#{name}-", text)
    for colour, variable in VARIABLES.items():
        text = text.replace(colour, f"var(--{variable})")
    return re.sub(r"\n\s*", "\n", text)
