"""Ex2-MCMC: global moves that choose among fresh prior draws, between local Crank-Nicolson moves."""

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
class ISIRState:
    """The chains, the local step they share, and where they might go.

    Attributes:
        chains: where they are.
        step: beta of the local moves.
        turn: 0 before a global move, k before the k-th local move after it.
        u: the proposals: `candidates` for each chain in turn before a global move, else one a chain.
    """

    chains: Chains
    step: float
    turn: int
    u: Float[Tensor, "m dim"]
    space: Space = field(metadata=STATIC)


class ISIR(Strategy[ISIRState]):
    r"""Iterated sampling importance resampling from the prior, with local moves in between (Ex2-MCMC).

    For the law :math:`p^*(u) \propto N(u; 0, I) \exp(S(G(u)) / T)`, the global move of a chain at :math:`u^0` is

    .. math:: u^1, \dots, u^{N} \sim N(0, I), \qquad
              u \leftarrow u^k \ \text{with probability}\
              \frac{\exp(S(G(u^k)) / T)}{\sum_{j=0}^{N} \exp(S(G(u^j)) / T)},

    which leaves p* as it is for every N and crosses between modes however far apart. `local` preconditioned
    Crank-Nicolson moves follow, which find their way within a mode.

    Args:
        temperature: T of the law to draw from, in units of the score. None anneals it, to maximise.
        chains: number of chains.
        candidates: N, prior draws for each chain and global move.
        local: local moves between two global ones; 0 gives plain i-SIR.
        step: first :math:`\beta` of the local moves, at most 1; it adapts as in :class:`~zmax.search.PCN`.
        acceptance: mean acceptance of the local moves to adapt to.

    Raises:
        InputError: an argument is out of its range.

    Example:
        >>> from zmax.core.rng import stream
        >>> from zmax.core.space import Space
        >>> method = ISIR(temperature=1.0, chains=4, candidates=8)
        >>> method.ask(method.init(Space.of((100,)), stream(0))).u.shape
        torch.Size([32, 100])
    """

    gives = frozenset({Gives.DRAWS})
    begins = Starts.CHAINS
    use: ClassVar[str] = "draws from the tilted law with several modes, few effective dimensions, black-box score"
    reference: ClassVar[str] = (
        "Samsonov, Lagutin, Gabrie, Durmus, Naumov and Moulines, Local-global MCMC kernels: the best of both worlds, "
        "NeurIPS 2022, algorithms 1 and 3, https://arxiv.org/abs/2111.02702"
    )

    def __init__(
        self,
        *,
        temperature: float | None = None,
        chains: int = 16,
        candidates: int = 8,
        local: int = 8,
        step: float = 0.5,
        acceptance: float = 0.3,
    ) -> None:
        positive("ISIR", temperature=temperature)
        whole("ISIR", chains=chains, candidates=candidates)
        whole("ISIR", least=0, local=local)
        share("ISIR", step=step, acceptance=acceptance)
        self.temperature = temperature
        self.chains = chains
        self.candidates = candidates
        self.local = local
        self.step = step
        self.acceptance = acceptance

    def init(self, space: Space, rng: torch.Generator) -> ISIRState:
        """Propose every chain its first candidates."""
        chains = Chains.start(self.chains, space, rng, self.temperature)
        return self._proposed(ISIRState(chains, self.step, 0, chains.u, space))

    def begin(self, space: Space, rng: torch.Generator, start: Start) -> ISIRState:
        """Propose the points of a start, and neighbours of theirs, instead of prior draws."""
        state = self.init(space, rng)
        return replace(state, u=start.places(state.u))

    def ask(self, state: ISIRState) -> Proposal:
        """Return the proposals."""
        return Proposal(Latents(state.u))

    def tell(self, state: ISIRState, evaluation: Evaluation) -> ISIRState:
        """Choose among the candidates, or accept or refuse the local moves; failures are never chosen."""
        score = evaluation.score.double()
        turn = (state.turn + 1) % (self.local + 1)
        if state.turn == 0:
            return self._proposed(replace(self._chosen(state, score), turn=turn))
        chains, step = accepted_moves(state.chains, state.u, score, state.step, self.acceptance)
        return self._proposed(replace(state, chains=chains, step=step, turn=turn))

    def draws(self, state: ISIRState) -> Population | None:
        """Return the draws kept, None while annealing."""
        return state.chains.kept.population()

    def _chosen(self, state: ISIRState, score: Tensor) -> ISIRState:
        """Draw one of each chain's candidates and its present point, by the Gumbel trick."""
        chains = state.chains
        n, d = chains.u.shape
        points = torch.cat([chains.u[:, None], state.u.view(n, -1, d)], dim=1)
        scores = torch.cat([chains.score[:, None], score.view(n, -1)], dim=1)
        uniform, rng = chains.rng.uniform(*scores.shape, dtype=torch.float64)
        gumbel = -(-uniform.clamp_min(1e-300).log()).log()
        weight = torch.where(torch.isfinite(scores), scores / chains.heat.temperature + gumbel, float("-inf"))
        row, best = torch.arange(n), weight.argmax(1)
        chains = replace(chains, u=points[row, best], score=scores[row, best], rng=rng)
        return replace(state, chains=chains.told(score))

    def _proposed(self, state: ISIRState) -> ISIRState:
        if state.turn:
            u, chains = crank_nicolson(state.chains, state.step)
        else:
            n, d = state.chains.u.shape
            u, rng = state.chains.rng.normal(n * self.candidates, d)
            chains = replace(state.chains, rng=rng)
        return replace(state, chains=chains, u=u)
