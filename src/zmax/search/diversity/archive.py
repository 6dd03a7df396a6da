"""The archive of quality diversity: a grid over descriptors that keeps the best point of every cell."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from zmax.core.errors import MissingExtraError
from zmax.core.rng import Rng
from zmax.core.strategy import Population

EDGE = 1e-6  # what pyribs adds before it rounds a descriptor down to its cell


@dataclass(frozen=True)
class Archive:
    r"""The elites of a grid over descriptors, and the threshold that a score must exceed to enter each cell.

    Attributes:
        low: lower bound of each descriptor.
        high: upper bound of each; what lies outside counts to the cell at the rim.
        cells: number of cells of each.
        floor: threshold of an empty cell; nothing at or below it is ever kept.
        threshold: of each cell, cells in row-major order.
        score: best score of each cell, -inf where empty.
        u: whitened coordinates of that elite.
        place: its descriptors.
    """

    low: Float[Tensor, " k"]
    high: Float[Tensor, " k"]
    cells: Int[Tensor, " k"]
    floor: float
    threshold: Float[Tensor, " c"]
    score: Float[Tensor, " c"]
    u: Float[Tensor, "c dim"]
    place: Float[Tensor, "c k"]

    @classmethod
    def empty(cls, low: Tensor, high: Tensor, cells: Int[Tensor, " k"], floor: float, dim: int) -> Archive:
        """Return an archive without elites."""
        c = int(cells.prod())
        threshold = torch.full((c,), floor, dtype=torch.float64)
        score = torch.full((c,), -math.inf, dtype=torch.float64)
        place = torch.zeros(c, len(cells), dtype=torch.float64)
        return cls(low.double(), high.double(), cells, floor, threshold, score, torch.zeros(c, dim), place)

    @classmethod
    def unopened(cls) -> Archive:
        """Return an archive without cells, for a method that has not seen a score yet."""
        none = torch.zeros(0)
        return cls(none, none, none.long(), 0.0, none, none, torch.zeros(0, 1), torch.zeros(0, 0))

    @property
    def opened(self) -> bool:
        """Whether it has cells."""
        return len(self.cells) > 0

    @property
    def filled(self) -> Bool[Tensor, " c"]:
        """Which cells hold an elite."""
        return torch.isfinite(self.score)

    @property
    def coverage(self) -> float:
        """Share of the cells that hold an elite."""
        return float(self.filled.double().mean())

    @property
    def qd_score(self) -> float:
        r"""Sum over the elites of :math:`S - S_{floor}`: it grows with every cell filled and every elite improved."""
        return float((self.score[self.filled] - self.floor).sum())

    @property
    def best(self) -> float:
        """Best score, -inf while it is empty."""
        return float(self.score.max())

    def index(self, place: Float[Tensor, "n k"]) -> Int[Tensor, " n"]:
        """Return the number of the cell that each descriptor falls into."""
        steps = (self.cells * (place - self.low) + EDGE) / (self.high - self.low)
        grid = torch.minimum(steps.clamp_min(0).clamp_max(2**31).long(), self.cells - 1)
        strides = torch.cat([self.cells[1:].flip(0).cumprod(0).flip(0), self.cells.new_ones(1)])
        return (grid * strides).sum(1)

    def elites(self) -> Population:
        """Return the elites, best first, all of the same weight."""
        order = torch.argsort(self.score, descending=True, stable=True)[: int(self.filled.sum())]
        return Population.equal(self.u[order], self.score[order])

    def pick(self, rng: Rng) -> tuple[Float[Tensor, " dim"], Rng]:
        """Draw an elite, all alike, and return it with the stream that follows; the origin where there is none."""
        pick, rng = rng.uniform(1, dtype=torch.float64)
        elites = self.u[self.filled]
        return elites[int(float(pick) * len(elites))] if len(elites) else torch.zeros(self.u.shape[1]), rng

    def to_pyribs(self) -> Any:
        """Return the elites as a `ribs.archives.GridArchive`, for its analysis and its plots.

        Raises:
            MissingExtraError: pyribs is not installed.
        """
        try:
            from ribs.archives import GridArchive
        except ImportError:
            raise MissingExtraError("ribs", "qd", "an archive of pyribs") from None
        grid = GridArchive(
            solution_dim=self.u.shape[1],
            dims=self.cells.tolist(),
            ranges=list(zip(self.low.tolist(), self.high.tolist(), strict=True)),
            qd_score_offset=self.floor,
        )
        rows = self.filled
        if bool(rows.any()):
            grid.add(*(np.asarray(t[rows], dtype=np.float64) for t in (self.u, self.score, self.place)))
        return grid


@dataclass(frozen=True)
class Entrance:
    """How each of a batch fared at the archive's door.

    Attributes:
        status: 2 where it enters an empty cell, 1 where it exceeds the threshold of a filled one, else 0.
        value: score minus the cell's threshold.
    """

    status: Int[Tensor, " n"]
    value: Float[Tensor, " n"]


def add(
    archive: Archive,
    u: Float[Tensor, "n dim"],
    score: Float[Tensor, " n"],
    place: Float[Tensor, "n k"],
    rate: float,
) -> tuple[Archive, Entrance]:
    r"""Offer a batch to the archive; all of it is compared with the thresholds as they were before.

    The m scores that exceed the threshold t of their cell, of mean :math:`\bar S`, move it to

    .. math:: t \leftarrow (1 - \alpha)^m\, t + (1 - (1 - \alpha)^m)\, \bar S,

    or at :math:`\alpha = 1` to their maximum. The elite of a cell is the best that ever exceeded its threshold.

    Reference: Fontaine & Nikolaidis 2023, *Covariance matrix adaptation MAP-annealing*, section 4 and appendix H,
    https://arxiv.org/abs/2205.10752.

    Args:
        archive: the archive.
        u: points.
        score: their scores, finite.
        place: their descriptors, finite.
        rate: learning rate :math:`\alpha` in (0, 1].
    """
    cell, score = archive.index(place), score.double()
    before = archive.threshold[cell]
    enters = score > before
    new = enters & ~archive.filled[cell]
    entrance = Entrance(enters.long() + new.long(), score - before)
    threshold = archive.threshold.clone()
    if rate < 1:
        inside, zero = cell[enters], torch.zeros_like(threshold)
        number = zero.index_add(0, inside, torch.ones_like(score[enters]))
        total = zero.index_add(0, inside, score[enters])
        kept = (1.0 - rate) ** number
        threshold = torch.where(number > 0, kept * threshold + total / number.clamp_min(1) * (1 - kept), threshold)
    rows = _best_of_each(cell, score.where(enters & (score > archive.score[cell]), -math.inf))
    where = cell[rows]
    if rate == 1:
        threshold[where] = score[rows]
    return (
        replace(
            archive,
            threshold=threshold,
            score=archive.score.index_put((where,), score[rows]),
            u=archive.u.index_put((where,), u[rows].to(archive.u)),
            place=archive.place.index_put((where,), place[rows]),
        ),
        entrance,
    )


def _best_of_each(cell: Int[Tensor, " n"], score: Float[Tensor, " n"]) -> Int[Tensor, " m"]:
    """Return the row with the highest score in each cell, the first of equals; rows of -inf take no part."""
    leaders: dict[int, int] = {}
    for row in torch.argsort(score, descending=True, stable=True).tolist():
        if math.isfinite(float(score[row])):
            leaders.setdefault(int(cell[row]), row)
    return torch.tensor(list(leaders.values()), dtype=torch.long)


def floor_below(score: Float[Tensor, " n"]) -> float:
    """Return a threshold that lies below the worst of these scores by the spread of them all."""
    worst, best = float(score.min()), float(score.max())
    return worst - ((best - worst) or max(1.0, abs(worst)))
