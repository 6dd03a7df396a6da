"""Pipelines that take a score as an argument of their call, such as the refiner of SDXL its aesthetic score."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from zmax.core.generator import Generator
from zmax.core.samples import concatenated
from zmax.core.space import LatentValue, Space
from zmax.generators.asking import Asking, rows_for
from zmax.generators.diffusers.adapter import OfPipeline


class NativeAsk(Asking):
    """Tells a pipeline its score by its own argument; what is not asked for is left to the pipeline."""

    def space(self, inner: Generator) -> Space:
        """Return the generator's own space."""
        return inner.space

    def guides(self, inner: Generator) -> bool:
        """Say whether the pipeline's call has a scale of guidance."""
        return isinstance(inner, OfPipeline) and inner.guided

    def held(self, inner: Generator, wanted: Tensor, away: Tensor, guidance: float) -> Generator:
        """Return the pipeline called with those scores."""
        assert isinstance(inner, OfPipeline), "found at the start"
        if len(wanted) == 1 and len(away) == 1:
            return inner.at(_value(wanted), _value(away), guidance)
        return HeldRows(inner, wanted, away, guidance)


class HeldRows(Generator):
    """A pipeline held at a request for each row of a batch; rows of one request are made together.

    Args:
        inner: the pipeline.
        wanted, away: a row for each of the batch or one for all.
        guidance: see :meth:`OfPipeline.at`.
    """

    def __init__(
        self, inner: OfPipeline, wanted: Float[Tensor, "n 1"], away: Float[Tensor, "m 1"], guidance: float
    ) -> None:
        self.inner, self.wanted, self.away, self.guidance = inner, wanted, away, guidance
        self.space, self.networks, self.prompts = inner.space, inner.networks, inner.prompts
        self.name, self.modality, self.differentiable = inner.name, inner.modality, inner.differentiable
        self.remarks = inner.remarks

    def decode(self, z: LatentValue) -> Tensor:
        """Call the pipeline once for each request among the rows."""
        first = z if isinstance(z, Tensor) else next(iter(z.values()))
        pairs = torch.cat([rows_for(part, first).cpu() for part in (self.wanted, self.away)], 1)
        groups: dict[str, list[int]] = {}
        for i, pair in enumerate(pairs.tolist()):
            groups.setdefault(repr(pair), []).append(i)
        made = []
        for rows in groups.values():
            part = z[rows] if isinstance(z, Tensor) else {name: value[rows] for name, value in z.items()}
            held = self.inner.at(_value(pairs[rows[:1], :1]), _value(pairs[rows[:1], 1:]), self.guidance)
            made.append(held.decode(part))
        order = torch.tensor([i for rows in groups.values() for i in rows]).argsort()
        found = concatenated(made)
        assert isinstance(found, Tensor), "pictures"
        return found[order]


def _value(request: Float[Tensor, "1 1"]) -> float | None:
    value = float(request[0, 0])
    return None if math.isnan(value) else value
