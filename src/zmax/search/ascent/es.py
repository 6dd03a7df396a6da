"""Evolution strategies as gradient ascent: a rank-shaped antithetic gradient of the smoothed score, then Adam."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from zmax.core.checks import positive, whole
from zmax.core.proposal import Evaluation, Latents, Proposal
from zmax.core.rng import Rng
from zmax.core.space import Space
from zmax.core.start import Start, Starts
from zmax.core.strategy import Strategy
from zmax.search.ascent.differences import antithetic_gradient, centred_ranks, pairs
from zmax.search.ascent.gradient import Gradient, GradientState


@dataclass(frozen=True)
class ESState:
    """The chain that climbs, the directions tried around it, and the points they lead to.

    Attributes:
        chain: one chain of :class:`~zmax.search.ascent.gradient.Gradient`.
        e: directions.
        u: R(c + sigma e), R(c - sigma e), and the chain's point c itself.
        rng: the stream that directions come from.
    """

    chain: GradientState
    e: Float[Tensor, "k dim"]
    u: Float[Tensor, "n dim"]
    rng: Rng


class ES(Strategy[ESState]):
    r"""Antithetic evolution strategies: an estimate of the gradient of :math:`E\,S(u + \sigma e)`, climbed by Adam.

    With :math:`e_i \sim N(0, I)` and scores replaced by their centred ranks r within the round,

    .. math:: \hat g = \frac{1}{2 k \sigma} \sum_{i=1}^{k}
              \bigl(r(u + \sigma e_i) - r(u - \sigma e_i)\bigr)\, e_i, \qquad u \leftarrow R(\mathrm{Adam}(u, \hat g))

    A pair of which one failed does not count. The step is halved when u has not improved for `patience` rounds, and
    sigma with it; after six halvings the search starts again from a prior draw.

    Args:
        step: first step of Adam, in units of the prior's standard deviation.
        width: sigma, in units of the prior's standard deviation.
        pairs: antithetic pairs k a round.
        patience: rounds without improvement before the step is halved.

    Raises:
        InputError: an argument is not a positive number.

    Example:
        >>> from zmax.core.rng import stream
        >>> from zmax.core.space import Space
        >>> method = ES(pairs=4)
        >>> method.ask(method.init(Space.of((100,)), stream(0))).u.shape
        torch.Size([9, 100])
    """

    begins = Starts.CHAINS
    use: ClassVar[str] = "thousands of calls, a black-box score smoothed over a neighbourhood"
    reference: ClassVar[str] = (
        "Salimans et al., Evolution strategies as a scalable alternative to reinforcement learning, 2017, section 2, "
        "https://arxiv.org/abs/1703.03864"
    )

    def __init__(self, *, step: float = 0.2, width: float = 0.5, pairs: int = 4, patience: int = 10) -> None:
        positive("ES", step=step, width=width)
        whole("ES", pairs=pairs, patience=patience)
        self.step = step
        self.width = width
        self.pairs = pairs
        self.patience = patience
        self.ascent = Gradient(step=step, batch=1, patience=patience)

    def init(self, space: Space, rng: torch.Generator) -> ESState:
        """Draw the start from the prior."""
        chains, directions = Rng.of(rng).split()
        return self._around(self.ascent.init(space, chains.generator()), directions)

    def begin(self, space: Space, rng: torch.Generator, start: Start) -> ESState:
        """Set out from the best point of a start."""
        chains, directions = Rng.of(rng).split()
        return self._around(self.ascent.begin(space, chains.generator(), start), directions)

    def ask(self, state: ESState) -> Proposal:
        """Return the round's points."""
        return Proposal(Latents(state.u))

    def tell(self, state: ESState, evaluation: Evaluation) -> ESState:
        """Estimate the gradient and move; a round in which no pair came back whole is redrawn."""
        plus, minus, ok = pairs(evaluation, self.pairs)
        if not bool(ok.any()):
            return self._draw(state)
        ranks = centred_ranks(torch.cat([plus[ok], minus[ok]]))
        difference = torch.zeros(self.pairs, dtype=torch.float64)
        difference[ok] = ranks[: int(ok.sum())] - ranks[int(ok.sum()) :]
        grad = antithetic_gradient(state.e, (difference * len(ok) / ok.sum()).float(), self._width(state))
        alive = torch.ones(1, dtype=torch.bool)
        told = Evaluation(evaluation.score[-1:], alive, None, evaluation.ids[-1:], grad[None])
        return self._draw(replace(state, chain=self.ascent.tell(state.chain, told)))

    def _around(self, chain: GradientState, directions: Rng) -> ESState:
        none = torch.empty(0, chain.space.dim)
        return self._draw(ESState(chain, none, none, directions))

    def _width(self, state: ESState) -> float:
        return self.width * float(state.chain.step[0]) / self.step

    def _draw(self, state: ESState) -> ESState:
        space, centre = state.chain.space, state.chain.u
        e, rng = state.rng.normal(self.pairs, space.dim)
        way = self._width(state) * e
        u = torch.cat([centre + way, centre - way, centre])
        return replace(state, e=e, u=space.retract(u), rng=rng)
