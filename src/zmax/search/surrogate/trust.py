"""Trust-region ascent of a kernel model of all recent scores, in dual form: cheap at any dimension."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import ClassVar, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from zmax.core.checks import positive, whole
from zmax.core.proposal import Evaluation, Latents, Proposal
from zmax.core.rng import Rng
from zmax.core.space import Space
from zmax.core.state import STATIC
from zmax.core.strategy import Strategy

LENGTHS = (0.25, 0.5, 1.0, 2.0, 4.0)
NUGGETS = (1e-4, 1e-2, 1e-1, 1.0)
OFTEN, SELDOM = 100, 8  # up to so many points the whole grid is tried each round, then its nearest every so many
NOISY = 0.1  # from this nugget on, the model says which point is best, not the scores
GROW, SHRINK, SPENT = 1.2, 0.85, 2e-3
CLIMB, FIRST = 25, 0.2  # steps up the model a round, and the first of them
FLOOR = 5.0  # scores lower than this many (best - median) below the median tell no more than that
COLUMNS = 1024
NUMBERS = 2**23  # most coordinates of past points to keep


class Model(NamedTuple):
    """Posterior mean sum_i a_i k(u_i, .) of a Gaussian process on n points."""

    evidence: float
    length: float
    nugget: float
    a: Float[Tensor, " n"]
    fitted: Float[Tensor, " n"]


@dataclass(frozen=True)
class TrustState:
    """The points kept, their scores and inner products / d, the kernel, and the trust region.

    Attributes:
        points: points kept, oldest first.
        score: their scores.
        gram: their inner products divided by d.
        length: length scale of the kernel, in units of sqrt(d).
        nugget: variance of noise over variance of signal.
        radius: of the trust region, in units of sqrt(d).
        round: rounds since then.
        u: the proposals.
        rng: the stream that draws come from.
    """

    points: Float[Tensor, "kept dim"]
    score: Float[Tensor, " kept"]
    gram: Float[Tensor, "kept kept"]
    length: float
    nugget: float
    radius: float
    round: int
    u: Float[Tensor, "n dim"]
    rng: Rng
    space: Space = field(metadata=STATIC)


class Trust(Strategy[TrustState]):
    r"""Climb a Gaussian-process model of the last points inside a trust region on the prior's shell.

    With the points kept, :math:`k(u, v) = \exp(-|u - v|^2 / (2 \ell^2 d))` and standardised scores y, the model is

    .. math:: \hat S(u) = \textstyle\sum_i a_i\, k(u_i, u), \qquad a = (K + \lambda I)^{-1} y,

    with :math:`\ell, \lambda` of largest marginal likelihood on a small grid. Its maximiser m within distance
    :math:`\rho \sqrt d` of the point it thinks best lies in the span of the points, so that it is found by inner
    products alone, at a cost independent of d. The next round is :math:`R(m)` and
    :math:`R(m + s\, \rho\, z_k),\ z_k \sim N(0, I)`, R being the retraction to the typical shell: it tests the step and
    tells the model about directions it has not seen. :math:`\rho` grows when the best point, by score or where that is
    noisy by the model, is a new one, and shrinks when not; a spent region starts again from the prior.

    Args:
        population: points a round.
        spread: standard deviation s of the proposals around m, in units of the trust radius.
        radius: first radius :math:`\rho` of the trust region, in units of :math:`\sqrt d`.
        memory: points kept (and at most 2^23 coordinates of them): the better half by score, the rest the latest.

    Raises:
        InputError: an argument is not a positive number, or there are fewer than 2 points a round or 16 kept.

    Example:
        >>> from zmax.core.rng import stream
        >>> from zmax.core.space import Space
        >>> method = Trust()
        >>> method.ask(method.init(Space.of((512,)), stream(0))).u.shape
        torch.Size([8, 512])
    """

    use: ClassVar[str] = "a few hundred to a few thousand calls, black-box score, when a few ms a call do not matter"
    reference: ClassVar[str] = (
        "Regis and Shoemaker, A stochastic radial basis function method for the global optimization of expensive "
        "functions, INFORMS J. Computing 19(4), 2007; trust region as Eriksson et al., TuRBO, NeurIPS 2019, "
        "https://arxiv.org/abs/1910.01739"
    )

    def __init__(self, *, population: int = 8, spread: float = 0.3, radius: float = 1.0, memory: int = 512) -> None:
        positive("Trust", spread=spread, radius=radius)
        whole("Trust", least=2, population=population)
        whole("Trust", least=16, memory=memory)
        self.population = population
        self.spread = spread
        self.radius = radius
        self.memory = memory

    def init(self, space: Space, rng: torch.Generator) -> TrustState:
        """Draw the first round from the prior."""
        return self._start(space, Rng.of(rng))

    def ask(self, state: TrustState) -> Proposal:
        """Return the round's points."""
        return Proposal(Latents(state.u))

    def tell(self, state: TrustState, evaluation: Evaluation) -> TrustState:
        """Add the points to the model and climb it; failed rows are forgotten."""
        ok = evaluation.ok
        state = self._remember(state, state.u[ok], evaluation.score.double()[ok])
        if len(state.score) < 2:
            return self._draw(state, None)
        model = self._fitted(state)
        start = int(model.fitted.argmax())
        seen = state.score if model.nugget < NOISY else model.fitted
        better = int(seen.argmax()) >= len(state.score) - int(ok.sum())
        radius = min(self.radius, state.radius * GROW) if better else state.radius * SHRINK
        if radius < SPENT:
            return self._start(state.space, state.rng)
        state = replace(state, radius=radius, length=model.length, nugget=model.nugget, round=state.round + 1)
        return self._draw(state, climbed(state, model, start).float() @ state.points)

    def _start(self, space: Space, rng: Rng) -> TrustState:
        none, empty = torch.zeros(0, space.dim), torch.zeros(0, dtype=torch.float64)
        gram = torch.zeros(0, 0, dtype=torch.float64)
        state = TrustState(none, empty, gram, LENGTHS[2], NUGGETS[0], self.radius, 0, none, rng, space)
        return self._draw(state, None)

    def _draw(self, state: TrustState, centre: Tensor | None) -> TrustState:
        z, rng = state.rng.normal(self.population, state.space.dim)
        if centre is not None:
            z[0] = 0
            z = torch.add(centre.float(), z, alpha=self.spread * state.radius)
        return replace(state, u=state.space.retract(z), rng=rng)

    def _remember(self, state: TrustState, u: Tensor, score: Tensor) -> TrustState:
        """Append points; beyond what may be kept, drop those that are neither good nor recent."""
        points, every = torch.cat([state.points, u]), torch.cat([state.score, score])
        fresh = inner(u, points)
        old = len(state.score)
        gram = torch.cat([torch.cat([state.gram, fresh[:, :old].T], dim=1), fresh])
        most = max(4 * self.population, min(self.memory, NUMBERS // state.space.dim))
        if len(every) > most:
            rank = every.argsort(descending=True, stable=True).argsort()
            rank[-(most // 2) :] = -1
            keep = rank.argsort(stable=True)[:most].sort().values
            points, every, gram = points[keep], every[keep], gram[keep][:, keep]
        return replace(state, points=points, score=every, gram=gram)

    def _fitted(self, state: TrustState) -> Model:
        """Return the model of largest evidence among the kernels that it is time to try."""
        lengths: tuple[float, ...] = (state.length,)
        nuggets: tuple[float, ...] = (state.nugget,)
        if len(state.score) <= OFTEN:
            lengths, nuggets = LENGTHS, NUGGETS
        elif state.round % SELDOM == 0:
            lengths, nuggets = beside(LENGTHS, state.length), beside(NUGGETS, state.nugget)
        y = standardised(state.score)
        models = (fitted(state.gram, y, length, nugget) for length in lengths for nugget in nuggets)
        return max(models, key=lambda model: model.evidence)


def beside(grid: tuple[float, ...], value: float) -> tuple[float, ...]:
    """Return a value of the grid and its neighbours."""
    i = grid.index(value)
    return grid[max(i - 1, 0) : i + 2]


def inner(u: Float[Tensor, "n dim"], points: Float[Tensor, "kept dim"]) -> Float[Tensor, "n kept"]:
    """Return inner products / d in double precision, a few columns at a time to stay within the cache."""
    pairs = zip(u.split(COLUMNS, dim=1), points.split(COLUMNS, dim=1), strict=True)
    return torch.stack([a.double() @ b.double().T for a, b in pairs]).sum(0) / u.shape[1]


def standardised(score: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """Return scores with mean 0 and variance 1, the lowest of them cut off; zeros if all are the same."""
    middle, top = score.median(), score.max()
    score = score.clamp_min(float(middle - FLOOR * (top - middle)))
    least = 1e-12 * float(score.abs().max())
    score = score - score.mean()
    scale = float(score.square().mean().sqrt())
    return score / scale if scale > least else torch.zeros_like(score)


def kernel(gram: Tensor, length: float) -> Tensor:
    """Return the kernel matrix from inner products / d."""
    half = gram.diagonal() / 2
    return torch.exp((gram - half[:, None] - half).clamp_max(0) / length**2)


def fitted(gram: Tensor, y: Tensor, length: float, nugget: float) -> Model:
    """Return the posterior mean of one kernel and its log evidence, prior mean and scale at their best."""
    n = len(y)
    k = kernel(gram, length)
    factor, broken = torch.linalg.cholesky_ex(k + nugget * torch.eye(n, dtype=k.dtype))
    if int(broken):
        return Model(-math.inf, length, nugget, torch.zeros_like(y), torch.zeros_like(y))
    solved = torch.cholesky_solve(torch.stack([y, torch.ones_like(y)], dim=1), factor)
    mean = (y @ solved[:, 1]) / solved[:, 1].sum()
    a = solved[:, 0] - mean * solved[:, 1]
    scale = float((y - mean) @ a) / n
    evidence = -0.5 * n * math.log(max(scale, 1e-30)) - float(factor.diagonal().log().sum())
    return Model(evidence, length, nugget, a, k @ a)


def climbed(state: TrustState, model: Model, first: int) -> Float[Tensor, " kept"]:
    """Return the coefficients, on the points, of the model's maximiser within the trust region around the first.

    Gradient ascent with a step that grows by 1.3 on success and halves on failure. A point m = sum_i c_i u_i is known
    by c, by its inner products with the points and by its norm, so a step costs one product with the Gram matrix.
    """
    gram, d = state.gram, state.space.dim
    low, high = (r / d**0.5 for r in state.space.shell())
    half = gram.diagonal() / 2
    start = torch.zeros_like(model.a)
    start[first] = 1.0

    def value(c: Tensor) -> tuple[float, Tensor, Tensor]:
        product = gram @ c
        pull = model.a * torch.exp((product - half - (c @ product) / 2) / model.length**2)
        return float(pull.sum()), pull - pull.sum() * c, product

    def inside(c: Tensor) -> Tensor:
        step = c - start
        length = math.sqrt(max(float(step @ (gram @ step)), 1e-30))
        c = start + step * min(1.0, state.radius / length)
        norm = math.sqrt(max(float(c @ (gram @ c)), 1e-30))
        return c * (min(max(norm, low), high) / norm)

    c, step = inside(start), FIRST
    now, slope, product = value(c)
    for _ in range(CLIMB):
        slope = slope - c * float(slope @ product) / max(float(c @ product), 1e-30)
        length = math.sqrt(max(float(slope @ (gram @ slope)), 1e-300))
        tried = inside(c + slope * (step / length))
        then, gradient, along = value(tried)
        if then > now:
            c, now, slope, product, step = tried, then, gradient, along, 1.3 * step
        else:
            step /= 2
    return c
