"""Soft value-based decoding: every step of a particle is chosen among children by what their previews score."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from zmax.core.checks import positive, whole
from zmax.core.proposal import Evaluation, Proposal
from zmax.core.rng import Rng
from zmax.core.space import Space
from zmax.core.start import Starts
from zmax.core.state import STATIC
from zmax.core.strategy import Gives, Need, Population, Strategy
from zmax.generators.diffusion.path import path_of
from zmax.guide.particles.smc import Ends, checked_tempering, heat
from zmax.kit.rows import join, take
from zmax.kit.walk import Walk, shown

DEAD = -1e300  # log potential of a child without a finite score


@dataclass(frozen=True)
class Families:
    """Children of all particles, those of one particle next to each other.

    Attributes:
        walk: where the children are.
        log_weight: logarithm of each particle's weight.
        potential: log potential that each weight already holds, the parent's.
        done: ends of earlier passes.
        rng: the stream of all draws.
    """

    walk: Walk
    log_weight: Float[Tensor, " particles"]
    potential: Float[Tensor, " particles"]
    done: Ends
    rng: Rng
    space: Space = field(metadata=STATIC)


class SVDD(Strategy[Families]):
    r"""Soft value-based decoding: particles of M children each, of which one lives on; particles stay independent.

    With the log potential :math:`V = \lambda_i S(E[x_0 | x_i]) / T` of a preview, a particle goes on as child j with
    probability and weight

    .. math:: p_j = \frac{e^{V_j}}{\sum_k e^{V_k}}, \qquad \ln w \leftarrow \ln w + \ln \frac1M \sum_k e^{V_k} - V,

    V being the parent's. The weighted ends follow the law of G tilted by :math:`e^{S/T}`, and the mean weight is an
    unbiased estimate of :math:`Z = E[e^{S/T}]`, which the paper leaves out. The children at the end are all kept, each
    with its share. Without a temperature the best child lives on. A child's preview is also its next step, so a step
    costs one network evaluation and one score call a child.

    Args:
        temperature: T of the law, in units of the score. None takes the best child, to maximise.
        particles: number of particles.
        children: number M of children of each.
        tempering: power p of :math:`\lambda_i = \bigl(\alpha^2 / (\alpha^2 + \sigma^2)\bigr)^p`, which multiplies
            the scores of previews, where there is a temperature; 0 is the paper's.

    Raises:
        InputError: an argument is out of its range.

    Example:
        >>> import zmax
        >>> law = zmax.testing.gaussian_mixture([[-1.0], [1.0]], [[[0.1]], [[0.1]]], [0.5, 0.5])
        >>> S = zmax.testing.quadratic_score([[0.0]], [1.0])
        >>> method = zmax.guide.SVDD(temperature=1.0, particles=64, children=4)
        >>> r = zmax.sample(law.generator(steps=20), S, 1.0, method, budget=10400)
        >>> abs(float(r.population.log_z) - law.tilt(S).log_z) < 0.2
        True
    """

    needs = frozenset({Need.BETWEEN, Need.PATH})
    gives = frozenset({Gives.DRAWS})
    begins = Starts.PATH
    use: ClassVar[str] = "a few very good samples of a diffusion model under a black-box score"
    reference: ClassVar[str] = (
        "Li et al., Derivative-free guidance in continuous and discrete diffusion models with soft value-based "
        "decoding, 2024, algorithm 1, https://arxiv.org/abs/2408.08252"
    )

    def __init__(
        self, *, temperature: float | None = None, particles: int = 2, children: int = 8, tempering: float = 2.0
    ) -> None:
        positive("SVDD", temperature=temperature)
        whole("SVDD", particles=particles)
        whole("SVDD", least=2, children=children)
        checked_tempering("SVDD", tempering)
        self.temperature = temperature
        self.particles = particles
        self.children = children
        self.tempering = tempering

    def init(self, space: Space, rng: torch.Generator) -> Families:
        """Draw the initial noises, M a particle."""
        path_of(space)
        return self._begun(space, rng, Ends.none(space.dim))

    def ask(self, state: Families) -> Proposal:
        """Return the children to preview."""
        return state.walk.preview(state.space)

    def tell(self, state: Families, evaluation: Evaluation) -> Families:
        """Choose a child of every particle and let it branch; at the end keep all children and begin anew."""
        generator = state.rng.generator()
        x_0, finite = shown(evaluation)
        alive = evaluation.ok & finite
        score = evaluation.score.double().masked_fill(~alive, -math.inf)
        if state.walk.at_end(state.space):
            return self._begun(state.space, generator, self._kept(state, score))
        log_weight = self._weights(state, score)
        mean = log_weight.logsumexp(1) - math.log(self.children)
        if self.temperature is not None and not bool(torch.isfinite(mean).any()):
            return self._begun(state.space, generator, join(state.done, Ends.dead(state.space.dim)))
        chosen = self._chosen(score, log_weight, generator)
        value = self._potential(state, score)[chosen].clamp_min(DEAD)
        branches = chosen.repeat_interleave(self.children)
        kept = torch.nan_to_num(x_0[branches])
        noise = torch.randn(kept.shape, generator=generator)
        walk = take(state.walk, branches).onward(state.space, kept, noise)
        return replace(state, walk=walk, log_weight=mean, potential=value, rng=Rng.of(generator))

    def draws(self, state: Families) -> Population | None:
        """Return the ends of all finished passes with their weights; None without a temperature."""
        return None if self.temperature is None else state.done.population()

    def _potential(self, state: Families, score: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        warmth = heat(state.walk, state.space, self.tempering)
        value = score if warmth == 1 else torch.nan_to_num(warmth * score, nan=-math.inf, neginf=-math.inf)
        return value / (self.temperature or 1.0)

    def _weights(self, state: Families, score: Float[Tensor, " n"]) -> Float[Tensor, "particles children"]:
        """Return the log weight each child would have if it were its parent's only one."""
        value = self._potential(state, score).reshape(self.particles, self.children)
        log_weight = state.log_weight[:, None] + value - state.potential[:, None]
        return torch.nan_to_num(log_weight, nan=-math.inf, neginf=-math.inf)

    def _chosen(self, score: Tensor, log_weight: Tensor, generator: torch.Generator) -> Tensor:
        """Return the row of each particle's child that lives on."""
        first = torch.arange(self.particles) * self.children
        if self.temperature is None:
            return first + score.reshape(self.particles, self.children).argmax(1)
        some = torch.isfinite(log_weight).any(1, keepdim=True)
        share = torch.where(some, log_weight, 0.0).softmax(1)
        return first + torch.multinomial(share, 1, generator=generator)[:, 0]

    def _kept(self, state: Families, score: Float[Tensor, " n"]) -> Ends:
        """Return the ends so far, with those of this pass."""
        if self.temperature is None:
            return state.done
        log_weight = self._weights(state, score).flatten()
        mean = log_weight.logsumexp(0, keepdim=True) - math.log(len(log_weight))
        return join(state.done, Ends(state.walk.u, score, log_weight, mean))

    def _begun(self, space: Space, rng: torch.Generator, done: Ends) -> Families:
        walk = Walk.begin(space, self.particles * self.children, rng)
        zero = torch.zeros(self.particles, dtype=torch.float64)
        return Families(walk, zero, zero, done, Rng.of(rng), space)
