"""The archive of quality diversity where only a distance is known: elites, no two of which are nearer than a least."""

from __future__ import annotations

import inspect
import math
import re
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from zmax.core.errors import InputError
from zmax.core.proposal import Evaluation
from zmax.core.rng import Rng
from zmax.core.samples import stack, take
from zmax.core.strategy import Population
from zmax.search.diversity.archive import Entrance, floor_below
from zmax.search.diversity.descriptors import Descriptor, Function, as_descriptor

LATENTS = "latents"
TEXT = re.compile(r"apart\(\s*(?P<features>[^,()]+?)\s*(?:,\s*(?P<least>[^,()]+?)\s*)?\)")
NOVELTY = "distance to the nearest"


@dataclass(frozen=True)
class Scattered:
    r"""Elites of which no two are nearer than :math:`\ell`, each with the threshold that a score must exceed near it.

    A point farther than that from all is one more; another competes with the elite nearest to it, whose place it takes
    where it is better and near to no other.

    Reference: Cully and Demiris 2018, *Quality and diversity optimization: a unifying modular framework*, section
    III-B, https://arxiv.org/abs/1708.09251; with the thresholds of Fontaine and Nikolaidis 2023.

    Attributes:
        least: the distance :math:`\ell`.
        floor: threshold where there is no elite; nothing at or below it is ever kept.
        threshold: of each elite.
        score: of each.
        u: whitened coordinates of each.
        features: of each, of which the distance is Euclidean, or Tanimoto's where they are truth values.
    """

    least: float
    floor: float
    threshold: Float[Tensor, " m"]
    score: Float[Tensor, " m"]
    u: Float[Tensor, "m dim"]
    features: Tensor

    @classmethod
    def unopened(cls) -> Scattered:
        """Return an archive without a least distance, for a method that has not seen a score yet."""
        none = torch.zeros(0, dtype=torch.float64)
        return cls(math.nan, 0.0, none, none, torch.zeros(0, 1), torch.zeros(0, 1))

    @property
    def opened(self) -> bool:
        """Whether it has a least distance."""
        return not math.isnan(self.least)

    @property
    def filled(self) -> Bool[Tensor, " m"]:
        """Which places hold an elite: all."""
        return torch.isfinite(self.score)

    @property
    def coverage(self) -> int:
        """Number of elites, each at least so far from all others."""
        return len(self.score)

    @property
    def qd_score(self) -> float:
        r"""Sum over the elites of :math:`S - S_{floor}`."""
        return float((self.score - self.floor).sum())

    @property
    def best(self) -> float:
        """Best score, -inf while it is empty."""
        return float(self.score.max()) if len(self.score) else -math.inf

    @property
    def place(self) -> Float[Tensor, "m 1"]:
        """How far each elite is from the nearest other one, infinite where it is alone."""
        nearest = [float(apart(self.features, one).sort().values[1:2].sum()) for one in self.features]
        return torch.tensor([d if len(nearest) > 1 else math.inf for d in nearest], dtype=torch.float64)[:, None]

    def elites(self) -> Population:
        """Return the elites, best first, all of the same weight."""
        order = torch.argsort(self.score, descending=True, stable=True)
        return Population.equal(self.u[order], self.score[order])

    def pick(self, rng: Rng) -> tuple[Float[Tensor, " dim"], Rng]:
        """Draw an elite, all alike, and return it with the stream that follows; the origin where there is none."""
        pick, rng = rng.uniform(1, dtype=torch.float64)
        return self.u[int(float(pick) * len(self.u))] if len(self.u) else torch.zeros(self.u.shape[1]), rng

    def offered(self, u: Tensor, score: float, features: Tensor, rate: float) -> tuple[Scattered, int, float]:
        """Offer a point; return the archive, and its status and value at the door (:class:`Entrance`)."""
        away = apart(self.features, features) if len(self.score) else torch.zeros(0)
        near = int(away.argmin()) if len(away) else -1
        if near < 0 or float(away[near]) >= self.least:
            value = score - self.floor
            threshold = self.floor + rate * value
            one_more = self._with(len(self.score), u, score, features, threshold) if value > 0 else self
            return one_more, 2 * (value > 0), value
        value = score - float(self.threshold[near])
        if value <= 0:
            return self, 0, value
        threshold = float(self.threshold[near]) + rate * value
        if score > float(self.score[near]) and int((away < self.least).sum()) == 1:
            return self._with(near, u, score, features, threshold), 1, value
        raised = self.threshold.clone()
        raised[near] = threshold
        return replace(self, threshold=raised), 1, value

    def _with(self, row: int, u: Tensor, score: float, features: Tensor, threshold: float) -> Scattered:
        """Return the archive with an elite in that row, or behind the last one."""

        def put(old: Tensor, new: Tensor) -> Tensor:
            return torch.cat([old[:row], new[None].to(old), old[row + 1 :]])

        numbers = torch.tensor([threshold, score], dtype=torch.float64)
        return replace(
            self,
            threshold=put(self.threshold, numbers[0]),
            score=put(self.score, numbers[1]),
            u=put(self.u, u),
            features=put(self.features, features),
        )


