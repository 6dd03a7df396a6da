"""The grid of a quality-diversity method: how samples become cells, and a round's points become elites."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from zmax.core.checks import positive
from zmax.core.errors import InputError
from zmax.core.proposal import Evaluation
from zmax.search.diversity.archive import Archive, Entrance, add, floor_below
from zmax.search.diversity.descriptors import Descriptor, Function, as_descriptor
from zmax.search.diversity.scattered import Apart, read_apart

SCOUTS = 64  # prior draws of the first round
WIDE = 3.0  # standard deviations of the prior's descriptors that a grid spans to each side of their mean


@dataclass(frozen=True)
class Grid:
    """What a user says of the archive; see :class:`~zmax.search.diversity.cma_mae.CMAMAE`."""

    descriptor: Descriptor
    bounds: tuple[Float[Tensor, " k"], Float[Tensor, " k"]] | None
    cells: Int[Tensor, " given"]
    floor: float | None
    rate: float

    @classmethod
    def of(
        cls,
        method: str,
        descriptor: Function | str | Apart,
        ranges: str | None,
        cells: int | str,
        floor: float | None,
        rate: float = 1.0,
    ) -> Grid | Apart:
        """Check the arguments of `method` and read them.

        Raises:
            InputError: one has another form.
        """
        positive(method, learning_rate=rate)
        if rate > 1:
            raise InputError(f"{method}(learning_rate=...)", expected="a number in (0, 1]", got=repr(rate))
        if floor is not None and not (isinstance(floor, (int, float)) and math.isfinite(floor)):
            raise InputError(f"{method}(floor=...)", expected="a finite number or None", got=repr(floor))
        distance = read_apart(descriptor) if isinstance(descriptor, str) else descriptor
        if isinstance(distance, Apart):
            return replace(distance, floor=floor, rate=rate)
        assert not isinstance(descriptor, Apart), "a grid"
        return cls(as_descriptor(descriptor), as_ranges(method, ranges), as_cells(method, cells), floor, rate)

    def unopened(self) -> Archive:
        """Return an archive that has seen nothing."""
        return Archive.unopened()

    def entered(
        self, archive: Archive, u: Float[Tensor, "n dim"], evaluation: Evaluation
    ) -> tuple[Archive, tuple[str, ...], Entrance]:
        """Offer a round to the archive, which the first round that has a score opens.

        Returns:
            The archive, the names of its descriptors, and how each row fared: value -inf where a row failed.
        """
        status = torch.zeros(len(u), dtype=torch.long)
        value = torch.full((len(u),), -math.inf, dtype=torch.float64)
        if evaluation.samples is None or not bool(evaluation.ok.any()):
            return archive, (), Entrance(status, value)
        names, place, ok = self.descriptor.places(evaluation.samples, evaluation.ok)
        if not bool(ok.any()):
            return archive, (), Entrance(status, value)
        score, place = evaluation.score[ok].double(), place[ok]
        if not archive.opened:
            archive = first_archive(self.bounds, self.cells, self.floor, place, score, u.shape[1])
        archive, entrance = add(archive, u[ok], score, place, self.rate)
        return (
            archive,
            names,
            Entrance(status.masked_scatter(ok, entrance.status), value.masked_scatter(ok, entrance.value)),
        )


def as_ranges(method: str, ranges: str | None) -> tuple[Float[Tensor, " k"], Float[Tensor, " k"]] | None:
    """Read "0:1,-2:2" as lower and upper bounds; None stays None.

    Raises:
        InputError: it has another form, or a lower bound is not below its upper one.

    Example:
        >>> as_ranges("CMAMAE", "0:1,-2:2")[1].tolist()
        [1.0, 2.0]
    """
    if ranges is None:
        return None
    try:
        pairs = [tuple(float(side) for side in part.split(":")) for part in ranges.split(",")]
        bounds = torch.tensor(pairs, dtype=torch.float64)
        good = bounds.ndim == 2 and bounds.shape[1] == 2 and bool(torch.isfinite(bounds).all())
    except (AttributeError, ValueError):
        good = False
    if not good or not bool((bounds[:, 0] < bounds[:, 1]).all()):
        raise InputError(f"{method}(ranges=...)", expected='bounds of each descriptor, "0:1,-2:2"', got=repr(ranges))
    return bounds[:, 0], bounds[:, 1]


def as_cells(method: str, cells: int | str) -> Int[Tensor, " k"]:
    """Read 20 or "20x10" as numbers of cells.

    Raises:
        InputError: it has another form.
    """
    parts = str(cells).split("x")
    if isinstance(cells, bool) or not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise InputError(f"{method}(cells=...)", expected='a positive number of cells, or "20x10"', got=repr(cells))
    return torch.tensor([int(part) for part in parts])


def first_archive(
    bounds: tuple[Tensor, Tensor] | None,
    cells: Int[Tensor, " given"],
    floor: float | None,
    place: Float[Tensor, "n k"],
    score: Float[Tensor, " n"],
    dim: int,
) -> Archive:
    """Return an empty archive; what the user left open is taken from prior draws.

    Bounds are mean -+ 3 standard deviations of their descriptors; the floor lies below the worst of their scores by
    the spread of them all, so that an empty cell is always worth filling.

    Raises:
        InputError: bounds or cells are given for another number of descriptors.
    """
    k = place.shape[1]
    if bounds is None:
        centre, spread = place.mean(0), WIDE * place.std(0, correction=0)
        spread = torch.where(spread > 1e-9 * centre.abs().clamp_min(1e-9), spread, centre.abs().clamp_min(1.0))
        bounds = centre - spread, centre + spread
    if len(bounds[0]) != k or len(cells) not in (1, k):
        given = f"{len(bounds[0])} ranges and {len(cells)} numbers of cells"
        raise InputError("the grid of descriptors", expected=f"ranges and cells for {k} descriptors", got=given)
    floor = floor_below(score) if floor is None else floor
    return Archive.empty(*bounds, cells.expand(k).clone(), floor, dim)
