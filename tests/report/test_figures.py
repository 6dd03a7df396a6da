"""What a figure shows, read back from its drawing in the units of its axes."""

from __future__ import annotations

import re

import matplotlib
import numpy as np
import pytest

from zmax.report import figures
from zmax.report.measures import Curve, Points

NUMBER = r"(-?\d+(?:\.\d+)?)"


class Drawing:
    """Lines and limits of an SVG figure, by the marks of its axes."""

    def __init__(self, svg: str) -> None:
        self.svg = svg
        self.scales = [self._scale("xtick", 0), self._scale("ytick", 1)]
        box = self._pairs(re.findall(r'<path d="([^"]*)"[^>]*var\(--grid\)', svg)[0])
        across = self._pairs(re.findall(r'ytick_1">\s*<g[^>]*>\s*<path d="([^"]*)"', svg)[0])
        self.ylim = tuple(sorted(self._data(box, 1)))
        self.xlim = tuple(sorted(self._data(across, 0)))

    def _scale(self, tick: str, axis: int) -> np.ndarray:
        """Fit value = slope * pixel + shift through the marks of an axis."""
        found = re.findall(
            rf'{tick}_\d+">\s*<g[^>]*>\s*<path d="M {NUMBER} {NUMBER}.*?<text[^>]*>([^<]*)<', self.svg, re.S
        )
        return np.polyfit([float(row[axis]) for row in found], [float(row[2].replace("−", "-")) for row in found], 1)

    def _pairs(self, path: str) -> np.ndarray:
        return np.array([[float(a), float(b)] for a, b in re.findall(rf"{NUMBER} {NUMBER}", path)])

    def _data(self, pairs: np.ndarray, axis: int) -> list[float]:
        return np.polyval(self.scales[axis], pairs[:, axis]).tolist()

    def lines(self, colour: str) -> list[np.ndarray]:
        """Vertices, in the units of the axes, of the lines in a colour that are clipped to the axes."""
        paths = re.findall(rf'<path d="([^"]*)" clip-path[^>]*stroke: var\(--{colour}\)', self.svg)
        return [np.column_stack([self._data(self._pairs(p), 0), self._data(self._pairs(p), 1)]) for p in paths]

    def marks(self, colour: str) -> np.ndarray:
        """Places of the markers in a colour, those of the legend left out."""
        body = self.svg[: self.svg.index("legend_1")]
        found = re.findall(rf'<use [^>]*x="{NUMBER}" y="{NUMBER}"[^>]*var\(--{colour}\)', body)
        pairs = np.array([[float(a), float(b)] for a, b in found])
        return np.column_stack([self._data(pairs, 0), self._data(pairs, 1)])


def near(found, wanted) -> bool:
    return np.asarray(found).shape == np.asarray(wanted).shape and np.allclose(found, wanted, atol=0.01)


def drawn(draw, *arguments) -> Drawing:
    with figures.style():
        return Drawing(draw(*arguments))


def rising(score: list[float], end: float, mean: float | None = None) -> Curve:
    column = np.asarray(score, dtype=float)
    return Curve(np.arange(1.0, len(score) + 1), column, np.maximum.accumulate(column), end, mean)


def test_progress_shows_each_score_and_the_staircase_of_the_best_to_the_end_of_the_run():
    figure = drawn(figures.progress_svg, rising([1.0, 0.0, 3.0, 2.0, 4.0, 4.0], 8.0, 0.5), "score")
    (dots,) = figure.lines("dots")
    assert near(dots[::2], [[1, 1], [2, 0], [3, 3], [4, 2], [5, 4], [6, 4]])
    (steps,) = figure.lines("orange")
    corners = [row for i, row in enumerate(steps) if i == 0 or not near(row, steps[i - 1])]
    assert near(corners, [[1, 1], [3, 1], [3, 3], [5, 3], [5, 4], [8, 4]])
    (mean,) = figure.lines("blue")
    assert near(mean[:, 1], [0.5, 0.5])
    assert near(figure.xlim, [0, 8 * 1.02])


def test_without_a_mean_of_random_samples_there_is_no_line_for_it():
    assert drawn(figures.progress_svg, rising([1.0, 2.0], 2.0), "score").lines("blue") == []


def test_limits_leave_six_hundredths_of_room_around_the_scores():
    assert near(drawn(figures.progress_svg, rising([0.0] * 5 + [10.0], 6.0), "score").ylim, [-0.6, 10.6])


