"""Elliptical slice sampling: exact draws of the tilted law with nothing to tune."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from zmax.core.checks import positive, whole
from zmax.core.proposal import Evaluation, Latents, Proposal
from zmax.core.space import Space
from zmax.core.start import Start, Starts
from zmax.core.state import ROW, STATIC
from zmax.core.strategy import Gives, Population, Strategy
from zmax.kit.rows import where, where_rows
from zmax.search.posterior.mcmc import Chains

SHUT = 1e-6


@dataclass(frozen=True)
class EllipticalState:
    """The chains, and how far each has come on its present ellipse.

    Attributes:
        chains: where they are.
        nu: the other axis of each ellipse.
        level: the score that ends the search on it.
        angle: where on it the next proposal lies.
        low: lower end of the bracket of angles.
        high: upper end.
        u: the proposals.
    """

    chains: Chains
    nu: Float[Tensor, "n dim"] = field(metadata=ROW)
    level: Float[Tensor, " n"] = field(metadata=ROW)
    angle: Float[Tensor, " n"] = field(metadata=ROW)
    low: Float[Tensor, " n"] = field(metadata=ROW)
    high: Float[Tensor, " n"] = field(metadata=ROW)
    u: Float[Tensor, "n dim"] = field(metadata=ROW)
    space: Space = field(metadata=STATIC)


class Elliptical(Strategy[EllipticalState]):
    r"""Elliptical slice sampling, many chains at once; each round is one score call a chain.

    For the law :math:`p^*(u) \propto N(u; 0, I) \exp(S(G(u)) / T)`, a chain at u draws

    .. math:: \nu \sim N(0, I), \quad y = S(G(u)) + T \ln U(0, 1), \quad
              u(\theta) = u \cos\theta + \nu \sin\theta

    and tries angles until :math:`S(G(u(\theta))) \ge y`, each time shrinking the bracket, first the whole circle, to
    the angle refused. Nothing is rejected for good, and nothing has to be tuned. A chain's draws are the ends of its
    searches, not its positions by the clock, which would favour points that are hard to leave.

    Args:
        temperature: T of the law to draw from, in units of the score. None anneals it, to maximise.
        chains: number of chains; one score call a chain and round.

    Raises:
        InputError: an argument is not positive.

    Example:
        >>> from zmax.core.rng import stream
        >>> from zmax.core.space import Space
        >>> method = Elliptical(temperature=1.0, chains=4)
        >>> method.ask(method.init(Space.of((100,)), stream(0))).u.shape
        torch.Size([4, 100])
    """

    gives = frozenset({Gives.DRAWS})
    begins = Starts.CHAINS
    use: ClassVar[str] = "draws from the tilted law, black-box score, nothing to tune"
    reference: ClassVar[str] = (
        "Murray, Adams and MacKay, Elliptical slice sampling, AISTATS 2010, figure 2, https://arxiv.org/abs/1001.0175"
    )

    def __init__(self, *, temperature: float | None = None, chains: int = 16) -> None:
        positive("Elliptical", temperature=temperature)
        whole("Elliptical", chains=chains)
        self.temperature = temperature
        self.chains = chains

    def init(self, space: Space, rng: torch.Generator) -> EllipticalState:
        """Propose every chain a prior draw."""
        chains = Chains.start(self.chains, space, rng, self.temperature)
        zero = torch.zeros(self.chains, dtype=torch.float64)
        blank = EllipticalState(chains, chains.u, zero, zero, zero, zero, chains.u, space)
        return _begun(blank, torch.ones(self.chains, dtype=torch.bool))

    def begin(self, space: Space, rng: torch.Generator, start: Start) -> EllipticalState:
        """Propose the points of a start, and neighbours of theirs, instead of prior draws."""
        state = self.init(space, rng)
        return replace(state, u=start.places(state.u))

    def ask(self, state: EllipticalState) -> Proposal:
        """Return one point on each ellipse."""
        return Proposal(Latents(state.u))

    def tell(self, state: EllipticalState, evaluation: Evaluation) -> EllipticalState:
        """Move the chains whose point is high enough to a new ellipse, shrink the bracket of the others."""
        before, score = state.chains, evaluation.score.double()
        moved = evaluation.ok & (score >= state.level)
        low = torch.where(state.angle < 0, state.angle, state.low)
        high = torch.where(state.angle < 0, state.high, state.angle)
        ended = moved | (high - low < SHUT)  # nothing left but u itself, to rounding
        chains = before.went(moved, state.u, score).told(score, rows=ended)
        uniform, rng = chains.rng.uniform(len(low), dtype=torch.float64)
        state = replace(state, chains=replace(chains, rng=rng), low=low, high=high, angle=low + (high - low) * uniform)
        return _begun(state, ended | ~chains.alive)

    def draws(self, state: EllipticalState) -> Population | None:
        """Return the draws kept, None while annealing."""
        return state.chains.kept.population()


def _begun(state: EllipticalState, rows: Tensor) -> EllipticalState:
    """Begin a new ellipse in these rows, and propose; a chain without a point is proposed the prior draw."""
    chains = state.chains
    nu, rng = chains.rng.normal(*state.nu.shape)
    uniform, rng = rng.uniform(2, len(rows), dtype=torch.float64)
    level = torch.where(chains.alive, chains.score + chains.heat.temperature * (1 - uniform[0]).log(), -math.inf)
    angle = 2 * math.pi * uniform[1]
    fresh = replace(state, nu=nu, level=level, angle=angle, low=angle - 2 * math.pi, high=angle)
    state = where(rows, fresh, state)
    u = chains.u.double() * state.angle.cos()[:, None] + state.nu.double() * state.angle.sin()[:, None]
    return replace(state, chains=replace(chains, rng=rng), u=where_rows(chains.alive, u.float(), state.nu))
