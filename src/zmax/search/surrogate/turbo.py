"""Bayesian optimisation in a trust region on the prior's shell, for scores that cost seconds to minutes each."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from zmax.core.checks import positive, whole
from zmax.core.proposal import Evaluation, Latents, Proposal
from zmax.core.rng import Rng
from zmax.core.space import Space
from zmax.core.start import Start, Starts
from zmax.core.state import STATIC
from zmax.core.strategy import Strategy
from zmax.search.surrogate.matern import Posterior, chosen
from zmax.search.surrogate.region import Frame, Region, bordered, maximisers
from zmax.search.surrogate.trust import beside, inner

LENGTHSCALES = tuple(2 ** (k / 2) for k in range(-2, 7))
NOISES = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.03, 0.1, 0.3, 1.0, 3.0)
STALE = 1.15  # times as many points as at the last choice of length-scale and noise
FIRST = 20  # prior draws before there is a model
KNOWN = 32  # points of a start, the best: of 300 on avatars these lead twice as far in 100 calls as all do
SUCCESSES, FAILURES, FACTOR = 2, 3, 1.5  # rounds in a row after which the radius is changed, and by what
WIDEST, SPENT = 1.6, 0.05
WORTHWHILE = 1e-3  # gain that counts as success, in standard deviations of the scores kept
FLOOR = 3.0  # scores lower than this many interquartile ranges below the lower quartile tell no more than that
SAME = 1e-14


@dataclass(frozen=True)
class TurboState:
    """All that was told, the process's two numbers, and the trust region; the process follows from them.

    Attributes:
        points: points kept, oldest first.
        score: their scores.
        gram: their inner products divided by d.
        lengthscale: of the kernel, in units of sqrt(d).
        noise: variance of a score given its point, relative to that of the process.
        told: number of scores told, failures left out.
        fitted: how many they were when these two were chosen, 0 for never.
        radius: of the trust region, in units of sqrt(d).
        successes: rounds in a row that found a better point.
        failures: rounds in a row that did not.
        directions: orthogonal directions that span the subspace searched, of norm sqrt(d / k); none for all of it.
        u: the proposals.
        rng: the stream that draws come from.
    """

    points: Float[Tensor, "kept dim"]
    score: Float[Tensor, " kept"]
    gram: Float[Tensor, "kept kept"]
    lengthscale: float
    noise: float
    told: int
    fitted: int
    radius: float
    successes: int
    failures: int
    directions: Float[Tensor, "k dim"]
    u: Float[Tensor, "n dim"]
    rng: Rng
    space: Space = field(metadata=STATIC)


class Turbo(Strategy[TurboState]):
    r"""Trust-region Bayesian optimisation: climb the upper confidence bound of a Gaussian process of all scores.

    The process has the kernel :math:`k(|u - v|^2 / d)`, Matérn-5/2, with length-scale and noise of largest posterior
    density under a prior that grows with :math:`\sqrt d`. Each of the b points of a round maximises

    .. math:: \mu(u) + \beta\, \sigma_j(u), \qquad |u - c| \le \rho \sqrt d, \quad u \text{ typical},

    where c is the point kept with the best posterior mean, which does not mistake a lucky draw for a good one, and
    :math:`\sigma_j` knows of the j points of the round already chosen. :math:`\rho` grows after rounds that find a
    better point and shrinks after rounds that do not; a spent region is opened again to its first size.

    All is computed from inner products of points, so that apart from n d products a call, dimension costs nothing: a
    maximiser lies in the span of the points and of one random direction each.

    Args:
        batch: points a round, scored together. The fewer, the fewer calls are needed.
        confidence: :math:`\beta`.
        radius: first radius :math:`\rho` of the trust region, in units of :math:`\sqrt d`.
        memory: points kept; beyond, those farthest from the best are forgotten. Bounds the time a call takes.
        subspace: number of random orthogonal directions to search in, None for all.

    Raises:
        InputError: an argument is not a positive number, or fewer than 32 points are to be kept.

    Example:
        >>> from zmax.core.rng import stream
        >>> from zmax.core.space import Space
        >>> method = Turbo()
        >>> method.ask(method.init(Space.of((64,)), stream(0))).u.shape
        torch.Size([20, 64])
    """

    begins = Starts.MODEL
    use: ClassVar[str] = "up to a few thousand calls of a costly black-box score"
    reference: ClassVar[str] = (
        "Eriksson, Pearce, Gardner, Turner and Poloczek, Scalable global optimization via local Bayesian optimization, "
        "NeurIPS 2019, section 2, https://arxiv.org/abs/1910.01739; prior: Hvarfner, Hellsten and Nardi, ICML 2024, "
        "https://arxiv.org/abs/2402.02229"
    )

    def __init__(
        self,
        *,
        batch: int = 5,
        confidence: float = 2.0,
        radius: float = 0.8,
        memory: int = 768,
        subspace: int | None = None,
    ) -> None:
        positive("Turbo", confidence=confidence, radius=radius)
        whole("Turbo", batch=batch, subspace=subspace)
        whole("Turbo", least=32, memory=memory)
        self.batch = batch
        self.confidence = confidence
        self.radius = radius
        self.memory = memory
        self.subspace = subspace

    def init(self, space: Space, rng: torch.Generator) -> TurboState:
        """Draw the first round from the prior."""
        none, empty = torch.zeros(0, space.dim), torch.zeros(0, dtype=torch.float64)
        start, directions = Rng.of(rng), none
        if self.subspace is not None and self.subspace < space.dim:
            drawn, start = start.normal(space.dim, self.subspace)
            directions = torch.linalg.qr(drawn)[0].T * (space.dim / self.subspace) ** 0.5
        gram = empty.new_zeros(0, 0)
        state = TurboState(none, empty, gram, 1.0, NOISES[2], 0, 0, self.radius, 0, 0, directions, none, start, space)
        return _from_prior(state, max(FIRST, self.batch))

    def begin(self, space: Space, rng: torch.Generator, start: Start) -> TurboState:
        """Condition the process on the best of a start; where these are few, draw the others it wants around them."""
        assert start.score is not None, "scored before it begins"
        u, score = start.u[:KNOWN], start.score[:KNOWN].double()
        state, missing = self.init(space, rng), FIRST - len(u)
        if missing > 0:
            return _from_prior(_told(state, u, score), max(missing, self.batch))
        ok = torch.ones(len(u), dtype=torch.bool)
        return self.tell(replace(state, u=u), Evaluation(score, ok, None, range(len(u))))

    def ask(self, state: TurboState) -> Proposal:
        """Return the round's points."""
        return Proposal(Latents(state.u))

    def tell(self, state: TurboState, evaluation: Evaluation) -> TurboState:
        """Condition the process on the points and choose the next; failed rows are forgotten."""
        ok = evaluation.ok
        state = _told(state, state.u[ok], evaluation.score.double()[ok])
        y = standardised(state.score)
        if not bool(y.any()):
            return _from_prior(state, self.batch)
        norm = state.gram.diagonal()
        square = (norm[:, None] + norm - 2 * state.gram).clamp_min(0.0)
        if state.told >= STALE * state.fitted:
            near = LENGTHSCALES if state.fitted == 0 else beside(LENGTHSCALES, state.lengthscale)
            lengthscale, noise = chosen(square, y, near, NOISES)
            state = replace(state, lengthscale=lengthscale, noise=noise, fitted=state.told)
        model = Posterior.given(square, y, state.lengthscale, state.noise)
        smoothed = y - (model.noise * model.weights)
        centre = int(smoothed.argmax())
        state = self._resized(state, smoothed, len(y) - int(ok.sum()))
        z, rng = _normal(state, self.batch)
        frame, n, d = Frame.of(state.points, state.gram, z), len(y), state.space.dim
        low, high = (r / d**0.5 for r in state.space.shell())
        region = Region(frame.rows[centre], state.radius, low, high)
        x = maximisers(model, region, frame.rows[:n], frame.rows[n:], self.confidence)
        u = _projected(frame.plain(x, torch.cat([state.points, z])), state.directions)
        return _pruned(replace(state, u=state.space.retract(u), rng=rng), square[centre], self.memory)

    def _resized(self, state: TurboState, smoothed: Tensor, old: int) -> TurboState:
        """Change the radius after enough rounds of success or failure in a row."""
        if old == 0 or old == len(smoothed):
            return state
        better = float(smoothed[old:].max()) > float(smoothed[:old].max()) + WORTHWHILE
        successes, failures = (state.successes + 1, 0) if better else (0, state.failures + 1)
        radius = state.radius
        if successes >= SUCCESSES:
            radius, successes = min(radius * FACTOR, WIDEST), 0
        if failures >= FAILURES:
            radius, failures = radius / FACTOR, 0
        radius = radius if radius > SPENT else self.radius
        return replace(state, radius=radius, successes=successes, failures=failures)


