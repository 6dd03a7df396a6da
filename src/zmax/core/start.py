"""Where a search begins: known points, instead of prior draws."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

import torch
from jaxtyping import Float
from torch import Tensor

from zmax.core.samples import Samples, take

NEAR = 8
"""Of so many points of a start, the best, the neighbours are looked at."""


class Starts(Enum):
    """What a method makes of a start."""

    CHAINS = "its chains set out there"
    LAW = "its search law is centred on the best of it"
    MODEL = "its model learns from it, and searches around the best"
    ARCHIVE = "it is among the first points of its archive"
    DRAWS = "its draws lie around it"
    PATH = "its particles set out from the middle of its paths"


@dataclass(frozen=True)
class Start:
    r"""Points that a search begins at, best first where their scores are known.

    New points are drawn around them by the step of pCN, which leaves the prior as it is, with the strength s:

    .. math:: u' = \sqrt{1 - s^2}\, u + s\, \xi, \qquad \xi \sim N(0, I)

    Reference: Cotter, Roberts, Stuart and White, *MCMC methods for functions*, Statistical Science 28, 2013, section
    4.2, https://arxiv.org/abs/1202.0709; of samples this is the strength of SDEdit, Meng et al. 2022,
    https://arxiv.org/abs/2108.01073.

    Attributes:
        u: the points, in whitened coordinates.
        strength: how much of what is drawn around them is new, in (0, 1].
        score: of each, None where it is not known yet.
        samples: what G makes of them, for methods that want to know.
        said: what it is, in words.
        passed: all points of their paths, each with what the one before has shown; None without a path.

    Example:
        >>> start = Start(torch.ones(1, 400), strength=0.6)
        >>> near = start.around(torch.zeros(2, 400))
        >>> near.shape, round(float(near.norm(dim=1)[0]), 3)  # the rest of the norm, 20, is the noise's
        (torch.Size([2, 400]), 16.0)
    """

    u: Float[Tensor, "k dim"]
    strength: float
    score: Float[Tensor, " k"] | None = None
    samples: Samples | None = None
    said: str = ""
    passed: Float[Tensor, "k steps 2 ..."] | None = None

    def around(self, z: Float[Tensor, "n dim"]) -> Float[Tensor, "n dim"]:
        """Turn standard normal draws into neighbours of the points, one after the other."""
        rows = torch.arange(len(z), device=z.device) % len(self.u)
        return (1 - self.strength**2) ** 0.5 * self.u.to(z)[rows] + self.strength * z

    def places(self, z: Float[Tensor, "n dim"]) -> Float[Tensor, "n dim"]:
        """Return as many points as there are standard normal draws: these themselves, then neighbours of theirs."""
        return torch.cat([self.u[: len(z)].to(z), self.around(z)[len(self.u) :]])

    def ranked(self, ok: Tensor) -> Start:
        """Return the rows that are true, best first; of equals the earlier."""
        assert self.score is not None, "scored before it is ranked"
        order = self.score.masked_fill(~ok, float("-inf")).argsort(descending=True, stable=True)[: int(ok.sum())]
        samples = None if self.samples is None else take(self.samples, order.tolist())
        return replace(self, u=self.u[order], score=self.score[order], samples=samples)

    def nearest(self) -> Start:
        """Return the first of them, around which the search looks."""
        passed = None if self.passed is None else self.passed[:NEAR]
        return Start(self.u[:NEAR], self.strength, passed=passed)
