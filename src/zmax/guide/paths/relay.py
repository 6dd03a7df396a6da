"""Relay: best-of-N finds good paths, particles set out again from the middle of them, and gradients polish the best."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from zmax.core.checks import whole
from zmax.core.errors import InputError
from zmax.core.methods import registry
from zmax.core.proposal import Evaluation, Proposal
from zmax.core.rng import Rng
from zmax.core.space import Space
from zmax.core.start import Starts
from zmax.core.state import STATIC
from zmax.core.strategy import Need, Strategy
from zmax.generators.diffusion.path import path_of
from zmax.guide.paths.paths import branched, checked_branching
from zmax.kit.rows import where_rows
from zmax.kit.walk import Walk

FORGET = 0.9
OPTIMISM = 0.5  # gain, in standard deviations of the first scores, that an untried length is thought to bring
CURIOSITY = 0.1  # share of passes whose length is drawn at random


@dataclass(frozen=True)
class Elites:
    """Finished paths, best first.

    Attributes:
        u: all their noises.
        x: all points of their paths, from noise to the last that is denoised, each with what the one before has shown.
        score: what their ends scored.
    """

    u: Float[Tensor, "n dim"]
    x: Float[Tensor, "n steps 2 ..."]
    score: Float[Tensor, " n"]

    @classmethod
    def none(cls, space: Space) -> Elites:
        """Return no paths."""
        path = path_of(space)
        return cls(torch.zeros(0, space.dim), torch.zeros(0, path.steps, 2, *path.shape), torch.zeros(0).double())

    @classmethod
    def ended(cls, walk: Walk, evaluation: Evaluation) -> Elites:
        """Return the paths that have come to an end that was scored."""
        assert walk.passed is not None, "recorded"
        ok = evaluation.ok
        return cls(walk.u[ok], walk.passed[ok], evaluation.score.double()[ok])

    def joined(self, other: Elites) -> Elites:
        """Return both."""
        return Elites(*(torch.cat([getattr(self, name), getattr(other, name)]) for name in vars(self)))

    def best(self, n: int) -> Elites:
        """Return the n best, best first; of equals the earlier."""
        best = self.score.argsort(descending=True, stable=True)[:n]
        return Elites(self.u[best], self.x[best], self.score[best])


@dataclass(frozen=True)
class RelayState:
    """The best paths, and what is on its way.

    Attributes:
        elites: the best path of each lineage.
        drawn: how many of the first paths have come to their end.
        walk: points on their way.
        parent: the lineage that they belong to.
        spread: standard deviation of the first scores.
        gain: what passes of each length have brought of late.
        cost: network evaluations a point that they took.
        length: which length the pass under way has.
        passes: so far.
        ascent: the chain of gradient steps that takes over in the end.
        rng: the stream of all draws.
    """

    elites: Elites
    drawn: int
    walk: Walk
    parent: int
    spread: float
    gain: Float[Tensor, " lengths"]
    cost: Float[Tensor, " lengths"]
    length: int
    passes: int
    ascent: Any
    rng: Rng
    space: Space = field(metadata=STATIC)


class Relay(Strategy[RelayState]):
    r"""Best-of-N, then particles that set out again from the middle of the best paths; then gradients, if wanted.

    N paths are drawn and scored at their end. The best of them found lineages. From then on a pass takes one of the
    best lineages, goes back to step k of its path and lets points set out from there with fresh noise,

    .. math:: x_k' = x_k + c_{k-1} (\xi' - \xi),

    which costs N - k evaluations a point; on the way the best of the points branch by the scores of their previews,
    as in :class:`~zmax.guide.Paths`. The best end replaces its lineage's path if it is better, so a lineage that leads
    does not push out the others, and a basin that previews undervalue stays known. The length N - k of a pass is drawn
    among powers of two in proportion to what passes of that length have gained of late for an evaluation.

    After `polish_after` passes the gradient steps of :class:`~zmax.guide.DNO` take on the noises of the best path.

    Args:
        first: number N of paths that are drawn at first.
        lineages: number of paths that are kept.
        rows: points of a pass.
        keep: points of them that branch; divides `rows`.
        tournament: lineages of which the best is taken for a pass.
        polish_after: passes after which gradients take over; 0 for never, which needs no gradient.

    Raises:
        InputError: an argument is not a positive int, or they do not fit each other.

    Example:
        >>> import zmax
        >>> law = zmax.testing.gaussian_mixture([[-1.0], [1.0]], [[[0.1]], [[0.1]]], [0.5, 0.5])
        >>> S = zmax.testing.quadratic_score([[1.0]], [2.5])
        >>> r = zmax.maximize(law.generator(steps=20), S, zmax.guide.Relay(), zmax.Budget(nfe=2000))
        >>> r.best.score > 3
        True
    """

    needs = frozenset({Need.BETWEEN, Need.PATH})
    begins = Starts.PATH
    use: ClassVar[str] = "best samples of a diffusion model where previews mislead; thousands of evaluations"
    reference: ClassVar[str] = (
        "Ma et al., Inference-time scaling for diffusion models beyond scaling denoising steps, 2025, section 3.2, "
        "https://arxiv.org/abs/2501.09732; He et al., 2025, https://arxiv.org/abs/2505.17618"
    )

    def __init__(
        self,
        *,
        first: int = 32,
        lineages: int = 8,
        rows: int = 16,
        keep: int = 4,
        tournament: int = 2,
        polish_after: int = 0,
    ) -> None:
        name = type(self).__name__
        whole(name, first=first, lineages=lineages, rows=rows, keep=keep, tournament=tournament)
        whole(name, least=0, polish_after=polish_after)
        checked_branching(name, rows, keep)
        if lineages > first:
            raise InputError(f"{name}(lineages=...)", expected=f"at most first={first}", got=lineages)
        self.first = first
        self.lineages = lineages
        self.rows = rows
        self.keep = keep
        self.tournament = tournament
        self.polish_after = polish_after
        self.needs = self.needs | ({Need.GRADIENT} if polish_after else frozenset())
        self._ascent: Strategy[Any] = registry.load("dno")()

    def init(self, space: Space, rng: torch.Generator) -> RelayState:
        """Draw the initial noises of the first paths."""
        path = path_of(space)
        none = torch.zeros(len(_lengths(path.steps)), dtype=torch.float64)
        ascent = self._ascent.init(space, rng)
        walk = Walk.begin(space, min(self.rows, self.first), rng, recorded=True)
        return RelayState(Elites.none(space), 0, walk, 0, 0.0, none, none, 0, 0, ascent, Rng.of(rng), space)

    def ask(self, state: RelayState) -> Proposal:
        """Return the points on their way, or the one that gradients move."""
        if self._polishing(state):
            return self._ascent.ask(state.ascent)
        return state.walk.preview(state.space, scored=state.drawn >= self.first)

    def tell(self, state: RelayState, evaluation: Evaluation) -> RelayState:
        """Take a step; at the end of a pass see what it has gained, and begin the next."""
        if self._polishing(state):
            return replace(state, ascent=self._ascent.tell(state.ascent, evaluation))
        generator = state.rng.generator()
        if not state.walk.at_end(state.space):
            walk = branched(state.walk, state.space, evaluation, self.keep, generator)
            return self._next(state, generator) if walk is None else replace(state, walk=walk, rng=Rng.of(generator))
        state = self._gained(state, evaluation) if state.drawn >= self.first else self._founded(state, evaluation)
        return self._next(state, generator)

    def _polishing(self, state: RelayState) -> bool:
        return 0 < self.polish_after < state.passes

    def _founded(self, state: RelayState, evaluation: Evaluation) -> RelayState:
        """Keep the best of the first paths."""
        found = state.elites.joined(Elites.ended(state.walk, evaluation))
        spread = max(state.spread, float(found.score.std()) if len(found.score) > 1 else 0.0)
        drawn = state.drawn + len(evaluation.ok) if len(found.score) else 0
        return replace(state, elites=found.best(self.lineages), drawn=drawn, spread=spread)

    def _gained(self, state: RelayState, evaluation: Evaluation) -> RelayState:
        """Note what the pass has gained, and put its best end in the place of its parent if it is better."""
        score = evaluation.score.double().masked_fill(~evaluation.ok, -math.inf)
        row, walk, level = int(score.argmax()), state.walk, float(state.elites.score[state.parent])
        assert walk.passed is not None, "recorded"
        gain, cost = FORGET * state.gain, FORGET * state.cost
        gain[state.length] += max(float(score[row]) - level, 0.0)
        cost[state.length] += _lengths(path_of(state.space).steps)[state.length]
        state = replace(state, gain=gain, cost=cost)
        if float(score[row]) <= level:
            return state
        return replace(state, elites=_replaced(state, walk.u[row], walk.passed[row], float(score[row])))

    def _next(self, state: RelayState, generator: torch.Generator) -> RelayState:
        """Choose a lineage and how far to go back, and set out from there."""
        elites, space, path = state.elites, state.space, path_of(state.space)
        if state.drawn < self.first:
            n = min(self.rows, self.first - state.drawn)
            walk = Walk.begin(space, n, generator, recorded=True)
            return replace(state, walk=walk, rng=Rng.of(generator))
        rivals = torch.randint(len(elites.score), (self.tournament,), generator=generator)
        parent = int(elites.score.argsort(descending=True, stable=True)[rivals.min()])
        lengths = torch.tensor(_lengths(path.steps), dtype=torch.float64)
        rate = (state.gain + OPTIMISM * state.spread) / (state.cost + lengths)
        share = torch.where(rate.sum() > 0, rate / rate.sum().clamp_min(1e-300), 1 / len(rate))
        share = (1 - CURIOSITY) * share + CURIOSITY / len(rate)
        length = int(torch.multinomial(share, 1, generator=generator))
        u, x = (value[parent].expand(self.rows, *value.shape[1:]) for value in (elites.u, elites.x))
        noise = torch.randn(self.rows, *path.shape, generator=generator)
        walk = Walk.again(space, u, x, path.steps - int(lengths[length]), noise)
        best = elites.u[int(elites.score.argmax())]
        ascent = replace(state.ascent, u=best.expand_as(state.ascent.u))
        state = replace(state, walk=walk, parent=parent, length=length, passes=state.passes + 1, ascent=ascent)
        return replace(state, rng=Rng.of(generator))


def _lengths(steps: int) -> list[int]:
    """Return the lengths that a pass may have: powers of two, and the whole path."""
    return [1 << k for k in range(steps.bit_length()) if 1 << k < steps] + [steps]


def _replaced(state: RelayState, u: Tensor, x: Tensor, score: float) -> Elites:
    """Return the elites with another path in the parent's place."""
    old, here = state.elites, torch.arange(len(state.elites.score)) == state.parent
    rows = where_rows(here, u.expand_as(old.u), old.u)
    return Elites(rows, where_rows(here, x.to(old.x).expand_as(old.x), old.x), torch.where(here, score, old.score))
