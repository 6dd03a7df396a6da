"""L-BFGS ascent, many independent chains at once, with the line search spread over rounds."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from zmax.core.checks import positive, whole
from zmax.core.proposal import Evaluation, Latents, Proposal, Value
from zmax.core.rng import Rng
from zmax.core.space import Space
from zmax.core.state import ROW, STATIC
from zmax.core.strategy import Gives, Need
from zmax.kit.chains import TINY, Climb, gradient_of, tangent
from zmax.kit.rows import where, where_rows

ARMIJO = 1e-4
CURVED = 1e-6  # least cosine between s and y of a pair that is kept
SHORTEST, LONGEST = 0.1, 0.5  # bounds of the factor that shortens a step
FORGET, GIVE_UP = 4, 8  # refused steps after which a chain forgets its pairs, and is redrawn
STANDING = 1e-9  # share of a chain's gain so far below which a step counts as standing still
PATIENCE = 3


@dataclass(frozen=True)
class LBFGSState:
    """One row a chain.

    Attributes:
        u: last accepted point of each chain.
        score: its score, -inf while it is not known.
        grad: its gradient, without what retraction would undo.
        direction: ascent direction from there.
        length: length of the step that is tried, |t p|.
        s: last accepted moves, oldest first; 0 where there is none.
        y: what the gradient lost over each of them.
        tries: steps refused since the last accepted one.
        start: score of the chain's first point.
        standing: accepted steps in a row that gained next to nothing.
        candidate: the points proposed.
        rng: the stream that redraws come from.
    """

    u: Float[Tensor, "n d"] = field(metadata=ROW)
    score: Float[Tensor, " n"] = field(metadata=ROW)
    grad: Float[Tensor, "n d"] = field(metadata=ROW)
    direction: Float[Tensor, "n d"] = field(metadata=ROW)
    length: Float[Tensor, " n"] = field(metadata=ROW)
    s: Float[Tensor, "n m d"] = field(metadata=ROW)
    y: Float[Tensor, "n m d"] = field(metadata=ROW)
    tries: Int[Tensor, " n"] = field(metadata=ROW)
    start: Float[Tensor, " n"] = field(metadata=ROW)
    standing: Int[Tensor, " n"] = field(metadata=ROW)
    candidate: Float[Tensor, "n d"] = field(metadata=ROW)
    rng: Rng
    space: Space = field(metadata=STATIC)


class LBFGS(Climb[LBFGSState]):
    r"""Limited-memory BFGS ascent with backtracking; independent chains, one evaluation of each a round.

    From the last m moves :math:`s_i` and losses of gradient :math:`y_i` the two-loop recursion gives the direction
    :math:`p = H g`. A chain proposes :math:`R(u + t p)`, first with t = 1, and takes it if

    .. math:: S(R(u + t p)) \ge S(u) + 10^{-4}\, g^\top (R(u + t p) - u),

    else it shortens t by interpolation and tries again next round. Moves without positive curvature
    (:math:`s^\top y \le 10^{-6} |s| |y|`) are not remembered. No move is longer than :math:`\sqrt d`; while there
    are no pairs, moves have a length that doubles when one is taken. R moves a point to the prior's typical shell, and
    gradients are taken without their part that R would undo. A chain that stands still is redrawn.

    Args:
        step: length of a chain's first move, in units of the prior's norm :math:`\sqrt d`.
        memory: pairs m that are kept.
        batch: number of chains; fewer climb faster, more find more peaks.
        retract: keep every point on the shell of plausibility at least 0.5; without it norms drift.

    Raises:
        InputError: an argument is not a positive number.

    Example:
        >>> from zmax.core.rng import stream
        >>> from zmax.core.space import Space
        >>> method = LBFGS(batch=4)
        >>> method.ask(method.init(Space.of((100,)), stream(0))).u.shape
        torch.Size([4, 100])
    """

    needs = frozenset({Need.GRADIENT, Need.SMOOTH})
    gives = frozenset({Gives.RETRACTION})
    use: ClassVar[str] = "inversion and other smooth scores to high precision"
    reference: ClassVar[str] = "Nocedal and Wright, Numerical Optimization, 2nd ed., 2006, algorithms 7.4 and 3.1"

    def __init__(self, *, step: float = 0.3, memory: int = 8, batch: int = 8, retract: bool = True) -> None:
        positive("LBFGS", step=step)
        whole("LBFGS", memory=memory, batch=batch)
        self.step = step
        self.memory = memory
        self.batch = batch
        self.retract = retract

    def init(self, space: Space, rng: torch.Generator) -> LBFGSState:
        """Draw every chain from the prior."""
        return self.drawn(self.batch, space, Rng.of(rng))

    def ask(self, state: LBFGSState) -> Proposal:
        """Return the point each chain tries."""
        return Proposal(Latents(state.candidate), Value(grad="point"))

    def advance(self, state: LBFGSState, evaluation: Evaluation) -> tuple[LBFGSState, Bool[Tensor, " n"]]:
        """Take the steps that are good enough, shorten the others; say which chains are at their end."""
        there, score = state.candidate.double(), evaluation.score.double()
        grad = gradient_of("LBFGS", evaluation)
        grad = tangent(state.space, there, grad) if self.retract else grad
        first, move = state.score == -math.inf, there - state.u
        promised = (state.grad * move).sum(1)
        taken = evaluation.ok & (first | (score >= state.score + ARMIJO * promised.clamp_min(0)) & (move != 0).any(1))
        onward = self._onward(self._taken(state, taken, first, move, score, grad), taken)
        onward = self._shortened(onward, ~taken, score - state.score, promised)
        spent = (onward.tries >= GIVE_UP) | (onward.standing >= PATIENCE) | ~(onward.grad != 0).any(1)
        return self._propose(onward), spent | (first & ~evaluation.ok)

    def placed(self, state: LBFGSState, u: Float[Tensor, "n d"]) -> LBFGSState:
        """Return chains that were just drawn, moved to those points."""
        return replace(state, u=u.double(), candidate=u)

    def best(self, state: LBFGSState) -> Float[Tensor, " n"]:
        """Return the best score of each chain since it was drawn."""
        return state.score

    def _taken(
        self, state: LBFGSState, taken: Tensor, first: Tensor, move: Tensor, score: Tensor, grad: Tensor
    ) -> LBFGSState:
        """Go to the candidates that are taken and remember the moves there, if curvature along them is positive."""
        loss = state.grad - grad
        curvature = (move * loss).sum(1)
        curved = curvature > CURVED * move.norm(dim=1) * loss.norm(dim=1)
        kept = taken & ~first & curved
        gained, total = score - state.score, score - state.start
        still = taken & ~first & (gained <= STANDING * total)
        pairs = replace(
            state,
            s=torch.cat([state.s[:, 1:], move[:, None]], 1),
            y=torch.cat([state.y[:, 1:], loss[:, None]], 1),
        )
        went = replace(
            where(kept, pairs, state),
            u=state.candidate.double(),
            score=score,
            grad=grad,
            start=torch.where(first, score, state.start),
            standing=torch.where(still, state.standing + 1, 0),
            tries=torch.zeros_like(state.tries),
            length=torch.where(first, state.length, 2 * move.norm(dim=1)),
        )
        return where(taken, went, state)

    def _onward(self, state: LBFGSState, taken: Tensor) -> LBFGSState:
        """Point the chains that moved uphill again."""
        direction = two_loops(state.grad, state.s, state.y)
        uphill = (direction * state.grad).sum(1) > 0
        direction = where_rows(uphill, direction, state.grad)
        known = (state.s[:, -1] != 0).any(1)
        length = torch.where(known, direction.norm(dim=1), state.length)
        length = length.clamp(max=state.space.dim**0.5)
        return where(taken, replace(state, direction=direction, length=length), state)

    def _shortened(self, state: LBFGSState, refused: Tensor, gained: Tensor, promised: Tensor) -> LBFGSState:
        """Shorten refused steps to the top of the parabola through what is known, within bounds."""
        factor = promised / (2 * (promised - gained)).clamp_min(TINY)
        factor = torch.where(torch.isfinite(factor), factor, SHORTEST).clamp(SHORTEST, LONGEST)
        tries = torch.where(refused, state.tries + 1, state.tries)
        forget = refused & (tries == FORGET)
        return replace(
            state,
            length=torch.where(refused, factor * state.length, state.length),
            tries=tries,
            direction=where_rows(forget, state.grad, state.direction),
            s=state.s.masked_fill(forget[:, None, None], 0.0),
            y=state.y.masked_fill(forget[:, None, None], 0.0),
        )

    def _propose(self, state: LBFGSState) -> LBFGSState:
        norm = state.direction.norm(dim=1).clamp_min(TINY)
        there = state.u + (state.length / norm)[:, None] * state.direction
        there = state.space.retract(there) if self.retract else there
        return replace(state, candidate=there.float())

    def drawn(self, n: int, space: Space, rng: Rng) -> LBFGSState:
        """Return the state of n chains drawn from the prior, with the stream that follows."""
        generator, d = rng.generator(), space.dim
        u = space.sample(n, generator)
        u = space.retract(u) if self.retract else u
        zero, none = torch.zeros(n, d, dtype=torch.float64), torch.zeros(n, dtype=torch.long)
        pairs, never = zero.new_zeros(n, self.memory, d), zero.new_full((n,), -math.inf)
        length = zero.new_full((n,), self.step * d**0.5)
        return LBFGSState(
            u.double(), never, zero, zero, length, pairs, pairs, none, never, none, u, Rng.of(generator), space
        )


def two_loops(grad: Float[Tensor, "n d"], s: Float[Tensor, "n m d"], y: Float[Tensor, "n m d"]) -> Float[Tensor, "n d"]:
    r"""Return H g by the two-loop recursion (algorithm 7.4), from oldest pair first to newest last.

    The first inverse curvature is :math:`\gamma I`, with :math:`\gamma` from the newest pair; pairs that are 0 take no
    part.
    """
    product = (s * y).sum(2)
    rho = torch.where(product > 0, 1 / product.clamp_min(TINY), 0.0)
    live = (product > 0).any(0).nonzero().flatten().tolist()
    alphas, q = {}, grad
    for i in reversed(live):
        alphas[i] = rho[:, i] * (s[:, i] * q).sum(1)
        q = q - alphas[i][:, None] * y[:, i]
    gamma = torch.where(product[:, -1] > 0, product[:, -1] / y[:, -1].square().sum(1).clamp_min(TINY), 1.0)
    r = gamma[:, None] * q
    for i in live:
        r = r + (alphas[i] - rho[:, i] * (y[:, i] * r).sum(1))[:, None] * s[:, i]
    return r