def test_a_few_disasters_do_not_flatten_a_figure():
    """Of 301 scores the lowest two are beyond the lowest hundredth, which ends at the third."""
    scores = [-1e6, -1e5, *np.arange(299.0)]
    low, high = drawn(figures.progress_svg, rising(scores, 301.0), "score").ylim
    assert -30 < low < 0
    assert high == pytest.approx(298 + 0.06 * (298 - 0), abs=0.5)


@pytest.mark.parametrize(("value", "room"), [(10.0, 1.0), (-4.0, 0.4)])
def test_equal_scores_have_a_tenth_of_their_size_as_room(value, room):
    assert near(drawn(figures.progress_svg, rising([value] * 4, 4.0), "score").ylim, [value - room, value + room])


def scattered(everyone, reference, leaders) -> Points:
    def columns(pairs) -> tuple[np.ndarray, np.ndarray]:
        table = np.asarray(pairs, dtype=float)
        return table[:, 0], table[:, 1]

    return Points(columns(everyone), columns(reference), columns(leaders))


def test_plausibility_shows_all_the_random_and_the_best_and_where_it_is_suspicious():
    points = scattered([(0.2, 1.0), (0.4, 2.0)], [(0.9, 0.0), (0.5, -1.0)], [(0.1, 5.0)])
    figure = drawn(figures.plausibility_svg, points, "score")
    assert near(figure.xlim, [0, 1])
    assert near(figure.marks("blue"), [[0.9, 0], [0.5, -1]])
    assert near(figure.marks("orange"), [[0.1, 5]])
    assert near(figure.lines("dots")[0][::2], [[0.2, 1], [0.4, 2]])
    assert near(figure.lines("red")[0][:, 0], [0.05, 0.05])


def test_no_random_and_no_best_sample_falls_off_the_plausibility_figure():
    """The lowest hundredth of all that was scored may, a reference sample may not."""
    points = scattered([(0.5, v) for v in np.linspace(0, 10, 500)], [(0.5, -90.0)], [(0.5, 10.0)])
    assert near(drawn(figures.plausibility_svg, points, "score").ylim, [-96, 16])


def test_the_held_out_figure_has_the_score_across():
    points = scattered([(0.0, 0.0)], [(1.0, 10.0), (2.0, 30.0)], [(5.0, 20.0)])
    figure = drawn(figures.held_out_svg, points, "score", "judge")
    assert near(figure.marks("blue"), [[1, 10], [2, 30]])
    assert near(figure.marks("orange"), [[5, 20]])
    assert ">judge<" in figure.svg
    assert ">score<" in figure.svg


def test_the_watched_figure_shows_both_scores_over_the_calls():
    columns = (np.array([10.0, 20.0, 40.0]), np.array([1.0, 2.0, 3.0]), np.array([0.0, 2.5, 1.0]))
    figure = drawn(figures.watched_svg, *columns)
    assert near(figure.lines("orange")[0], np.column_stack([columns[0], columns[1]]))
    assert near(figure.lines("blue")[0], np.column_stack([columns[0], columns[2]]))
    assert near(figure.xlim, [0, 40.8])


def test_a_part_is_drawn_to_the_end_of_the_run():
    figure = drawn(figures.part_svg, np.array([1.0, 2.0, 5.0]), np.array([3.0, 3.0, 7.0]), 10.0, "part")
    (steps,) = figure.lines("orange")
    assert near(steps[0], [1, 3])
    assert near(steps[-1], [10, 7])
    assert near(figure.xlim, [0, 10.2])


def test_the_users_own_style_neither_shows_nor_changes():
    with matplotlib.rc_context({"svg.fonttype": "path", "lines.linewidth": 9.0}):
        svg = drawn(figures.progress_svg, rising([1.0, 2.0], 2.0), "score").svg
        assert matplotlib.rcParams["lines.linewidth"] == 9.0
        assert matplotlib.rcParams["svg.fonttype"] == "path"
    assert ">score calls<" in svg


def test_only_the_pages_own_colours_are_drawn():
    svg = drawn(figures.progress_svg, rising([1.0, 2.0], 2.0, 0.0), "score").svg
    assert not re.findall(r"#0001\d\d", svg)
    assert {"ink", "grid", "dots", "blue", "orange"} <= set(re.findall(r"var\(--(\w+)\)", svg))
