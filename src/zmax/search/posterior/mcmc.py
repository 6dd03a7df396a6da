"""What samplers of the tilted law share: their chains, the temperature, the draws that are kept, the accept rule."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from zmax.core.rng import Rng
from zmax.core.space import Space
from zmax.core.state import ROW
from zmax.core.strategy import Population
from zmax.kit.rows import where

POINTS = 4096
VALUES = 2**23
"""A reservoir holds about so many points, and at most so many numbers (32 MiB)."""

COLDEST = 1e-3
CYCLE, GROWTH = 32, 3
"""Annealing ends at this share of the first temperature; rounds of the first cycle, and how much longer the next is.

In nats left after 2000 calls of pCN on the log density of random mixtures with six modes in 8 dimensions, the median
of 12 to 16 runs: 0.89, 0.63 at 0.01, 0.001 with cycles of 32, 64, ... rounds; 0.32 at 0.001 with 32, 96, ... .
"""

FORGET = 0.6
PURSUIT = 0.5
SMALLEST = 1e-6


@dataclass(frozen=True)
class Reservoir:
    """Draws of all chains, thinned evenly so that their number stays bounded.

    Attributes:
        u: positions, one tensor a kept round.
        score: their scores.
        seen: rounds offered.
        every: one round in so many is kept.
    """

    u: tuple[Tensor, ...] = ()
    score: tuple[Tensor, ...] = ()
    seen: int = 0
    every: int = 1

    def add(
        self, u: Float[Tensor, "n dim"], score: Float[Tensor, " n"], rows: Bool[Tensor, " n"] | None = None
    ) -> Reservoir:
        """Offer one round: where every chain is now, and which of them completed a transition (all, if None).

        A sampler whose transitions take a number of calls that depends on the point must say which are complete: else
        points that are hard to leave would count for more.
        """
        if self.seen % self.every:
            return replace(self, seen=self.seen + 1)
        known = torch.isfinite(score) if rows is None else torch.isfinite(score) & rows
        points, scores = (*self.u, u[known]), (*self.score, score[known])
        if len(points) <= 8 or sum(map(len, points)) <= min(POINTS, VALUES // u.shape[1]):
            return Reservoir(points, scores, self.seen + 1, self.every)
        return Reservoir(points[::2], scores[::2], self.seen + 1, 2 * self.every)

    def population(self, discard: float = 0.5) -> Population | None:
        """Return the draws with equal weights, without the first share of the rounds; None if there are none."""
        first = int(discard * len(self.u))
        if not any(len(part) for part in self.u[first:]):
            return None
        return Population.equal(torch.cat(self.u[first:]), torch.cat(self.score[first:]))


@dataclass(frozen=True)
class Heat:
    r"""The temperature, fixed or annealed.

    Annealed, with s the spread of the first finite scores (half of what their middle 68 % span, or else their standard
    deviation) and K the rounds of this cycle,

    .. math:: T_k = s\, c^{k / (K - 1)}, \qquad k = 0, \dots, K - 1,

    after which the chains are drawn anew and the next cycle is longer. Until two scores differ, T is infinite.

    Attributes:
        fixed: the temperature of the law that is drawn from; None anneals.
        spread: s, 0 until it is known.
        round: rounds told, since the start (fixed) or in this cycle (annealed).
        length: K.
    """

    fixed: float | None
    spread: float = 0.0
    round: int = 0
    length: int = CYCLE

    @property
    def temperature(self) -> float:
        """T of the present round."""
        if self.fixed is not None:
            return self.fixed
        return self.spread * COLDEST ** (self.round / (self.length - 1)) if self.spread > 0 else math.inf

    @property
    def gain(self) -> float:
        """Rate of adaptation: it falls to 0 for a fixed temperature, so that the law drawn from stays exact."""
        return PURSUIT if self.fixed is None else float((1 + self.round) ** -FORGET)

    @property
    def starts(self) -> bool:
        """Whether an annealing cycle begins, for which the chains are drawn anew."""
        return self.fixed is None and self.round == 0 and self.length > CYCLE

    def cooled(self, score: Float[Tensor, " n"]) -> Heat:
        """Return the next round's, given the scores of this one."""
        if self.fixed is None and self.spread == 0:
            return replace(self, spread=_spread(score[torch.isfinite(score)].double()))
        if self.fixed is None and self.round + 1 == self.length:
            return replace(self, round=0, length=GROWTH * self.length)
        return replace(self, round=self.round + 1)


def _spread(score: Float[Tensor, " n"]) -> float:
    if len(score) < 2:
        return 0.0
    low, high = score.quantile(torch.tensor([0.16, 0.84], dtype=score.dtype)).tolist()
    return (high - low) / 2 or float(score.std())


