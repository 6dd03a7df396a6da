"""Hamiltonian Monte Carlo in whitened coordinates, with the prior's motion solved exactly."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch
from jaxtyping import Bool, Float
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

JITTER = 0.5


@dataclass(frozen=True)
class HMCState:
    """The chains, and how far each has come on its present trajectory.

    Attributes:
        chains: where the trajectories began.
        grad: d S / d u there, in float64.
        step: h.
        left: leapfrog steps to go, the one proposed now included.
        q: where each trajectory is after its next step.
        p: its momentum there, before the closing half kick.
        energy: the prior's and momentum's share of the energy at the start, :math:`(|u|^2 + |p|^2) / 2`.
        broken: trajectories that met a failure, or whose chain has no point; they end where they began.
    """

    chains: Chains
    grad: Float[Tensor, "n dim"]
    step: float
    left: int
    q: Float[Tensor, "n dim"]
    p: Float[Tensor, "n dim"]
    energy: Float[Tensor, " n"]
    broken: Bool[Tensor, " n"]
    space: Space = field(metadata=STATIC)


class HMC(Strategy[HMCState]):
    r"""Hamiltonian Monte Carlo, many chains at once; each round is one leapfrog step, one score gradient a chain.

    For the law :math:`p^*(u) \propto N(u; 0, I) \exp(S(G(u)) / T)` with momenta :math:`p \sim N(0, I)`, the energy is

    .. math:: H(u, p) = \tfrac12 |u|^2 + \tfrac12 |p|^2 - S(G(u)) / T.

    Its first two terms make a rotation, which is done exactly; the third kicks. One step of length h is

    .. math:: p \leftarrow p + \tfrac{h}{2} \nabla S / T, \qquad
              (u, p) \leftarrow (u \cos h + p \sin h,\ p \cos h - u \sin h), \qquad
              p \leftarrow p + \tfrac{h}{2} \nabla S / T.

    A trajectory ends after about `length` of time, give or take half at random, and its end is accepted with
    probability :math:`\min\{1, \exp(-\Delta H)\}`. The error of H sees the score alone and does not grow with the
    dimension of the prior. The step adapts towards the acceptance wanted by amounts that die out. Each chain's kick is
    cut to `clip` times the typical length of its momentum; a kick is a function of u alone, so the law stays exact.

    Args:
        temperature: T of the law to draw from, in units of the score. None anneals it, trajectory by trajectory, to
            maximise.
        chains: number of chains; one score gradient a chain and round.
        step: first h, at most `length`.
        length: time of a trajectory; pi / 2 takes the prior to an independent draw.
        acceptance: mean acceptance to adapt the step to.
        leapfrogs: most steps of a trajectory.
        clip: longest kick, in units of the momentum's typical length.

    Raises:
        InputError: an argument is out of its range.

    Example:
        >>> from zmax.core.rng import stream
        >>> from zmax.core.space import Space
        >>> method = HMC(temperature=1.0, chains=4)
        >>> method.ask(method.init(Space.of((100,)), stream(0))).u.shape
        torch.Size([4, 100])
    """

    needs = frozenset({Need.GRADIENT})
    gives = frozenset({Gives.DRAWS})
    begins = Starts.CHAINS
    use: ClassVar[str] = "draws from the tilted law, differentiable score, many latent dimensions"
    reference: ClassVar[str] = (
        "Beskos, Pinski, Sanz-Serna and Stuart, Hybrid Monte Carlo on Hilbert spaces, Stochastic Processes and their "
        "Applications 121, 2011, section 4, https://doi.org/10.1016/j.spa.2011.06.003; Neal, MCMC using Hamiltonian "
        "dynamics, 2011, https://arxiv.org/abs/1206.1901"
    )

    def __init__(
        self,
        *,
        temperature: float | None = None,
        chains: int = 16,
        step: float = 0.3,
        length: float = math.pi / 2,
        acceptance: float = 0.8,
        leapfrogs: int = 32,
        clip: float = 1.0,
    ) -> None:
        positive("HMC", temperature=temperature, step=step, length=length, clip=clip)
        whole("HMC", chains=chains, leapfrogs=leapfrogs)
        share("HMC", acceptance=acceptance)
        self.temperature = temperature
        self.chains = chains
        self.step = min(step, length)
        self.length = length
        self.acceptance = acceptance
        self.leapfrogs = leapfrogs
        self.clip = clip

    def init(self, space: Space, rng: torch.Generator) -> HMCState:
        """Propose every chain a prior draw."""
        chains = Chains.start(self.chains, space, rng, self.temperature)
        zero = chains.u.double()
        return self._begun(HMCState(chains, zero, self.step, 0, zero, zero, chains.score, ~chains.alive, space))

    def begin(self, space: Space, rng: torch.Generator, start: Start) -> HMCState:
        """Propose the points of a start, and neighbours of theirs, instead of prior draws."""
        state = self.init(space, rng)
        return replace(state, q=start.places(state.q))

    def ask(self, state: HMCState) -> Proposal:
        """Return where the trajectories are."""
        return Proposal(Latents(state.q.float()), Value(grad="point"))

    def tell(self, state: HMCState, evaluation: Evaluation) -> HMCState:
        """Take one leapfrog step, or accept or refuse the ends; failures are refused."""
        grad = gradient_of("HMC", evaluation)
        state = replace(state, broken=state.broken | ~evaluation.ok)
        if state.left > 1 and not bool(state.broken.all()):
            return self._stepped(replace(state, left=state.left - 1), grad, whole_kick=True)
        chains, score = state.chains, evaluation.score.double()
        p = state.p + self._kick(state, grad)
        gain = state.energy - (state.q.square().sum(1) + p.square().sum(1)) / 2
        ratio = torch.where(chains.alive, gain, 0.0) + tilting(chains.score, score, chains.heat.temperature)
        ratio = torch.where(chains.alive & state.broken, -math.inf, ratio)
        moved, probability, rng = accepted(ratio, chains.rng)
        step = adapted(state.step, probability[chains.alive], self.acceptance, chains.heat, most=self.length)
        told = replace(chains, rng=rng).went(moved, state.q.float(), score).told(score)
        return self._begun(replace(state, chains=told, grad=where_rows(moved, grad, state.grad), step=step))

    def draws(self, state: HMCState) -> Population | None:
        """Return the draws kept, None while annealing."""
        return state.chains.kept.population()

    def _begun(self, state: HMCState) -> HMCState:
        """Draw momenta and a length, and take the first step; a chain without a point is proposed a prior draw."""
        chains, u = state.chains, state.chains.u.double()
        p, rng = chains.rng.normal(*u.shape, dtype=torch.float64)
        uniform, rng = rng.uniform(1, dtype=torch.float64)
        time = self.length * (1 + JITTER * (2 * float(uniform) - 1))
        left = min(self.leapfrogs, max(1, round(time / state.step))) if bool(chains.alive.any()) else 1
        energy = (u.square().sum(1) + p.square().sum(1)) / 2
        chains = replace(chains, rng=rng)
        state = replace(state, chains=chains, left=left, q=u, p=p, energy=energy, broken=~chains.alive)
        state = self._stepped(state, state.grad, whole_kick=False)
        return replace(state, q=where_rows(chains.alive, state.q, p))

    def _stepped(self, state: HMCState, grad: Tensor, *, whole_kick: bool) -> HMCState:
        """Kick and rotate; between two steps the closing and the opening half kick make a whole one."""
        kick = self._kick(state, grad)
        p = state.p + (2 * kick if whole_kick else kick)
        cos, sin = math.cos(state.step), math.sin(state.step)
        q, p = state.q * cos + p * sin, p * cos - state.q * sin
        stay = where_rows(state.chains.alive, state.chains.u.double(), state.q)
        return replace(state, q=where_rows(state.broken, stay, q), p=where_rows(state.broken, state.p, p))

    def _kick(self, state: HMCState, grad: Tensor) -> Tensor:
        return clipped(state.step / 2 * grad / state.chains.heat.temperature, self.clip * grad.shape[1] ** 0.5)
