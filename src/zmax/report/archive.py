"""The archive of a quality-diversity run as a map of pictures: numbers first, pixels second, figure last."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import numpy.typing as npt
from PIL import Image

from zmax.core.errors import InputError
from zmax.report import figures, pictures
from zmax.results.result import Result
from zmax.search.diversity.archive import Archive
from zmax.store import Entry

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDEST = 960
"""Pixels along the longer side of the map."""

TILES = (12, 48)
"""Fewest and most pixels along the side of a cell."""

PLAIN = re.compile(r"[A-Za-z0-9 .,:*+/()_-]{1,40}")
"""Names that are drawn; others stand in the page's own text only."""


@dataclass(frozen=True)
class Atlas:
    """The best elite in each cell of the first two descriptors; a single descriptor gives one row.

    Attributes:
        names: of the descriptors, (2,), the second "" if there is one alone.
        low: lower bounds of the map.
        high: upper bounds.
        shape: number of cells along each.
        score: (shape[1], shape[0]), from low to high, NaN where a cell is empty.
        entries: (column, row) to the elite there, for those whose sample was kept.
        coverage: share of all cells of the archive that are filled.
        filled: how many that is.
        qd_score: sum over all elites of score - floor.
        floor: score below which nothing is kept.
        best: best score.
    """

    names: tuple[str, str]
    low: tuple[float, float]
    high: tuple[float, float]
    shape: tuple[int, int]
    score: npt.NDArray[np.float64]
    entries: dict[tuple[int, int], Entry]
    coverage: float
    filled: int
    qd_score: float
    floor: float
    best: float


def atlas(archive: Archive, names: Sequence[str], elites: Sequence[Entry]) -> Atlas:
    """Lay an archive out as a map.

    Args:
        archive: scores and descriptors of the elites.
        names: of the descriptors.
        elites: decoded, with the descriptors as `parts`, best first.
    """
    alone = len(names) == 1
    grid = np.unravel_index(np.arange(len(archive.score)), archive.cells.tolist())
    column, row = grid[0], np.zeros_like(grid[0]) if alone else grid[1]
    shape = (int(archive.cells[0]), 1 if alone else int(archive.cells[1]))
    score = np.full((shape[1], shape[0]), -np.inf)
    np.maximum.at(score, (row, column), archive.score.numpy())
    entries: dict[tuple[int, int], Entry] = {}
    for entry in elites:
        cell = -1 - entry.id
        entries.setdefault((int(column[cell]), int(row[cell])), entry)
    low, high = ([*bound.tolist(), -1.0 if i == 0 else 1.0][:2] for i, bound in enumerate((archive.low, archive.high)))
    return Atlas(
        names=(names[0], "" if alone else names[1]),
        low=(low[0], low[1]),
        high=(high[0], high[1]),
        shape=shape,
        score=np.where(np.isfinite(score), score, np.nan),
        entries=entries,
        coverage=archive.coverage,
        filled=int(archive.filled.sum()),
        qd_score=archive.qd_score,
        floor=archive.floor,
        best=archive.best,
    )


def mosaic(chart: Atlas) -> pictures.Pixels:
    """Return the map as pixels (h, w, 4), top row highest: pictures framed in the colour of their score.

    Elites that are no images are plain squares of that colour; empty cells are transparent.
    """
    from matplotlib import colormaps

    side = int(np.clip(WIDEST // max(chart.shape), *TILES))
    out = np.zeros((chart.shape[1] * side, chart.shape[0] * side, 4), dtype=np.uint8)
    colours = (colormaps["viridis"](_shares(chart.score)) * 255).round().astype(np.uint8)
    for row, column in np.argwhere(np.isfinite(chart.score)):
        tile = np.broadcast_to(colours[row, column], (side - 1, side - 1, 4)).copy()
        entry = chart.entries.get((int(column), int(row)))
        if entry is not None and pictures.is_image(entry.sample):
            edge = max(1, side // 16)
            picture = _fitted(pictures.pixels(entry.sample), side - 1 - 2 * edge)
            tile[edge : edge + picture.shape[0], edge : edge + picture.shape[1], :3] = picture
        top = (chart.shape[1] - 1 - row) * side
        out[top : top + side - 1, column * side : column * side + side - 1] = tile
    return out


def archive_figure(chart: Atlas, score: str) -> Figure:
    """Draw the map with its axes and the scale of scores."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    x, y = (name if PLAIN.fullmatch(name) else f"descriptor {i + 1}" for i, name in enumerate(chart.names))
    figure, axes = figures.square_axes(x, y if chart.names[1] else "")
    extent = (chart.low[0], chart.high[0], chart.low[1], chart.high[1])
    shape = (chart.high[0] - chart.low[0]) / (chart.high[1] - chart.low[1]) * chart.shape[1] / chart.shape[0]
    axes.imshow(mosaic(chart), extent=extent, aspect=shape, interpolation="none")
    if not chart.names[1]:
        axes.set_yticks([])
    scale = Normalize(float(np.nanmin(chart.score)), float(np.nanmax(chart.score)))
    figures.colour_bar(figure, ScalarMappable(scale, "viridis"), axes, score)
    return figure


def save_archive(result: Result, file: str | Path) -> Path:
    """Write the map of a quality-diversity run as a picture file.

    Args:
        result: the run.
        file: where to; its ending says the format.

    Returns:
        The file written.

    Raises:
        InputError: the method keeps no archive, or nothing is in it.
    """
    archive = result.archive
    if not isinstance(archive, Archive) or not bool(archive.filled.any()):
        got = f"a run of {result.spec.method!r}{'' if archive is None else ' with a distance alone'}"
        expected = "a run of 'cma-mae' or 'cma-mega' with a descriptor"
        raise InputError("there is no archive to draw", expected=expected, got=got)
    with figures.style():
        figure = archive_figure(atlas(archive, result.descriptors, result.elites), "score")
        figure.savefig(file, facecolor="white", dpi=140, bbox_inches="tight")
    return Path(file)


def _shares(score: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return scores as shares of their range, 1 where they are all the same."""
    low, high = np.nanmin(score), np.nanmax(score)
    return cast("npt.NDArray[np.float64]", np.nan_to_num((score - low) / (high - low))) if high > low else score * 0 + 1


def _fitted(picture: pictures.Pixels, side: int) -> pictures.Pixels:
    """Return a picture in RGB whose longer side is `side`, centred in that square on black."""
    image = Image.fromarray(picture).convert("RGB")
    share = side / max(image.size)
    size = (max(1, round(image.width * share)), max(1, round(image.height * share)))
    resampled = image.resize(size, Image.Resampling.NEAREST if share > 1 else Image.Resampling.LANCZOS)
    square = Image.new("RGB", (side, side))
    square.paste(resampled, ((side - size[0]) // 2, (side - size[1]) // 2))
    return np.asarray(square)
