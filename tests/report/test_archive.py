"""The map of a quality-diversity run: what stands where, in what colour, and that a name cannot break the page."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from matplotlib import colormaps

import zmax
from zmax.core.errors import InputError
from zmax.report import figures, save_archive
from zmax.report.archive import archive_figure, atlas, mosaic
from zmax.report.page import render
from zmax.search.diversity.archive import Archive, add
from zmax.store import Entry

ODD = "<script>alert('$x$')</script>"


def archive_of(place, score, cells=(3, 2)):
    empty = Archive.empty(torch.zeros(len(cells)), torch.ones(len(cells)), torch.tensor(cells), -1.0, 4)
    place = torch.tensor(place, dtype=torch.float64)
    return add(empty, torch.zeros(len(score), 4), torch.tensor(score, dtype=torch.float64), place, 1.0)[0]


def elite(cell, score, sample):
    return Entry(id=-1 - cell, score=score, plausibility=1.0, u=torch.zeros(4), z=torch.zeros(4), sample=sample)


def test_cells_stand_where_their_descriptors_say():
    """Columns rise with the first descriptor, rows with the second; numbers are the archive's."""
    archive = archive_of([[0.1, 0.1], [0.9, 0.9]], [1.0, 3.0])
    chart = atlas(archive, ("x", "y"), [])
    assert chart.shape == (3, 2)
    assert np.array_equal(chart.score, [[1.0, np.nan, np.nan], [np.nan, np.nan, 3.0]], equal_nan=True)
    assert (chart.filled, chart.best, chart.qd_score) == (2, 3.0, 2.0 + 4.0)
    assert chart.coverage == pytest.approx(1 / 3)


def test_a_third_descriptor_shows_its_best_and_a_single_one_makes_a_row():
    deep = archive_of([[0.1, 0.1, 0.1], [0.1, 0.1, 0.9]], [1.0, 3.0], cells=(2, 2, 2))
    assert np.nanmax(atlas(deep, ("x", "y", "z"), []).score) == 3.0
    assert int(np.isfinite(atlas(deep, ("x", "y", "z"), []).score).sum()) == 1
    line = atlas(archive_of([[0.1], [0.9]], [1.0, 3.0], cells=(4,)), ("x",), [])
    assert (line.shape, line.names) == ((4, 1), ("x", ""))


