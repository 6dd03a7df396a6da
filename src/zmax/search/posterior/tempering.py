"""Parallel tempering: hot chains cross between modes and hand what they find down to the cold one."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from zmax.core.checks import positive, share, whole
from zmax.core.proposal import Evaluation, Latents, Proposal
from zmax.core.rng import Rng
from zmax.core.space import Space
from zmax.core.start import Start, Starts
from zmax.core.state import STATIC
from zmax.core.strategy import Gives, Population, Strategy
from zmax.kit.rows import take
from zmax.search.posterior.mcmc import Chains, accepted, adapted, crank_nicolson, tilting


@dataclass(frozen=True)
class TemperingState:
    """The ladders of chains, and what has been learnt of them.

    Attributes:
        chains: rows of the coldest rung of every ladder, then those of the next.
        steps: beta of the moves on each rung.
        gaps: logarithms of the gaps between inverse temperatures, up to a constant.
        swaps: the last mean acceptance of swaps across each gap.
        turn: which gaps try a swap next: the even (0) or the odd ones (1).
        u: one proposal a chain.
    """

    chains: Chains
    steps: tuple[float, ...]
    gaps: Float[Tensor, " gaps"]
    swaps: Float[Tensor, " gaps"]
    turn: int
    u: Float[Tensor, "n dim"]
    space: Space = field(metadata=STATIC)


class Tempering(Strategy[TemperingState]):
    r"""Parallel tempering of preconditioned Crank-Nicolson chains, several ladders at once.

    Rung k draws from :math:`p_k(u) \propto N(u; 0, I) \exp(b_k S(G(u)) / T)` with
    :math:`1 = b_0 > \dots > b_K = 0`: the coldest from the law wanted, the hottest from the prior. After each round
    of moves, even and odd neighbours in turn swap their points with probability

    .. math:: \min\{1, \exp((b_k - b_{k+1}) (S(G(u_{k+1})) - S(G(u_k))) / T)\}.

    The gaps between the b adapt towards equal acceptance of the swaps, by amounts that die out. Only the draws of the
    coldest rung are kept.

    Args:
        temperature: T of the law to draw from, in units of the score. None anneals it, to maximise.
        ladders: number of ladders.
        rungs: chains on each; one score call a chain and round.
        step: first :math:`\beta` of every rung, at most 1; it adapts as in :class:`~zmax.search.PCN`.
        acceptance: mean acceptance of the moves to adapt to.

    Raises:
        InputError: an argument is out of its range.

    Example:
        >>> from zmax.core.rng import stream
        >>> from zmax.core.space import Space
        >>> method = Tempering(temperature=1.0, ladders=2, rungs=3)
        >>> method.ask(method.init(Space.of((100,)), stream(0))).u.shape
        torch.Size([6, 100])
    """

    gives = frozenset({Gives.DRAWS})
    begins = Starts.CHAINS
    use: ClassVar[str] = "draws from the tilted law with several modes far apart, black-box score"
    reference: ClassVar[str] = (
        "Syed, Bouchard-Cote, Deligiannidis and Doucet, Non-reversible parallel tempering, JRSS B 84, 2022, "
        "algorithm 1, https://arxiv.org/abs/1905.02939"
    )

    def __init__(
        self,
        *,
        temperature: float | None = None,
        ladders: int = 4,
        rungs: int = 4,
        step: float = 0.5,
        acceptance: float = 0.3,
    ) -> None:
        positive("Tempering", temperature=temperature)
        whole("Tempering", ladders=ladders)
        whole("Tempering", least=2, rungs=rungs)
        share("Tempering", step=step, acceptance=acceptance)
        self.temperature = temperature
        self.ladders = ladders
        self.rungs = rungs
        self.step = step
        self.acceptance = acceptance

    def init(self, space: Space, rng: torch.Generator) -> TemperingState:
        """Propose every chain a prior draw; the first b are 1, 1/2, 1/4, ..., and 0."""
        chains = Chains.start(self.ladders * self.rungs, space, rng, self.temperature)
        first = 2.0 ** -torch.arange(self.rungs, dtype=torch.float64)
        gaps = (first[:-1] - first[1:].where(torch.arange(1, self.rungs) < self.rungs - 1, 0)).log()
        steps = (self.step,) * self.rungs
        return self._proposed(TemperingState(chains, steps, gaps, torch.zeros_like(gaps), 0, chains.u, space))

    def begin(self, space: Space, rng: torch.Generator, start: Start) -> TemperingState:
        """Propose the points of a start, and neighbours of theirs, instead of prior draws."""
        state = self.init(space, rng)
        return replace(state, u=start.places(state.u))

    def ask(self, state: TemperingState) -> Proposal:
        """Return the proposals of all rungs."""
        return Proposal(Latents(state.u))

    def tell(self, state: TemperingState, evaluation: Evaluation) -> TemperingState:
        """Accept or refuse the moves, then the swaps; failures are refused."""
        chains, score = state.chains, evaluation.score.double()
        b, heat = inverse(state.gaps), chains.heat
        ratio = tilting(chains.score, score, (heat.temperature / b).repeat_interleave(self.ladders))
        moved, probability, rng = accepted(ratio, chains.rng)
        steps = self._stepped(state.steps, probability, chains)
        chains = chains.went(moved, state.u, score)
        order, swaps, rng = self._swapped(chains.score, state, b / heat.temperature, rng)
        gaps = state.gaps + heat.gain * (swaps - swaps.mean())
        cold = torch.arange(len(score)) < self.ladders
        chains = replace(take(chains, order), rng=rng).told(evaluation.score, rows=cold)
        return self._proposed(replace(state, chains=chains, steps=steps, gaps=gaps, swaps=swaps, turn=1 - state.turn))

    def draws(self, state: TemperingState) -> Population | None:
        """Return the cold draws kept, None while annealing."""
        return state.chains.kept.population()

    def _proposed(self, state: TemperingState) -> TemperingState:
        step = torch.tensor(state.steps).repeat_interleave(self.ladders)
        u, chains = crank_nicolson(state.chains, step)
        return replace(state, chains=chains, u=u)

    def _stepped(self, steps: tuple[float, ...], probability: Tensor, chains: Chains) -> tuple[float, ...]:
        rows = zip(steps, probability.split(self.ladders), chains.alive.split(self.ladders), strict=True)
        return tuple(adapted(step, p[alive], self.acceptance, chains.heat, most=1.0) for step, p, alive in rows)

    def _swapped(self, score: Tensor, state: TemperingState, b: Tensor, rng: Rng) -> tuple[Tensor, Tensor, Rng]:
        """Try the swaps of this turn: the rows in their new order, and the mean acceptance across each gap."""
        rungs = list(torch.arange(len(score)).split(self.ladders))
        scores, swaps = score.split(self.ladders), state.swaps.clone()
        for k in range(state.turn, self.rungs - 1, 2):
            cold, hot = scores[k], scores[k + 1]
            both = torch.isfinite(cold) & torch.isfinite(hot)
            ratio = torch.where(both, (b[k] - b[k + 1]) * (hot - cold), float("-inf"))
            yes, probability, rng = accepted(ratio, rng)
            swaps[k] = probability.mean()
            rungs[k], rungs[k + 1] = rungs[k].where(~yes, rungs[k + 1]), rungs[k + 1].where(~yes, rungs[k])
        return torch.cat(rungs), swaps, rng


def inverse(gaps: Float[Tensor, " gaps"]) -> Float[Tensor, " rungs"]:
    """Return the inverse temperatures from 1 to 0 with gaps in these proportions, given as logarithms.

    Example:
        >>> inverse(torch.zeros(4)).tolist()
        [1.0, 0.75, 0.5, 0.25, 0.0]
    """
    share_ = gaps.softmax(0)
    return torch.cat([torch.ones_like(share_[:1]), 1 - share_.cumsum(0)[:-1], torch.zeros_like(share_[:1])])
