"""Langevin dynamics in whitened coordinates: draws of the tilted law by its gradient."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from zmax.core.checks import positive, share, whole
from zmax.core.proposal import Evaluation, Latents, Proposal, Value
from zmax.core.space import Space
from zmax.core.start import Start, Starts
from zmax.core.state import STATIC
from zmax.core.strategy import Gives, Need, Population, Strategy
from zmax.kit.chains import clipped, gradient_of
from zmax.kit.rows import where_rows
from zmax.search.posterior.mcmc import Chains, accepted, adapted, tilting


@dataclass(frozen=True)
class LangevinState:
    """The chains, the gradient where they are, the step they share, and where they might go.

    Attributes:
        chains: where they are.
        grad: d S / d u there, in float64.
        step: h, around which each chain's own step is drawn.
        own: the steps of this round's proposals.
        u: one proposal a chain.
    """

    chains: Chains
    grad: Float[Tensor, "n dim"]
    step: float
    own: Float[Tensor, "n 1"]
    u: Float[Tensor, "n dim"]
    space: Space = field(metadata=STATIC)


class Langevin(Strategy[LangevinState]):
    r"""Langevin dynamics with Metropolis adjustment (MALA), many chains at once.

    For the law :math:`p^*(u) \propto N(u; 0, I) \exp(S(G(u)) / T)`, whose score is
    :math:`b(u) = -u + \nabla S(G(u)) / T`, a chain at u is proposed

    .. math:: u' = m(u) + h \xi, \quad \xi \sim N(0, I), \qquad m(u) = u + \tfrac{h^2}{2} b(u)

    and goes there with probability

    .. math:: \min\Big\{1, \frac{p^*(u')\, N(u; m(u'), h^2 I)}{p^*(u)\, N(u'; m(u), h^2 I)}\Big\}.

    Each chain's drift is cut to `clip` times the typical length of its noise, in both directions alike, so that the law
    stays exact (the truncated drift of Roberts and Tweedie). The step adapts towards the acceptance wanted by amounts
    that die out. With a `spread` each chain draws its step anew every round, log-uniform around h: where the score has
    steep walls and flat hollows, no single step crosses both. Without adjustment every move is made, the step stays,
    and the law is off by an amount that vanishes with the step: in a direction where p* has variance v, its variance is
    :math:`v / (1 - h^2 / 4v)`.

    Args:
        temperature: T of the law to draw from, in units of the score. None anneals it, to maximise.
        chains: number of chains; one score gradient a chain and round.
        step: first h, in units of the prior's standard deviation; the only one without adjustment.
        acceptance: mean acceptance to adapt the step to.
        adjust: whether to accept or refuse moves, which makes the law exact.
        clip: longest drift, in units of the noise's typical length; at 2 a stable step is never cut.
        spread: largest step over smallest in a round; 1 gives all chains the same. Without adjustment it plays no part.

    Raises:
        InputError: an argument is out of its range.

    Example:
        >>> from zmax.core.rng import stream
        >>> from zmax.core.space import Space
        >>> method = Langevin(temperature=1.0, chains=4)
        >>> method.ask(method.init(Space.of((100,)), stream(0))).u.shape
        torch.Size([4, 100])
    """

    needs = frozenset({Need.GRADIENT})
    gives = frozenset({Gives.DRAWS})
    begins = Starts.CHAINS
    use: ClassVar[str] = "draws from the tilted law, differentiable score, hundreds of rounds"
    reference: ClassVar[str] = (
        "Roberts and Tweedie, Exponential convergence of Langevin distributions and their discrete approximations, "
        "Bernoulli 2, 1996, section 1.4, https://doi.org/10.2307/3318418"
    )

    def __init__(
        self,
        *,
        temperature: float | None = None,
        chains: int = 16,
        step: float = 0.3,
        acceptance: float = 0.57,
        adjust: bool = True,
        clip: float = 2.0,
        spread: float = 1.0,
    ) -> None:
        positive(type(self).__name__, temperature=temperature, step=step, clip=clip, spread=spread)
        whole(type(self).__name__, chains=chains)
        share(type(self).__name__, acceptance=acceptance)
        self.temperature = temperature
        self.chains = chains
        self.step = step
        self.acceptance = acceptance
        self.adjust = adjust
        self.clip = clip
        self.spread = spread if adjust else 1.0

    def init(self, space: Space, rng: torch.Generator) -> LangevinState:
        """Propose every chain a prior draw."""
        chains = Chains.start(self.chains, space, rng, self.temperature)
        zero = chains.u.double()
        return self._proposed(LangevinState(chains, zero, self.step, zero[:, :1], chains.u, space))

    def begin(self, space: Space, rng: torch.Generator, start: Start) -> LangevinState:
        """Propose the points of a start, and neighbours of theirs, instead of prior draws."""
        state = self.init(space, rng)
        return replace(state, u=start.places(state.u))

    def ask(self, state: LangevinState) -> Proposal:
        """Return the proposals."""
        return Proposal(Latents(state.u), Value(grad="point"))

    def tell(self, state: LangevinState, evaluation: Evaluation) -> LangevinState:
        """Accept or refuse each proposal; failures are refused."""
        chains, score, grad = state.chains, evaluation.score.double(), gradient_of(type(self).__name__, evaluation)
        ratio = tilting(chains.score, score, chains.heat.temperature) + self._correction(state, grad)
        moved, probability, rng = accepted(ratio, chains.rng)
        step = state.step
        if self.adjust:
            step = adapted(step, probability[chains.alive], self.acceptance, chains.heat)
        else:
            moved = evaluation.ok
        told = replace(chains, rng=rng).went(moved, state.u, score).told(score)
        return self._proposed(replace(state, chains=told, grad=where_rows(moved, grad, state.grad), step=step))

    def draws(self, state: LangevinState) -> Population | None:
        """Return the draws kept, None while annealing."""
        return state.chains.kept.population()

    def _correction(self, state: LangevinState, grad: Tensor) -> Tensor:
        """Return what the prior and the proposal add to the logarithm of the acceptance ratio."""
        old, new = state.chains.u.double(), state.u.double()
        prior = (old.square().sum(1) - new.square().sum(1)) / 2
        there = (new - self._mean(state, old, state.grad)).square().sum(1)
        back = (old - self._mean(state, new, grad)).square().sum(1)
        return torch.where(state.chains.alive, prior + (there - back) / (2 * state.own[:, 0].square()), 0.0)

    def _mean(self, state: LangevinState, u: Tensor, grad: Tensor) -> Tensor:
        drift = state.own.square() / 2 * (grad / state.chains.heat.temperature - u)
        return u + clipped(drift, self.clip * state.own * u.shape[1] ** 0.5)

    def _proposed(self, state: LangevinState) -> LangevinState:
        chains, u = state.chains, state.chains.u.double()
        xi, rng = chains.rng.normal(*u.shape, dtype=torch.float64)
        uniform, rng = rng.uniform(len(u), 1, dtype=torch.float64)
        state = replace(state, chains=replace(chains, rng=rng), own=state.step * self.spread ** (uniform - 0.5))
        u = where_rows(chains.alive, self._mean(state, u, state.grad) + state.own * xi, xi)
        return replace(state, u=u.float())
