"""Evolution on the prior's sphere: great circles instead of lines, and an angle that decays by a fixed law."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from zmax.core.checks import positive, whole
from zmax.core.priors import EDGE
from zmax.core.proposal import Evaluation, Latents, Proposal
from zmax.core.rng import Rng
from zmax.core.space import Space
from zmax.core.start import Start, Starts
from zmax.core.state import STATIC
from zmax.core.strategy import Strategy
from zmax.kit.spheres import has_sphere, on_spheres
from zmax.kit.stalling import Rounds
from zmax.search.evolution.separable import by_row
from zmax.search.evolution.snes import utilities

POWER = 0.6
LAST = 1e-3  # share of the first angle at which it starts again from the prior
TINY = 1e-30


@dataclass(frozen=True)
class SphereCMAState:
    """Where the search is, and its draws.

    Attributes:
        mean: centre, every block of k coordinates at norm sqrt(k).
        round: rounds told since the last restart.
        rounds: what they scored.
        z: draws from N(0, I).
        u: the points they lead to, and from the second round on the centre as well.
        rng: the stream that draws come from.
    """

    mean: Float[Tensor, " dim"]
    round: int
    z: Float[Tensor, "drawn dim"]
    u: Float[Tensor, "n dim"]
    rounds: Rounds
    rng: Rng
    space: Space = field(metadata=STATIC)


class SphereCMA(Strategy[SphereCMAState]):
    r"""Evolution on the sphere :math:`|u| = \sqrt d` along great circles, by angles that shrink.

    With draws :math:`z_k \sim N(0, I)`, their parts :math:`t_k` tangent at the centre m, the great circle
    :math:`\exp_m(t)` that turns m by the angle :math:`|t| / \sqrt d`, and rank weights w that sum to 0,

    .. math:: u_k = \exp_m(\theta_t\, t_k), \qquad m \leftarrow \exp_m\Bigl(\eta\, \theta_t \sum_k w_k t_k\Bigr), \qquad
              \theta_t = \theta\, (1 + t / T)^{-3/5}

    Norms are exact, so no point is ever retracted; blocks of fewer than ten coordinates have no sphere and move on
    straight lines. The published method also adapts a covariance; a few thousand calls
    are too few to gain by it (a learnt direction was tried on training problems and changed nothing), so it stays
    isotropic here and linear in d. The first round is drawn from the prior, each block moved to its sphere; every later
    round also scores m. With several blocks each has a sphere of its own.

    Args:
        angle: first angle :math:`\theta`, in radians.
        decay: rounds T after which the angle has fallen to two thirds.
        rate: :math:`\eta`, how far the centre follows the ranked draws.
        population: points a round, the centre included.

    Raises:
        InputError: an argument is not a positive number, or the population is below 5.

    Example:
        >>> from zmax.core.rng import stream
        >>> from zmax.core.space import Space
        >>> method = SphereCMA()
        >>> u = method.ask(method.init(Space.of((400,)), stream(0))).u
        >>> {round(float(norm), 3) for norm in u.norm(dim=1)}
        {20.0}
    """

    begins = Starts.LAW
    use: ClassVar[str] = "GAN codes at any dimension, hundreds to thousands of calls, exactly typical norms"
    reference: ClassVar[str] = (
        "Wang and Ponce, High-performance evolutionary algorithms for online neuron control, GECCO 2022, "
        "https://arxiv.org/abs/2204.06765"
    )

    def __init__(self, *, angle: float = 0.7, decay: float = 2.0, rate: float = 2.0, population: int = 16) -> None:
        positive("SphereCMA", angle=angle, decay=decay, rate=rate)
        whole("SphereCMA", least=5, population=population)
        self.angle = angle
        self.decay = decay
        self.rate = rate
        self.population = population

    def init(self, space: Space, rng: torch.Generator) -> SphereCMAState:
        """Draw the first round from the prior, moved to the sphere."""
        return self._start(space, Rng.of(rng))

    def begin(self, space: Space, rng: torch.Generator, start: Start) -> SphereCMAState:
        """Centre on the best point of a start, moved to the sphere, at the round whose angle has that strength."""
        round_ = 1 + round(self.decay * (start.strength ** (-1 / POWER) - 1))
        state, mean = self._start(space, Rng.of(rng)), on_spheres(space, start.u[:1])[0]
        return self._draw(replace(state, mean=mean, round=round_))

    def ask(self, state: SphereCMAState) -> Proposal:
        """Return the round's points."""
        return Proposal(Latents(state.u))

    def tell(self, state: SphereCMAState, evaluation: Evaluation) -> SphereCMAState:
        """Turn the centre towards the better points; failed rows have no weight, a round of failures is redrawn."""
        n = int(evaluation.ok[: len(state.z)].sum())
        if n == 0:
            return self._draw(state)
        z, w = by_row(state.z, evaluation, utilities(n))
        angle, rounds = self._angle(state), state.rounds.told(evaluation.score[evaluation.ok])
        if angle < LAST * self.angle or rounds.stalled(len(state.mean), len(state.z)):
            return self._start(state.space, state.rng)
        if state.round == 0:
            mean = on_spheres(state.space, ((w + 1 / n) @ z)[None])[0]
        else:
            mean = turned(state.space, state.mean, (w @ z)[None], self.rate * angle)[0]
            mean = on_spheres(state.space, mean[None])[0]  # rounding must not add up
        return self._draw(replace(state, mean=mean, rounds=rounds, round=state.round + 1))

    def _angle(self, state: SphereCMAState) -> float:
        return self.angle * (1 + max(state.round - 1, 0) / self.decay) ** -POWER

    def _start(self, space: Space, rng: Rng) -> SphereCMAState:
        zero = torch.zeros(space.dim)
        none = zero.new_empty(0, space.dim)
        return self._draw(SphereCMAState(zero, 0, none, none, Rounds.none(), rng, space))

    def _draw(self, state: SphereCMAState) -> SphereCMAState:
        z, rng = state.rng.normal(self.population - (state.round > 0), state.space.dim)
        if state.round == 0:
            return replace(state, z=z, u=on_spheres(state.space, z), rng=rng)
        u = z.new_empty(self.population, state.space.dim)
        u[:-1] = turned(state.space, state.mean, z, self._angle(state))
        u[-1] = state.mean
        return replace(state, z=z, u=u, rng=rng)


def turned(
    space: Space, centre: Float[Tensor, " dim"], z: Float[Tensor, "n dim"], angle: float
) -> Float[Tensor, "n dim"]:
    """Follow great circles from the centre along the tangent parts of z, for `angle` times their lengths, by block."""
    rows = zip(space.blocks, space.split(centre[None]), space.split(z), strict=True)
    parts = [
        _turned(m[0], part, angle) if has_sphere(block) else block.prior.retract(m + angle * part, EDGE)
        for block, m, part in rows
    ]
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)


def _turned(m: Tensor, z: Tensor, angle: float) -> Tensor:
    radius = math.sqrt(len(m))
    along = (z @ m) / radius**2
    length = (torch.linalg.vector_norm(z, dim=1).square() - (along * radius).square()).clamp_min(TINY).sqrt()
    turn = angle * length / radius
    reach = radius * turn.sin() / length
    return torch.addcmul((turn.cos() - along * reach)[:, None] * m, reach[:, None], z)