@dataclass(frozen=True)
class Chains:
    """Many chains side by side.

    Attributes:
        u: where each chain is.
        score: the score there, in float64; -inf for a chain that has no point yet. Such a chain must be proposed a
            prior draw, which :func:`tilting` and :func:`accepted` take whenever it did not fail.
        heat: the temperature.
        kept: draws of the law at a fixed temperature.
        rng: the stream that draws come from.
    """

    u: Float[Tensor, "n dim"] = field(metadata=ROW)
    score: Float[Tensor, " n"] = field(metadata=ROW)
    heat: Heat
    rng: Rng
    kept: Reservoir = field(default_factory=Reservoir)

    @classmethod
    def start(cls, n: int, space: Space, rng: torch.Generator, temperature: float | None) -> Chains:
        """Return n chains without a point."""
        score = torch.full((n,), float("-inf"), dtype=torch.float64)
        return cls(torch.zeros(n, space.dim), score, Heat(temperature), Rng.of(rng))

    @property
    def alive(self) -> Bool[Tensor, " n"]:
        """Which chains have a point."""
        return torch.isfinite(self.score)

    def went(self, rows: Bool[Tensor, " n"], u: Float[Tensor, "n dim"], score: Float[Tensor, " n"]) -> Chains:
        """Return the chains after those of the rows have gone to u, where the score is that."""
        return where(rows, replace(self, u=u, score=score), self)

    def told(self, evaluated: Float[Tensor, " m"], rows: Bool[Tensor, " n"] | None = None) -> Chains:
        """End the round, after the chains have moved.

        Args:
            evaluated: all scores of the round, failures -inf; the first of them set the scale of annealing.
            rows: the chains whose position is a draw of the law: those that completed a transition. All if None.

        Returns:
            The chains of the next round: the draws kept, the temperature lowered, and no chain has a point where a
            new cycle of annealing starts.
        """
        heat = self.heat.cooled(evaluated)
        kept = self.kept if heat.fixed is None else self.kept.add(self.u, self.score, rows)
        score = torch.full_like(self.score, float("-inf")) if heat.starts else self.score
        return replace(self, score=score, heat=heat, kept=kept)


def tilting(
    old: Float[Tensor, " n"], new: Float[Tensor, " n"], temperature: float | Float[Tensor, " n"]
) -> Float[Tensor, " n"]:
    """Return (new - old) / T in float64: -inf where the proposal failed, else inf where the chain has no point."""
    old, new = old.double(), new.double()
    ratio = torch.where(torch.isfinite(old), (new - old) / temperature, float("inf"))
    return torch.where(torch.isfinite(new), ratio, float("-inf"))


def accepted(log_ratio: Float[Tensor, " n"], rng: Rng) -> tuple[Bool[Tensor, " n"], Float[Tensor, " n"], Rng]:
    """Accept each row with probability min(1, exp(log_ratio)); NaN is refused.

    Returns:
        The rows accepted, the probabilities, and the stream that follows.
    """
    log_ratio = log_ratio.double().nan_to_num(float("-inf"), float("inf"), float("-inf"))
    uniform, rng = rng.uniform(len(log_ratio), dtype=torch.float64)
    return uniform.log() < log_ratio, log_ratio.clamp_max(0).exp(), rng


def adapted(step: float, probability: Float[Tensor, " n"], target: float, heat: Heat, most: float = math.inf) -> float:
    r"""Return the step after a round with these acceptance probabilities of the chains that had a point.

    .. math:: \log h \leftarrow \log h + \gamma_k (\bar a - a^*), \qquad \gamma_k = (1 + k)^{-0.6}

    Andrieu and Thoms, A tutorial on adaptive MCMC, 2008, section 4.2.2: the changes die out, so the law stays exact.
    Annealed chains pursue a moving target and keep the rate constant.
    """
    if not len(probability):
        return step
    return min(most, max(SMALLEST, step * math.exp(heat.gain * (float(probability.mean()) - target))))


def crank_nicolson(chains: Chains, step: float | Float[Tensor, " n"]) -> tuple[Float[Tensor, "n dim"], Chains]:
    r"""Propose :math:`\sqrt{1 - \beta^2}\, u + \beta \xi` to every chain, and a prior draw to one without a point."""
    xi, rng = chains.rng.normal(*chains.u.shape)
    beta = torch.where(chains.alive, step, 1.0).float()[:, None]
    return (1 - beta.square()).sqrt() * chains.u + beta * xi, replace(chains, rng=rng)


def accepted_moves(
    chains: Chains, u: Float[Tensor, "n dim"], score: Float[Tensor, " n"], step: float, acceptance: float
) -> tuple[Chains, float]:
    """Accept or refuse each chain's Crank-Nicolson proposal; return the chains of the next round, and their step."""
    moved, probability, rng = accepted(tilting(chains.score, score, chains.heat.temperature), chains.rng)
    step = adapted(step, probability[chains.alive], acceptance, chains.heat, most=1.0)
    score = score.double()
    return replace(chains, rng=rng).went(moved, u, score).told(score), step
