"""Preconditioned Crank-Nicolson: random walks that leave the prior exactly as it is, whatever the dimension."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from zmax.core.checks import positive, share, whole
from zmax.core.proposal import Evaluation, Latents, Proposal
from zmax.core.space import Space
from zmax.core.start import Start, Starts
from zmax.core.state import STATIC
from zmax.core.strategy import Gives, Population, Strategy
from zmax.search.posterior.mcmc import Chains, accepted_moves, crank_nicolson


@dataclass(frozen=True)
class PCNState:
    """The chains, the step they share, and where they might go.

    Attributes:
        chains: where they are.
        step: beta.
        u: one proposal a chain.
    """

    chains: Chains
    step: float
    u: Float[Tensor, "n dim"]
    space: Space = field(metadata=STATIC)


class PCN(Strategy[PCNState]):
    r"""Metropolis-Hastings with the preconditioned Crank-Nicolson proposal, many chains at once.

    For the law :math:`p^*(u) \propto N(u; 0, I) \exp(S(G(u)) / T)`,

    .. math:: u' = \sqrt{1 - \beta^2}\, u + \beta \xi, \quad \xi \sim N(0, I), \qquad
              a = \min\{1, \exp((S(G(u')) - S(G(u))) / T)\}.

    The proposal leaves the prior invariant, so the acceptance sees the score alone and does not fall with the
    dimension. The step adapts towards the acceptance wanted by amounts that die out, hence the law is exact in the
    limit. Nothing is retracted: under the prior's own moves norms do not drift.

    Args:
        temperature: T of the law to draw from, in units of the score. None anneals it, to maximise.
        chains: number of chains; one score call a chain and round.
        step: first :math:`\beta`, at most 1; 1 proposes independent prior draws.
        acceptance: mean acceptance to adapt the step to.

    Raises:
        InputError: an argument is out of its range.

    Example:
        >>> from zmax.core.rng import stream
        >>> from zmax.core.space import Space
        >>> method = PCN(temperature=1.0, chains=4)
        >>> method.ask(method.init(Space.of((100,)), stream(0))).u.shape
        torch.Size([4, 100])
    """

    gives = frozenset({Gives.DRAWS})
    begins = Starts.CHAINS
    use: ClassVar[str] = "draws from the tilted law, black-box score, one main mode"
    reference: ClassVar[str] = (
        "Cotter, Roberts, Stuart and White, MCMC methods for functions, Statistical Science 28, 2013, section 4.2, "
        "https://arxiv.org/abs/1202.0709"
    )

    def __init__(
        self,
        *,
        temperature: float | None = None,
        chains: int = 16,
        step: float = 0.5,
        acceptance: float = 0.3,
    ) -> None:
        positive("PCN", temperature=temperature)
        whole("PCN", chains=chains)
        share("PCN", step=step, acceptance=acceptance)
        self.temperature = temperature
        self.chains = chains
        self.step = step
        self.acceptance = acceptance

    def init(self, space: Space, rng: torch.Generator) -> PCNState:
        """Propose every chain a prior draw."""
        chains = Chains.start(self.chains, space, rng, self.temperature)
        return _proposed(PCNState(chains, self.step, chains.u, space))

    def begin(self, space: Space, rng: torch.Generator, start: Start) -> PCNState:
        """Propose the points of a start, and neighbours of theirs, instead of prior draws."""
        state = self.init(space, rng)
        return replace(state, u=start.places(state.u))

    def ask(self, state: PCNState) -> Proposal:
        """Return the proposals."""
        return Proposal(Latents(state.u))

    def tell(self, state: PCNState, evaluation: Evaluation) -> PCNState:
        """Accept or refuse each proposal; failures are refused."""
        chains, step = accepted_moves(state.chains, state.u, evaluation.score, state.step, self.acceptance)
        return _proposed(replace(state, chains=chains, step=step))

    def draws(self, state: PCNState) -> Population | None:
        """Return the draws kept, None while annealing."""
        return state.chains.kept.population()


def _proposed(state: PCNState) -> PCNState:
    u, chains = crank_nicolson(state.chains, state.step)
    return replace(state, chains=chains, u=u)
