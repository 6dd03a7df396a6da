"""A method over several goals: one number for each sample, by weights that change, until the whole front is found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from zmax.core.goals import Goals, nondominated
from zmax.core.proposal import Evaluation, Proposal, Value
from zmax.core.rng import Rng
from zmax.core.samples import Samples, concatenated, take
from zmax.core.space import Space
from zmax.core.start import Start, Starts
from zmax.core.state import STATIC
from zmax.core.strategy import Population, Strategy

TURN = 96
"""Scored points after which the weights change, at least."""

STRENGTH = 0.5
"""How far from the best known points for the new weights a method looks first, see :class:`~zmax.core.start.Start`."""

SMALLEST = 0.02
"""Weight of a goal, of the largest, at least."""

AGAIN = (Starts.LAW, Starts.MODEL, Starts.CHAINS)
"""Of what methods make of a start, that for which they begin anew with every turn."""

ALIKE = (Starts.ARCHIVE, Starts.DRAWS)
"""And that for which all goals are told alike."""


@dataclass(frozen=True)
class ScalarisedState:
    """The inner method's state, and what is known.

    Attributes:
        inner: the method's state.
        u: points that it may begin at anew: those of the front, for a model all.
        goals: what their samples have.
        samples: these, where the method wants to be told samples; one that has none yet is empty.
        turn: how often the weights have changed.
        scored: points in this turn.
        rng: the stream that beginnings are drawn from.
    """

    inner: Any
    u: Float[Tensor, "k dim"]
    goals: Float[Tensor, "k m"]
    samples: Any
    turn: int
    scored: int
    rng: Rng
    space: Space = field(metadata=STATIC)


class Scalarised(Strategy[ScalarisedState]):
    r"""Let a method maximise one number for each sample, :math:`S_w` of :class:`~zmax.core.goals.Goals`.

    Rows that follow gradients each keep weights of their own, spread evenly over all; every turn moves these on by a
    part of their distance. All other methods compare rows with each other: there all have the same weights for a turn
    of 96 scored points, at first equal ones, then those of a sequence that fills the simplex. With each turn a method
    begins anew at the best that is known by the new weights, a model of the score at all that is known. On a path every
    walk has weights of its own. Archives and plain draws are told all goals alike.

    Reference: Knowles, *ParEGO*, IEEE Transactions on Evolutionary Computation 10, 2006; Zhang and Golovin, *Random
    hypervolume scalarizations*, ICML 2020, algorithm 1, https://arxiv.org/abs/2006.04655.

    Args:
        strategy: the method, inside its guard.
        goals: of S.

    Example:
        >>> from zmax.core.rng import stream
        >>> from zmax.search.ascent.gradient import Gradient
        >>> method = Scalarised(strategy=Gradient(batch=3), goals=Goals(("a", "b")))
        >>> method.ask(method.init(Space.of((100,)), stream(0))).want.weights
        tensor([[0.2000, 1.0000],
                [1.0000, 1.0000],
                [1.0000, 0.2000]], dtype=torch.float64)
    """

    def __init__(self, *, strategy: Strategy[Any], goals: Goals) -> None:
        self.strategy = strategy
        self.goals = goals
        self.needs = strategy.needs
        self.begins = strategy.begins

    def init(self, space: Space, rng: torch.Generator) -> ScalarisedState:
        """Begin as the inner method does."""
        return self._blank(space, Rng.of(rng), self.strategy.init(space, rng))

    def begin(self, space: Space, rng: torch.Generator, start: Start) -> ScalarisedState:
        """Begin at a start as the inner method does."""
        return self._blank(space, Rng.of(rng), self.strategy.begin(space, rng, start))

    def ask(self, state: ScalarisedState) -> Proposal:
        """Propose what the inner method proposes, with the weights of each row."""
        proposal = self.strategy.ask(state.inner)
        want = proposal.want
        if not isinstance(want, Value) or self.begins in ALIKE:
            return proposal
        weights = self._weights(len(proposal), state.turn, each=want.grad != "")
        return Proposal(proposal.at, replace(want, weights=weights))

    def tell(self, state: ScalarisedState, evaluation: Evaluation) -> ScalarisedState:
        """Tell the inner method; after a turn it begins anew."""
        proposal = self.strategy.ask(state.inner)
        state = replace(state, inner=self.strategy.tell(state.inner, evaluation))
        if not isinstance(proposal.want, Value) or proposal.u is None:
            return state
        state = replace(state, scored=state.scored + len(proposal))
        again = self.begins in AGAIN and not proposal.want.grad
        if again:
            state = self._remembered(state, proposal.u, evaluation)
        if state.scored < (1 if self.begins is Starts.PATH else TURN):
            return state
        state = replace(state, turn=state.turn + 1, scored=0)
        return self._again(state) if again and len(state.u) else state

    def draws(self, state: ScalarisedState) -> Population | None:
        """Return what the inner method stands for."""
        return self.strategy.draws(state.inner)

    def _blank(self, space: Space, rng: Rng, inner: Any) -> ScalarisedState:
        none = torch.zeros(0, space.dim), torch.zeros(0, len(self.goals.names), dtype=torch.float64)
        return ScalarisedState(inner, *none, None, 0, 0, rng, space)

    def _remembered(self, state: ScalarisedState, u: Tensor, evaluation: Evaluation) -> ScalarisedState:
        """Take in what was scored: for a model all, for others those that nothing beats."""
        rows = evaluation.ok.nonzero().flatten()
        goals = torch.cat([state.goals, self.goals.columns(evaluation.parts)[rows].double()])
        points, samples = torch.cat([state.u, u[rows].cpu()]), self._shown(state, evaluation, rows.tolist())
        if self.begins is not Starts.MODEL:
            kept = nondominated(goals)
            goals, points = goals[kept], points[kept]
            samples = None if samples is None else take(samples, kept.nonzero().flatten().tolist())
        return replace(state, u=points, goals=goals, samples=samples)

    def _shown(self, state: ScalarisedState, evaluation: Evaluation, rows: list[int]) -> Samples | None:
        if evaluation.samples is None:
            return None
        new = take(evaluation.samples, rows)
        return new if state.samples is None else concatenated([state.samples, new])

    def _again(self, state: ScalarisedState) -> ScalarisedState:
        """Let the method begin at what is known, best first by the weights of the turn."""
        values = dict(zip(self.goals.names, state.goals.T, strict=True))
        weights = self._weights(1, state.turn, each=False).expand(len(state.u), -1)
        told = self.goals.total(values, weights)
        start = Start(state.u, STRENGTH, told, state.samples).ranked(torch.ones(len(told), dtype=torch.bool))
        generator = state.rng.generator()
        inner = self.strategy.begin(replace(state.space, start=start.nearest()), generator, start)
        return replace(state, inner=inner, rng=Rng.of(generator))

    def _weights(self, n: int, turn: int, *, each: bool) -> Float[Tensor, "n m"]:
        """Return the weights of the rows of a proposal: for each its own, or those of the turn."""
        m = len(self.goals.names)
        if not each:
            return torch.ones(n, m).double() if turn == 0 else on_simplex(filling([turn], m - 1)).expand(n, -1)
        rows = range(n)
        place = (torch.tensor(rows, dtype=torch.float64, device="cpu") + filling([turn], 1)[0]) / n
        return on_simplex(torch.cat([place[:, None], filling(rows, m - 2)], 1))


def filling(numbers: Sequence[int], dims: int) -> Float[Tensor, "n dims"]:
    r"""Return points with those numbers of a sequence that fills the unit cube evenly, the middle of it first.

    .. math:: x_i = \tfrac12 + i\,(\phi^{-1}, \dots, \phi^{-d}) \bmod 1, \qquad \phi^{d+1} = \phi + 1

    Reference: Roberts, *The unreasonable effectiveness of quasirandom sequences*, 2018,
    https://extremelearning.com.au/unreasonable-effectiveness-of-quasirandom-sequences/.

    Example:
        >>> [round(x, 3) for x in filling([0, 1, 2], 1).flatten().tolist()]
        [0.5, 0.118, 0.736]
    """
    phi = 1.5
    for _ in range(64):
        phi = (1 + phi) ** (1 / (dims + 1))
    steps = torch.tensor([phi**-j for j in range(1, dims + 1)], dtype=torch.float64, device="cpu")
    return (0.5 + torch.tensor(numbers, dtype=torch.float64, device="cpu")[:, None] * steps) % 1.0


def on_simplex(points: Float[Tensor, "n d"]) -> Float[Tensor, "n m"]:
    """Return what the d = m - 1 coordinates of points cut the unit interval into, as shares of the largest.

    Example:
        >>> on_simplex(torch.tensor([[0.5, 0.75], [0.0, 1.0]])).tolist()
        [[1.0, 0.5, 0.5], [0.019999999552965164, 1.0, 0.019999999552965164]]
    """
    cuts = torch.cat([points.new_zeros(len(points), 1), points.sort(1).values, points.new_ones(len(points), 1)], 1)
    shares = cuts.diff(dim=1)
    return (shares / shares.max(1, keepdim=True).values).clamp_min(SMALLEST)
