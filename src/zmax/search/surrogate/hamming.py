"""Points with categories, their distances, and where near one of them the bound of a Gaussian process is largest."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from zmax.core.space import Space
from zmax.search.surrogate.matern import Posterior

POOL = 256  # random changes of the centre that a search sets out from the best of
HEAVY = 1.5  # exponent of the law of how many categories they change
CHANGES = 512  # single changes looked at in a step, at most
STEPS, CLIMB, STRIDE = 24, 12, 0.5  # single changes in a row; steps of continuous latents, the first in radii
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

    def square(self, others: Mixed) -> Float[Tensor, "n k"]:
        """Return the squared distances from other points."""
        sites, free = self.codes.shape[1], self.free.shape[1]
        differ = torch.cdist(self.codes.double(), others.codes.double(), p=0.0)
        square = 2 * self.mix / sites * differ
        if free:
            square = square + (1 - self.mix) / free * torch.cdist(self.free.double(), others.free.double()).square()
        return square


@dataclass(frozen=True)
class Ball:
    """The typical points near a centre.

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
        """Return points with their continuous latents drawn towards the centre, then to where they are typical."""
        step = x.free - self.centre.free
        far = self.radius * x.free.shape[1] ** 0.5
        free = self.centre.free + step * (far / step.norm(dim=1, keepdim=True).clamp_min(1e-30)).clamp(max=1.0)
        u = self.space.retract(self.space.joined(x.codes, free))
        return Mixed(x.codes, self.space.parted(u)[1], x.mix)

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


def climbed(model: Posterior, known: Mixed, ball: Ball, confidence: float, rng: torch.Generator) -> Mixed:
    """Return a point of the ball, none of those known, at which the bound is as large as its neighbours allow."""
    pool = ball.scattered(known, rng)
    bound = _bound(model, known, ball, pool, confidence)
    x, best = pool[int(bound.argmax())], float(bound.max())
    for _ in range(STEPS):
        near = ball.changed(x, rng)
        bound = _bound(model, known, ball, near, confidence)
        if float(bound.max()) <= best:
            break
        x, best = near[int(bound.argmax())], float(bound.max())
    return _moved(model, known, ball, x, confidence) if x.free.shape[1] else x


def _bound(model: Posterior, known: Mixed, ball: Ball, x: Mixed, confidence: float) -> Float[Tensor, " n"]:
    """Return the bound at points, -inf where they are known or too far from the centre."""
    square = x.square(known)
    mean, deviation = model.moments(square)
    return (mean + confidence * deviation).masked_fill(~ball.inside(x) | (square.min(1).values < SEEN), float("-inf"))


def _moved(model: Posterior, known: Mixed, ball: Ball, x: Mixed, confidence: float) -> Mixed:
    """Follow the bound's normalised gradient by the continuous latents with ever smaller steps."""
    best, found = x, float(_bound(model, known, ball, x, confidence))
    length = ball.radius * x.free.shape[1] ** 0.5
    for step in range(CLIMB):
        _, pull = model.bound(x.square(known)[0], confidence)
        slope = pull.sum() * x.free[0].double() - pull @ known.free.double()
        move = slope / slope.norm().clamp_min(1e-30) * (STRIDE * length * (1 - step / CLIMB))
        x = ball.held(Mixed(x.codes, (x.free + move).to(x.free), x.mix))
        bound = float(_bound(model, known, ball, x, confidence))
        best, found = (x, bound) if bound > found else (best, found)
    return best


def _values(space: Space, share: Float[Tensor, "n sites"]) -> Int[Tensor, "n sites"]:
    """Return the categories that uniform values stand for, each value as likely as any other."""
    levels = torch.tensor(space.levels, device="cpu")
    return (share * levels).long().clamp(max=levels - 1)
