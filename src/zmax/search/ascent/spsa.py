"""Simultaneous perturbation: two scores a step, whatever the dimension."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from zmax.core.checks import positive, whole
from zmax.core.proposal import Evaluation, Latents, Proposal
from zmax.core.rng import Rng
from zmax.core.space import Space
from zmax.core.start import Start, Starts
from zmax.core.state import STATIC
from zmax.core.strategy import Strategy
from zmax.kit.stalling import Rounds
from zmax.search.ascent.differences import antithetic_gradient, pairs

ALPHA, GAMMA = 0.602, 0.101
STABILITY = 20  # rounds A
MEMORY = 0.9


@dataclass(frozen=True)
class SPSAState:
    """Where the search is, the signs it tries, and the points they lead to.

    Attributes:
        centre: present point.
        square: moving mean of the squared norm of the estimates.
        round: rounds told.
        e: directions of signs.
        u: R(c + width e), then R(c - width e).
        rounds: what was scored since the start.
        rng: the stream that signs come from.
    """

    centre: Float[Tensor, " dim"]
    square: float
    round: int
    e: Float[Tensor, "k dim"]
    u: Float[Tensor, "n dim"]
    rounds: Rounds
    rng: Rng
    space: Space = field(metadata=STATIC)


class SPSA(Strategy[SPSAState]):
    r"""Simultaneous perturbation stochastic approximation, with steps that do not depend on the scale of S.

    With independent signs :math:`e_i \in \{-1, 1\}^d` and Spall's gains,

    .. math:: \hat g = \frac1k \sum_{i=1}^k \frac{S(u + c_t e_i) - S(u - c_t e_i)}{2 c_t}\, e_i, \qquad
              u \leftarrow R\Bigl(u + a_t \sqrt d\, \frac{\hat g}{\mathrm{rms}\,|\hat g|}\Bigr), \qquad
              a_t = a \Bigl(1 + \frac{t}{A}\Bigr)^{-0.602}, \quad c_t = c\, (1 + t)^{-0.101}

    where the root mean square is a running one. A pair of which one failed does not count. Where all pairs are level
    the step goes along one of the signs; on a plateau the search starts again from a prior draw.

    Args:
        step: first step a, in units of the prior's standard deviation.
        width: first width c of a difference, in the same units.
        pairs: pairs k averaged for a step.

    Raises:
        InputError: an argument is not a positive number.

    Example:
        >>> from zmax.core.rng import stream
        >>> from zmax.core.space import Space
        >>> method = SPSA(pairs=2)
        >>> method.ask(method.init(Space.of((100,)), stream(0))).u.shape
        torch.Size([4, 100])
    """

    begins = Starts.LAW
    use: ClassVar[str] = "a noisy black-box score and very few calls a step"
    reference: ClassVar[str] = (
        "Spall, Multivariate stochastic approximation using a simultaneous perturbation gradient approximation, "
        "IEEE Trans. Automatic Control 37(3), 1992, https://doi.org/10.1109/9.119632"
    )

    def __init__(self, *, step: float = 0.3, width: float = 0.1, pairs: int = 2) -> None:
        positive("SPSA", step=step, width=width)
        whole("SPSA", pairs=pairs)
        self.step = step
        self.width = width
        self.pairs = pairs

    def init(self, space: Space, rng: torch.Generator) -> SPSAState:
        """Draw the start from the prior."""
        return self._start(space, Rng.of(rng))

    def begin(self, space: Space, rng: torch.Generator, start: Start) -> SPSAState:
        """Set out from the best point of a start."""
        return self._draw(replace(self._start(space, Rng.of(rng)), centre=start.u[0]))

    def ask(self, state: SPSAState) -> Proposal:
        """Return the round's points."""
        return Proposal(Latents(state.u))

    def tell(self, state: SPSAState, evaluation: Evaluation) -> SPSAState:
        """Step along the estimate; a round in which no pair came back whole is redrawn."""
        plus, minus, ok = pairs(evaluation, self.pairs)
        if not bool(ok.any()):
            return self._draw(state)
        grad = antithetic_gradient(state.e[ok].double(), (plus - minus)[ok], self._width(state))
        norm = float(grad.norm())
        memory = min(MEMORY, state.round / (state.round + 1))
        square = memory * state.square + (1 - memory) * norm**2
        gain = self.step * (1 + state.round / STABILITY) ** -ALPHA * math.sqrt(state.space.dim)
        rounds = state.rounds.told(evaluation.score[evaluation.ok])
        if rounds.stalled(len(grad), 2 * self.pairs):
            return self._start(state.space, state.rng)
        move = grad * (gain / math.sqrt(square)) if norm > 0 else state.e[0] * (gain / len(grad) ** 0.5)
        centre = state.space.retract((state.centre + move.float())[None])[0]
        return self._draw(replace(state, centre=centre, square=square, rounds=rounds, round=state.round + 1))

    def _start(self, space: Space, rng: Rng) -> SPSAState:
        z, after = rng.normal(1, space.dim)
        none = torch.empty(0, space.dim)
        return self._draw(SPSAState(space.retract(space.drawn(z))[0], 0.0, 0, none, none, Rounds.none(), after, space))

    def _width(self, state: SPSAState) -> float:
        return self.width * (1 + state.round) ** -GAMMA

    def _draw(self, state: SPSAState) -> SPSAState:
        uniform, rng = state.rng.uniform(self.pairs, state.space.dim)
        e = (uniform < 0.5).float() * 2 - 1
        way = self._width(state) * e
        u = torch.cat([state.centre + way, state.centre - way])
        return replace(state, e=e, u=state.space.retract(u), rng=rng)
