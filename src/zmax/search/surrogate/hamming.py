"""Points with categories, their distances, and where near one of them the bound of a Gaussian process is largest."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from zmax.core.space import Space
from zmax.search.surrogate.matern import Posterior

POOL = 256  # random changes of the centre that a search sets out from the best of
HEAVY = 1.5  # exponent of the law of how many categories they change
CHANGES = 512  # single changes looked at in a step, at most
PASSES, STEPS = 3, 24  # of both kinds of steps, single changes in a row
CLIMB, STRIDE = 8, 0.3  # steps of continuous latents, and the first of them in radii
SEEN = 1e-9


@dataclass(frozen=True)
class Mixed:
    r"""Points of categories c and continuous latents v.

    Attributes:
        codes: c.
        free: v.
        mix: a, the share of categories in squared distances :math:`2 a\, h / n + (1 - a)\, |v - v'|^2 / m`.
    """

    codes: Int[Tensor, "n sites"]
    free: Float[Tensor, "n free"]
    mix: float

    def __len__(self) -> int:
        return len(self.codes)

    def __getitem__(self, row: int) -> Mixed:
        return Mixed(self.codes[row][None], self.free[row][None], self.mix)

    def beside(self, other: Mixed) -> Mixed:
        """Return both one after the other."""
        return Mixed(torch.cat([self.codes, other.codes]), torch.cat([self.free, other.free]), self.mix)

    def differ(self, others: Mixed) -> Float[Tensor, "n k"]:
        """Return how many categories differ from those of other points."""
        return torch.cdist(self.codes.double(), others.codes.double(), p=0.0)

    def square(self, others: Mixed, differ: Tensor | None = None) -> Float[Tensor, "n k"]:
        """Return the squared distances from other points, given how many categories differ if that is known."""
        count = self.differ(others) if differ is None else differ
        square = count * (2 * self.mix / self.codes.shape[1])
        if not self.free.shape[1]:
            return square
        apart = torch.cdist(self.free.double(), others.free.double()).square()
        return square + apart * ((1 - self.mix) / self.free.shape[1])


@dataclass(frozen=True)
class Ball:
    """The points near a centre.

    Attributes:
        centre: one point.
        radius: share of its categories that may differ; of continuous latents, in units of the root of their number.
        space: whose points they are.
    """

    centre: Mixed
    radius: float
    space: Space

    @property
    def most(self) -> int:
        """Number of categories that may differ."""
        return max(1, round(self.radius * self.centre.codes.shape[1]))

    def inside(self, x: Mixed) -> Bool[Tensor, " n"]:
        """Say of which points the categories are near enough."""
        return (x.codes != self.centre.codes).sum(1) <= self.most

    def held(self, x: Mixed) -> Mixed:
        """Return points with their continuous latents drawn towards the centre."""
        step, far = x.free - self.centre.free, self.radius * x.free.shape[1] ** 0.5
        length = torch.linalg.vector_norm(step, dim=1, keepdim=True)
        return replace(x, free=self.centre.free + step * (far / length.clamp_min(1e-30)).clamp(max=1.0))

    def scattered(self, known: Mixed, rng: torch.Generator) -> Mixed:
        """Return random changes: each takes some categories from another point or at random, most of them few."""
        n, sites = POOL, self.centre.codes.shape[1]
        rank = torch.rand(n, generator=rng, device="cpu")
        count = (self.most ** (1 - HEAVY) * rank + (1 - rank)).pow(1 / (1 - HEAVY)).floor().long().clamp(1, self.most)
        order = torch.rand(n, sites, generator=rng, device="cpu").argsort(dim=1).argsort(dim=1)
        fresh = _values(self.space, torch.rand(n, sites, generator=rng, device="cpu"))
        mate = known.codes[torch.randint(len(known), (n,), generator=rng, device="cpu")]
        new = torch.where(torch.rand(n, 1, generator=rng, device="cpu") < 0.5, fresh, mate)
        codes = torch.where(order < count[:, None], new, self.centre.codes)
        free = self.centre.free.expand(n, -1)
        if free.shape[1]:
            free = free + self.radius * torch.rand(n, 1, generator=rng, device="cpu") * torch.randn(
                free.shape, generator=rng, device="cpu"
            )
        return self.held(Mixed(codes, free, known.mix))

    def changed(self, x: Mixed, rng: torch.Generator) -> Mixed:
        """Return all points that differ from one in a single category, or as many of them as are looked at."""
        levels = torch.tensor(self.space.levels, device="cpu")
        site = torch.repeat_interleave(torch.arange(len(levels), device="cpu"), levels)
        value = torch.arange(len(site), device="cpu") - (levels.cumsum(0) - levels)[site]
        other = (value != x.codes[0, site]).nonzero()[:, 0]
        if len(other) > CHANGES:
            other = other[torch.randperm(len(other), generator=rng, device="cpu")[:CHANGES]]
        codes = x.codes.repeat(len(other), 1)
        codes[torch.arange(len(other), device="cpu"), site[other]] = value[other]
        return Mixed(codes, x.free.expand(len(other), -1), x.mix)


@dataclass(frozen=True)
class Bound:
    r"""The bound :math:`\mu + \beta \sigma` of a Gaussian process in a ball, -inf at what was seen.

    Attributes:
        model: the process.
        known: its points.
        ball: where points may be.
        confidence: :math:`\beta`.
        fresh: whether a combination of categories counts as seen wherever its continuous latents are.
    """

    model: Posterior
    known: Mixed
    ball: Ball
    confidence: float
    fresh: bool

    def __call__(self, x: Mixed) -> Float[Tensor, " n"]:
        """Return the bound at points."""
        differ = x.differ(self.known)
        square = x.square(self.known, differ)
        mean, deviation = self.model.moments(square)
        seen = (differ if self.fresh else square).min(1).values < SEEN
        return (mean + self.confidence * deviation).masked_fill(~self.ball.inside(x) | seen, float("-inf"))

    def climbed(self, rng: torch.Generator) -> Mixed | None:
        """Return a point at which the bound is as large as its neighbours allow, None where all were seen."""
        pool = self.ball.scattered(self.known, rng)
        bound = self(pool)
        x, best = pool[int(bound.argmax())], float(bound.max())
        for _ in range(PASSES):
            there, best = self._changed(x, best, rng)
            changed, x = there is not x, there
            if x.free.shape[1] and best > float("-inf"):
                x, best = self._moved(x, best)
            if not changed or not x.free.shape[1]:
                break
        return x if best > float("-inf") else None

    def _changed(self, x: Mixed, best: float, rng: torch.Generator) -> tuple[Mixed, float]:
        """Make the best single change of a category, again and again."""
        for _ in range(STEPS):
            near = self.ball.changed(x, rng)
            bound = self(near)
            if float(bound.max()) <= best:
                break
            x, best = near[int(bound.argmax())], float(bound.max())
        return x, best

    def _moved(self, x: Mixed, best: float) -> tuple[Mixed, float]:
        """Follow the bound's gradient by the continuous latents, with steps that double as it rises, or shrink."""
        points, differ = self.known.free.double(), x.differ(self.known)
        length = STRIDE * self.ball.radius * x.free.shape[1] ** 0.5
        _, pull = self.model.bound(x.square(self.known, differ)[0], self.confidence)
        for _ in range(CLIMB):
            slope = pull.sum() * x.free[0].double() - pull @ points
            move = slope * (length / slope.norm().clamp_min(1e-30))
            there = self.ball.held(replace(x, free=(x.free + move).to(x.free)))
            square = there.square(self.known, differ)[0]
            bound, next_pull = self.model.bound(square, self.confidence)
            better = float(bound) > best and float(square.min()) > SEEN
            length = length * (2.0 if better else 0.3)
            x, best, pull = (there, float(bound), next_pull) if better else (x, best, pull)
        return x, best


def _values(space: Space, share: Float[Tensor, "n sites"]) -> Int[Tensor, "n sites"]:
    """Return the categories that uniform values stand for, each value as likely as any other."""
    levels = torch.tensor(space.levels, device="cpu")
    return (share * levels).long().clamp(max=levels - 1)