def test_pictures_fill_their_cells_and_empty_cells_are_clear():
    """The picture of the elite at the top right is at the top right; frames differ with the score."""
    archive = archive_of([[0.1, 0.1], [0.9, 0.9]], [1.0, 3.0])
    red = torch.tensor([1.0, 0.0, 0.0])[:, None, None].expand(3, 8, 8)
    image = mosaic(atlas(archive, ("x", "y"), [elite(5, 3.0, red), elite(0, 1.0, 1 - red)]))
    side = image.shape[1] // 3
    assert image.shape == (2 * side, 3 * side, 4)
    assert image[side // 2, 2 * side + side // 2].tolist() == [255, 0, 0, 255]
    assert image[side + side // 2, side // 2].tolist() == [0, 255, 255, 255]
    assert image[side // 2, side // 2, 3] == 0
    assert image[0, 2 * side].tolist() != image[side, 0].tolist()


def look(x):
    return {ODD: x[:, 0].mean((1, 2)), "blue": x[:, 2].mean((1, 2))}


def test_the_page_and_the_file_show_the_map(tmp_path):
    """Names that are no plain words stay out of the drawing and are escaped in the text."""
    G = zmax.generator(lambda z: z.sigmoid().clone(), shape=(3, 4, 4), differentiable=True, modality="image")
    S = zmax.score(lambda x: x[:, 1].mean((1, 2)), differentiable=True, name="green")
    r = zmax.maximize(G, S, zmax.search.CMAMAE(descriptor=look, cells=5, population=8), budget=200)
    assert r.descriptors == (ODD, "blue")
    assert len(r.elites) == int(r.archive.filled.sum())
    assert all(abs(float(e.sample[2].mean()) - e.parts["blue"]) < 1e-6 for e in r.elites)
    page = render(r)
    assert "The best of every kind" in page
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert ">descriptor 1<" in page
    assert ">blue<" in page
    assert save_archive(r, tmp_path / "map.png").stat().st_size > 5000


def test_a_run_without_an_archive_has_no_map(tmp_path):
    G = zmax.generator(torch.nn.Identity(), shape=(4,), modality="vector")
    r = zmax.maximize(G, lambda x: x[:, 0], method="random", budget=60)
    assert r.archive is None
    assert r.elites == ()
    assert "The best of every kind" not in render(r)
    with pytest.raises(InputError, match="random"):
        save_archive(r, tmp_path / "map.png")


@pytest.mark.parametrize(("cells", "side"), [((3, 2), 48), ((2, 3), 48), ((40, 2), 24), ((100, 1), 12)])
def test_cells_have_from_twelve_to_forty_eight_pixels(cells, side):
    image = mosaic(atlas(archive_of([[0.01, 0.01]], [1.0], cells), ("x", "y"), []))
    assert image.shape == (cells[1] * side, cells[0] * side, 4)


def test_cells_have_the_colour_of_their_score_and_a_clear_line_between():
    """The lowest score has the first colour of viridis, the highest the last; alone it has the last."""
    first, last = ([round(255 * v) for v in colormaps["viridis"](end)] for end in (0.0, 1.0))
    image = mosaic(atlas(archive_of([[0.1, 0.1], [0.9, 0.9]], [1.0, 3.0]), ("x", "y"), []))
    assert image[48, 0].tolist() == image[94, 46].tolist() == first
    assert image[0, 96].tolist() == image[46, 142].tolist() == last
    assert image[47].tolist() == image[95].tolist() == [[0, 0, 0, 0]] * 144
    assert image[:, 47].tolist() == [[0, 0, 0, 0]] * 96
    alone = mosaic(atlas(archive_of([[0.1, 0.1]], [5.0]), ("x", "y"), []))
    assert alone[48, 0].tolist() == last


def test_a_wide_picture_lies_in_the_middle_of_its_frame_on_black():
    """A cell of 48 has a line of 1 and a frame of 3 on each side, which leaves 41; half as high is 20 of them."""
    white = torch.ones(3, 4, 8)
    image = mosaic(atlas(archive_of([[0.1, 0.1]], [1.0]), ("x", "y"), [elite(0, 1.0, white)]))
    cell = image[48:95, :47, :3]
    inside = cell[3:44, 3:44]
    rows = [set(map(tuple, row.tolist())) for row in inside]
    assert rows == [{(0, 0, 0)}] * 10 + [{(255, 255, 255)}] * 20 + [{(0, 0, 0)}] * 11
    assert (cell[:3] == cell[0, 0]).all()
    assert (cell[44:] == cell[0, 0]).all()
    assert (cell[:, :3] == cell[0, 0]).all()
    assert (cell[:, 44:] == cell[0, 0]).all()


def test_the_map_says_its_bounds_and_the_first_elite_of_a_cell_is_shown():
    archive = archive_of([[0.1], [0.9]], [1.0, 3.0], cells=(4,))
    better, worse = elite(0, 2.0, "a"), elite(0, 1.0, "b")
    chart = atlas(archive, ("x",), [better, worse])
    assert (chart.low, chart.high, chart.floor) == ((0.0, -1.0), (1.0, 1.0), -1.0)
    assert chart.entries == {(0, 0): better}
    both = atlas(archive_of([[0.1, 0.1]], [1.0]), ("x", "y"), [])
    assert (both.low, both.high, both.names) == ((0.0, 0.0), (1.0, 1.0), ("x", "y"))


def test_words_on_the_map_are_no_formulas():
    chart = atlas(archive_of([[0.1, 0.1], [0.9, 0.9]], [1.0, 3.0]), ("x", "$y$"), [])
    with figures.style():
        svg = figures.map_svg(archive_figure(chart, "score ($z$)"))
    assert ">score ($z$)<" in svg
    assert ">x<" in svg
    assert ">descriptor 2<" in svg


def test_nothing_frames_the_scale_of_colours():
    figure = archive_figure(atlas(archive_of([[0.1, 0.1], [0.9, 0.9]], [1.0, 3.0]), ("x", "y"), []), "score")
    scale = next(axes for axes in figure.axes if axes.get_ylabel() == "score")
    assert not any(spine.get_visible() for spine in scale.spines.values())