def standardised(score: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """Return scores with mean 0 and variance 1, those far below the rest cut off; zeros if all are the same."""
    score = score / score.abs().max().clamp_min(1e-300) if len(score) else score
    if len(score) < 2 or float(score.max() - score.min()) < SAME:
        return torch.zeros_like(score)
    low, high = score.quantile(torch.tensor([0.25, 0.75], dtype=score.dtype)).tolist()
    score = score.clamp_min(low - FLOOR * (high - low)) if high > low else score
    return (score - score.mean()) / score.std(correction=0)


def _normal(state: TurboState, n: int) -> tuple[Float[Tensor, "n dim"], Rng]:
    """Draw from the prior, or from its like in the subspace."""
    k = len(state.directions)
    z, rng = state.rng.normal(n, k or state.space.dim)
    return z @ state.directions if k else z, rng


def _projected(u: Float[Tensor, "n dim"], directions: Float[Tensor, "k dim"]) -> Float[Tensor, "n dim"]:
    """Return the nearest points of the subspace, which sums of many points in single precision may leave."""
    return u @ directions.T @ directions * (len(directions) / u.shape[1]) if len(directions) else u


def _from_prior(state: TurboState, n: int) -> TurboState:
    z, rng = _normal(state, n)
    u = state.space.drawn(z)
    return replace(state, u=state.space.retract(u) if len(state.directions) else u, rng=rng)


def _told(state: TurboState, u: Tensor, score: Tensor) -> TurboState:
    points = torch.cat([state.points, u])
    return replace(
        state,
        points=points,
        score=torch.cat([state.score, score]),
        told=state.told + len(score),
        gram=bordered(state.gram, inner(u, points)),
    )


def _pruned(state: TurboState, square: Float[Tensor, " n"], most: int) -> TurboState:
    """Forget all but the points nearest to the centre, by their squared distances from it."""
    if len(square) <= most:
        return state
    keep = square.argsort(stable=True)[:most].sort().values
    return replace(state, points=state.points[keep], score=state.score[keep], gram=state.gram[keep][:, keep])
