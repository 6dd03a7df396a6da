"""What particle methods share: a weighted cloud that walks the path from noise to data, pass after pass."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from zmax.core.errors import InputError
from zmax.core.proposal import Evaluation, Proposal
from zmax.core.rng import Rng
from zmax.core.space import Space
from zmax.core.start import Starts
from zmax.core.state import ROW, STATIC
from zmax.core.strategy import Gives, Need, Population, Strategy
from zmax.generators.diffusion.path import path_of
from zmax.kit.rows import join, take
from zmax.kit.walk import Grad, Walk, shown
from zmax.kit.weights import effective_size, log_mean, residual, systematic

RESAMPLERS: dict[str, Callable[[Tensor, int, torch.Generator], Tensor]] = {
    "systematic": systematic,
    "residual": residual,
}
BISECTIONS = 40
SELECTION, EAGER = 2.0, 0.9


@dataclass(frozen=True)
class Ends:
    """Ends of finished passes, each with its weight times what its pass found the mean weight to be.

    A pass all of whose particles have died on the way has no ends, and counts as one that found Z = 0.
    """

    u: Float[Tensor, "n dim"] = field(metadata=ROW)
    score: Float[Tensor, " n"] = field(metadata=ROW)
    log_weight: Float[Tensor, " n"] = field(metadata=ROW)
    log_z: Float[Tensor, " passes"] = field(metadata=ROW)

    @classmethod
    def none(cls, dim: int) -> Ends:
        """Return no draws."""
        empty = torch.zeros(0, dtype=torch.float64)
        return cls(torch.zeros(0, dim), empty, empty, empty)

    @classmethod
    def dead(cls, dim: int) -> Ends:
        """Return what a pass that has died leaves."""
        return replace(cls.none(dim), log_z=torch.tensor([-math.inf], dtype=torch.float64))

    def population(self) -> Population | None:
        """Return the draws as one weighted population, None before a pass has come to its end."""
        if not len(self.score):
            return None
        alive = torch.isfinite(self.log_weight)
        if not bool(alive.any()):
            return Population.equal(self.u, self.score)
        log_z = torch.tensor(log_mean(self.log_z), dtype=torch.float64)
        return Population(self.u, self.score, self.log_weight.log_softmax(0), log_z)


@dataclass(frozen=True)
class Cloud:
    """Weighted points on their way; their rows are taken anew when they are resampled.

    Attributes:
        walk: where they are.
        log_weight: logarithm of each weight since the last resampling.
        potential: log potential that each weight already holds, from the last score.
        memory: what the method remembers of a point's earlier scores.
        twist: log ratio of the plain to the steered law of the noise that led here.
        inverse: 1 / temperature in use; rises from pass to pass step where it is not given.
        log_mean: logarithm of the mean weights so far in this pass.
        done: what earlier passes gave.
        rng: the stream of all draws.
    """

    walk: Walk = field(metadata=ROW)
    log_weight: Float[Tensor, " n"] = field(metadata=ROW)
    potential: Float[Tensor, " n"] = field(metadata=ROW)
    memory: Float[Tensor, " n"] = field(metadata=ROW)
    twist: Float[Tensor, " n"] = field(metadata=ROW)
    inverse: float
    log_mean: float
    done: Ends
    rng: Rng
    space: Space = field(metadata=STATIC)


class Particles(Strategy[Cloud]):
    r"""Sequential Monte Carlo along the path, many passes if the budget allows; subclasses give potential and steering.

    A particle at step i has the log potential :math:`V_i`, which ends as :math:`V_N = S(x_0) / T`, and the noise of
    each step may be drawn around a shift :math:`\delta_i`:

    .. math:: \ln w \leftarrow \ln w + V_i - V_{i-1} + \ln N(\xi_i; 0, I) - \ln N(\xi_i; \delta_i, I)

    Whatever the potentials and shifts, the weighted ends follow the law of G tilted by :math:`e^{S/T}`, and the mean
    weight is an unbiased estimate of :math:`Z = E[e^{S/T}]`. Particles are resampled where the effective sample size
    falls below a share of their number.
    """

    needs = frozenset({Need.BETWEEN, Need.PATH})
    gives = frozenset({Gives.DRAWS})
    begins = Starts.PATH

    temperature: float | None
    particles: int
    threshold: float
    resampling: str
    ahead: int = 0

    def init(self, space: Space, rng: torch.Generator) -> Cloud:
        """Draw the initial noises."""
        path_of(space)
        return self._begun(space, rng, Ends.none(space.dim))

    def ask(self, state: Cloud) -> Proposal:
        """Return what the particles are to show."""
        return state.walk.preview(state.space, scored=self.scores(state), grad=self.grad, ahead=self.ahead)

    def tell(self, state: Cloud, evaluation: Evaluation) -> Cloud:
        """Weigh the particles; at the end begin anew, else resample where that is due and take a step."""
        if len(evaluation.score):
            state = self._weighed(state, evaluation)
        if state.walk.at_end(state.space):
            return self._finished(state, evaluation)
        generator = state.rng.generator()
        (x_0, finite), grad = shown(evaluation), evaluation.grad
        alive = evaluation.ok & finite
        state = replace(state, log_weight=state.log_weight.masked_fill(~alive, -math.inf))
        if not bool(torch.isfinite(state.log_weight).any()):
            return self._begun(state.space, generator, join(state.done, Ends.dead(state.space.dim)))
        if len(evaluation.score) and effective_size(state.log_weight) < self._fewest():
            chosen = RESAMPLERS[self.resampling](state.log_weight, self.particles, generator)
            mean = state.log_mean + log_mean(state.log_weight)
            zero = torch.zeros_like(state.log_weight)
            state = replace(take(state, chosen), log_weight=zero, log_mean=mean)
            x_0, grad = x_0[chosen], None if grad is None else grad[chosen]
        return self._stepped(state, torch.nan_to_num(x_0), grad, generator)

    def draws(self, state: Cloud) -> Population | None:
        """Return the ends of all finished passes with their weights."""
        return state.done.population()

    grad: ClassVar[Grad] = ""

    @abstractmethod
    def scores(self, state: Cloud) -> bool:
        """Say whether the score is asked at this step."""

    @abstractmethod
    def potentials(
        self, state: Cloud, score: Float[Tensor, " n"], inverse: float
    ) -> tuple[Float[Tensor, " n"], Float[Tensor, " n"]]:
        """Return the log potential of each particle at 1 / temperature, and what is remembered of its scores."""

    @abstractmethod
    def shift(self, state: Cloud, grad: Float[Tensor, "n ..."] | None) -> Float[Tensor, "n ..."] | None:
        """Return what the next noise is drawn around, None for 0."""

    def _weighed(self, state: Cloud, evaluation: Evaluation) -> Cloud:
        """Multiply the potential's change into the weights."""
        score = evaluation.score.double().masked_fill(~evaluation.ok, -math.inf)
        inverse = self._inverse(state, score)
        potential, memory = self.potentials(state, score, inverse)
        gain = potential - state.potential + state.twist
        return replace(
            state,
            log_weight=torch.nan_to_num(state.log_weight + gain, nan=-math.inf, neginf=-math.inf),
            potential=torch.nan_to_num(potential, neginf=-1e300),
            memory=memory,
            twist=torch.zeros_like(state.twist),
            inverse=inverse,
        )

    def _fewest(self) -> float:
        """Return the effective size below which particles are resampled."""
        return self.particles * (self.threshold if self.temperature is not None else EAGER)

    def _inverse(self, state: Cloud, score: Tensor) -> float:
        """Return 1 / temperature: as given, or the largest that leaves an effective size of the threshold."""
        if self.temperature is not None:
            return 1 / self.temperature
        alive = torch.isfinite(score)
        spread = float(score[alive].std()) if int(alive.sum()) > 1 else 0.0
        if not 0 < spread < math.inf:
            return state.inverse
        low, high = state.inverse, state.inverse + 1e3 / spread
        level, ahead = (self.potentials(state, torch.where(alive, score, 0.0), at)[0] for at in (0.0, 1.0))
        slope = torch.where(alive, ahead - level, 0.0)  # potentials are linear in 1 / temperature
        held = torch.where(alive, state.log_weight + level - state.potential + state.twist, -math.inf)
        least = int(torch.isfinite(held).sum()) * (1 - (1 - self.threshold) * heat(state.walk, state.space, SELECTION))

        def size(inverse: float) -> float:
            return effective_size(held + slope * inverse)

        if size(high) >= least:
            return high
        for _ in range(BISECTIONS):
            middle = (low + high) / 2
            low, high = (middle, high) if size(middle) >= least else (low, middle)
        return low

    def _stepped(self, state: Cloud, x_0: Tensor, grad: Tensor | None, generator: torch.Generator) -> Cloud:
        """Draw the next noise around the shift and take a step."""
        noise = torch.randn(x_0.shape, generator=generator)
        shift = self.shift(state, grad)
        twist = state.twist
        if shift is not None:
            steered = noise + shift.to(noise)
            twist = twist + (noise.double().square() - steered.double().square()).flatten(1).sum(1) / 2
            noise = steered
        return replace(state, walk=state.walk.onward(state.space, x_0, noise), twist=twist, rng=Rng.of(generator))

    def _finished(self, state: Cloud, evaluation: Evaluation) -> Cloud:
        """Keep the ends with their weights, and begin the next pass."""
        mean = state.log_mean + log_mean(state.log_weight)
        ends = Ends(
            state.walk.u,
            evaluation.score.double(),
            state.log_weight + state.log_mean,
            torch.tensor([mean], dtype=torch.float64),
        )
        return self._begun(state.space, state.rng.generator(), join(state.done, ends))

    def _begun(self, space: Space, rng: torch.Generator, done: Ends) -> Cloud:
        n = self.particles
        walk, zero = Walk.begin(space, n, rng), torch.zeros(n, dtype=torch.float64)
        return Cloud(walk, zero, zero, zero + math.nan, zero, 0.0, 0.0, done, Rng.of(rng), space)


def checked_resampling(name: str, resampling: str) -> None:
    """Raise InputError unless there is such a scheme."""
    if resampling not in RESAMPLERS:
        raise InputError(f"{name}(resampling=...)", expected=" or ".join(RESAMPLERS), got=repr(resampling))


def checked_tempering(name: str, tempering: float) -> None:
    """Raise InputError unless it is a power that keeps tempering in [0, 1]."""
    if isinstance(tempering, bool) or not isinstance(tempering, (int, float)) or not 0 <= tempering < 50:
        raise InputError(f"{name}(tempering=...)", expected="a number from 0 to 50", got=repr(tempering))


def heat(walk: Walk, space: Space, tempering: float) -> float:
    r"""Return how much of a preview's score counts: :math:`(\alpha^2 / (\alpha^2 + \sigma^2))^p`, 1 at the end."""
    if not tempering or walk.at_end(space):
        return 1.0
    alpha, sigma = path_of(space).levels(walk.step)
    return float((alpha**2 / (alpha**2 + sigma**2)) ** tempering)