@dataclass(frozen=True)
class Apart:
    """What makes samples different, where only a distance is known; made by :func:`apart_by`.

    Attributes:
        features: gives features of samples; None for the distance of latents.
        least: distance of samples of two kinds; None takes half the median of random samples.
        floor: score that a sample must exceed to be kept; None takes one below all prior draws.
        rate: learning rate of the thresholds.
    """

    features: Descriptor | None = None
    least: float | None = None
    floor: float | None = None
    rate: float = 1.0

    @property
    def descriptor(self) -> Descriptor:
        """Its text, as another process reads it."""
        inner = LATENTS if self.features is None else self.features.text
        least = "" if self.least is None else f", {self.least!r}"
        return Descriptor(f"apart({inner}{least})", _never)

    def unopened(self) -> Scattered:
        """Return an archive that has seen nothing."""
        return Scattered.unopened()

    def entered(
        self, archive: Scattered, u: Float[Tensor, "n dim"], evaluation: Evaluation
    ) -> tuple[Scattered, tuple[str, ...], Entrance]:
        """Offer a round to the archive, the best first; see :meth:`Grid.entered`."""
        status = torch.zeros(len(u), dtype=torch.long)
        value = torch.full((len(u),), -math.inf, dtype=torch.float64)
        rows = evaluation.ok.nonzero().flatten()
        if not len(rows):
            return archive, (), Entrance(status, value)
        features, score = self._seen(u[rows], evaluation, rows.tolist()), evaluation.score[rows].double()
        if not archive.opened:
            archive = self._opened(features, score, u.shape[1])
        for i in torch.argsort(score, descending=True, stable=True).tolist():
            archive, status[rows[i]], value[rows[i]] = archive.offered(
                u[rows[i]], float(score[i]), features[i], self.rate
            )
        return archive, (NOVELTY,), Entrance(status, value)

    def _seen(self, u: Tensor, evaluation: Evaluation, rows: list[int]) -> Tensor:
        if self.features is None:
            return u.double()
        assert evaluation.samples is not None, "asked for"
        chosen = take(evaluation.samples, rows)
        with torch.no_grad():
            found = self.features(stack(chosen) if isinstance(chosen, list) else chosen)[1].detach().cpu()
        return found if found.dtype == torch.bool else found.double()

    def _opened(self, features: Tensor, score: Tensor, dim: int) -> Scattered:
        """Return an empty archive; what the user left open is taken from these prior draws."""
        away = torch.cat([apart(features, one)[i + 1 :] for i, one in enumerate(features)])
        least = float(away.median()) / 2 if self.least is None and len(away) else self.least or 0.0
        floor = floor_below(score) if self.floor is None else self.floor
        none = torch.zeros(0, dtype=torch.float64)
        return Scattered(least, floor, none, none, torch.zeros(0, dim), features[:0])


def apart_by(distance: Function | str | None = None, least: float | None = None) -> Apart:
    """Return a distance as what makes samples different, for the `descriptor=` of `cma-mae`.

    Args:
        distance: what gives features of a batch of samples, (n, f), between which the distance is Euclidean, or
            Tanimoto's where they are truth values: a callable, or Python code, "file.py:attr" or "pkg.mod:attr"; None
            for the distance of latents.
        least: distance from which on samples are of different kinds; half the median of random samples if not given.

    Raises:
        InputError: the least distance is not positive, or the other is nothing that can be called.

    Example:
        >>> apart_by(None, 2.0).descriptor.text
        'apart(latents, 2.0)'
    """
    if least is not None and not (isinstance(least, (int, float)) and 0 < least < math.inf):
        raise InputError("apart_by(least=...)", expected="a positive number or None", got=repr(least))
    if callable(distance) and len(_places(distance)) != 1:
        remedy = "features, between which the distance is Euclidean; of two samples a number does for result.diverse"
        raise InputError("apart_by(distance)", expected="a function of a batch of samples", remedy=remedy)
    return Apart(None if distance is None else as_descriptor(distance), least)


def read_apart(text: str) -> Apart | None:
    """Return what "apart(FEATURES)" or "apart(FEATURES, LEAST)" says, None if it is another text.

    Raises:
        InputError: it begins so, and goes on otherwise.
    """
    found = TEXT.fullmatch(text.strip())
    if found is None:
        if text.strip().startswith("apart("):
            expected = '"apart(latents)", "apart(file.py:features)" or "apart(file.py:features, 0.5)"'
            raise InputError("descriptor", expected=expected, got=repr(text))
        return None
    least = found["least"]
    try:
        number = None if least is None else float(least)
    except ValueError:
        raise InputError(f"descriptor={text!r}", expected="a number behind the comma", got=repr(least)) from None
    return apart_by(None if found["features"] == LATENTS else found["features"], number)


def apart(features: Tensor, one: Tensor) -> Float[Tensor, " n"]:
    r"""Return distances from one: Euclidean, or :math:`1 - |a \cap b| / |a \cup b|` of truth values."""
    if features.dtype != torch.bool:
        return torch.linalg.vector_norm((features - one).flatten(1), dim=1)
    both, either = (features & one).sum(1).double(), (features | one).sum(1).double()
    return 1 - both / either.clamp_min(1)


def _places(function: Function) -> list[inspect.Parameter]:
    return [p for p in inspect.signature(function).parameters.values() if p.default is p.empty]


def _never(samples: object) -> None:
    raise InputError("a distance as a descriptor", expected="cma-mae, which takes one", remedy="give a descriptor")
