"""Zero-order search about a pivot noise, begun anew where it no longer rises."""

from __future__ import annotations

import math
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
from zmax.core.strategy import Strategy


@dataclass(frozen=True)
class NoisesState:
    """The pivot and its neighbours.

    Attributes:
        u: neighbours to score.
        pivot: the best point since the last restart.
        best: its score, -inf before there is one.
        angle: how far neighbours lie from it.
        failures: rounds in a row that found nothing better.
        rng: the stream of all draws.
    """

    u: Float[Tensor, "n dim"]
    pivot: Float[Tensor, " dim"]
    best: float
    angle: float
    failures: int
    rng: Rng
    space: Space = field(metadata=STATIC)


class Noises(Strategy[NoisesState]):
    r"""Zero-order search over all noises of a sample: the best of n neighbours becomes the next pivot.

    .. math:: u_j = u \cos a + \xi_j \sin a, \qquad \xi_j \sim N(0, I)

    which leaves the prior as it is, so neighbours are as plausible as prior draws. Where no neighbour is better the
    angle shrinks, and grows back where one is; after some such rounds in a row the search begins anew from the best of
    n fresh draws. (The published search keeps its radius and never restarts, and so can stay where it is for good.)

    Args:
        angle: first angle a, in radians.
        shrink: factor of the angle after a round without success; its inverse after one with.
        patience: rounds in a row without success before a restart.
        batch: number n of neighbours.

    Raises:
        InputError: an argument is out of its range.

    Example:
        >>> import zmax
        >>> law = zmax.testing.gaussian_mixture([[-1.0], [1.0]], [[[0.1]], [[0.1]]], [0.5, 0.5])
        >>> S = zmax.testing.quadratic_score([[1.0]], [2.5])
        >>> r = zmax.maximize(law.generator(steps=10), S, zmax.guide.Noises(), budget=200)
        >>> r.best.score > 2.5
        True
    """

    begins = Starts.LAW
    use: ClassVar[str] = "a first local search over the noises of a sampler, few calls"
    reference: ClassVar[str] = (
        "Ma et al., Inference-time scaling for diffusion models beyond scaling denoising steps, 2025, section 3.2, "
        "https://arxiv.org/abs/2501.09732"
    )

    def __init__(self, *, angle: float = 1.0, shrink: float = 0.7, patience: int = 4, batch: int = 4) -> None:
        positive("Noises", angle=angle)
        share("Noises", shrink=shrink)
        whole("Noises", patience=patience, batch=batch)
        self.angle = angle
        self.shrink = shrink
        self.patience = patience
        self.batch = batch

    def init(self, space: Space, rng: torch.Generator) -> NoisesState:
        """Draw the first pivots to choose from."""
        return self._begun(space, rng)

    def begin(self, space: Space, rng: torch.Generator, start: Start) -> NoisesState:
        """Make the best point of a start the pivot, and look at neighbours as far away as its strength says."""
        assert start.score is not None, "scored before it begins"
        angle = min(self.angle, math.asin(start.strength))
        first = NoisesState(start.u[:1], start.u[0], float(start.score[0]), angle, 0, Rng.of(rng), space)
        return self._neighbours(first, rng)

    def ask(self, state: NoisesState) -> Proposal:
        """Return the neighbours."""
        return Proposal(Latents(state.u))

    def tell(self, state: NoisesState, evaluation: Evaluation) -> NoisesState:
        """Move to the best neighbour if it is better; else look closer, and in the end elsewhere."""
        generator = state.rng.generator()
        score = evaluation.score.masked_fill(~evaluation.ok, -math.inf)
        row = int(score.argmax())
        better = float(score[row]) > state.best
        failures = 0 if better else state.failures + 1
        if failures >= self.patience or not (better or math.isfinite(state.best)):
            return self._begun(state.space, generator)
        pivot, best = (state.u[row], float(score[row])) if better else (state.pivot, state.best)
        first = not math.isfinite(state.best)
        angle = state.angle * (1 if first else 1 / self.shrink if better else self.shrink)
        angle = min(angle, self.angle)
        return self._neighbours(replace(state, pivot=pivot, best=best, angle=angle, failures=failures), generator)

    def _neighbours(self, state: NoisesState, generator: torch.Generator) -> NoisesState:
        xi = torch.randn(self.batch, state.space.dim, generator=generator, device="cpu")
        u = state.pivot * math.cos(state.angle) + xi * math.sin(state.angle)
        return replace(state, u=u, rng=Rng.of(generator))

    def _begun(self, space: Space, rng: torch.Generator) -> NoisesState:
        u = space.sample(self.batch, rng)
        return NoisesState(u, u[0], -math.inf, self.angle, 0, Rng.of(rng), space)
