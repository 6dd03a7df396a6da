"""Bayesian optimisation of categories, alone or beside continuous latents, in a trust region by Hamming distance."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from zmax.core.checks import categories, not_negative, whole
from zmax.core.proposal import Evaluation, Latents, Proposal
from zmax.core.rng import Rng
from zmax.core.space import Space
from zmax.core.start import Start, Starts
from zmax.core.state import STATIC
from zmax.core.strategy import Need, Strategy
from zmax.search.surrogate.hamming import Ball, Bound, Mixed
from zmax.search.surrogate.matern import Posterior, chosen, evidence
from zmax.search.surrogate.trust import beside
from zmax.search.surrogate.turbo import NOISES, STALE

LENGTHSCALES = tuple(2 ** (k / 2) for k in range(-2, 9))
MIXES = (0.25, 0.5, 0.75)  # shares of categories in squared distances, where there are continuous latents too
FIRST, AGAIN = 20, 10  # prior draws before there is a model, and around the best of which a spent region is placed anew
SUCCESSES, FAILURES, FACTOR = 2, 20, 1.5  # rounds or points in a row after which the radius changes, and by what
FLOOR, SAME = 3.0, 1e-14  # interquartile ranges below the lower quartile; scores that are no different
WORTHWHILE = 1e-3  # gain that counts as success, in standard deviations of the scores kept
FAMILIAR = 5  # one of so many points may have a combination of categories that is known
WIDEST, SPENT = 1.0, 0.05  # radii, as shares of the categories


@dataclass(frozen=True)
class CasmopolitanState:
    """All that was told, the three numbers of the process, and the trust region; the process follows from them.

    Attributes:
        codes: categories of the points kept, oldest first.
        free: their other coordinates.
        score: their scores.
        mix: share of categories in squared distances.
        lengthscale: of the kernel.
        noise: variance of a score given its point, relative to that of the process.
        floor: score below which one tells no more than that, by the first scores.
        told: number of scores told, failures left out.
        since: points kept that were told before the trust region was placed.
        fitted: how many they were when these three were chosen, 0 for never.
        radius: of the trust region, as a share of the categories.
        successes: rounds in a row that found a better point.
        failures: points in a row that were not better.
        u: the proposals.
        rng: the stream that draws come from.
    """

    codes: Int[Tensor, "kept sites"]
    free: Float[Tensor, "kept free"]
    score: Float[Tensor, " kept"]
    mix: float
    lengthscale: float
    noise: float
    floor: float
    told: int
    since: int
    fitted: int
    radius: float
    successes: int
    failures: int
    u: Float[Tensor, "n dim"]
    rng: Rng
    space: Space = field(metadata=STATIC)


class Casmopolitan(Strategy[CasmopolitanState]):
    r"""Trust-region Bayesian optimisation over categories c and continuous latents v, by local search.

    A Gaussian process of all scores has a Matérn-5/2 kernel of the distance

    .. math:: r^2 = 2 a\, \frac{h(c, c')}{n} + (1 - a)\, \frac{|v - v'|^2}{m}

    where h counts the categories that differ, n of them in all, and m are the coordinates of v; length-scale, noise and
    a are those of largest posterior density. Each of the b points of a round maximises :math:`\mu + \beta \sigma_j`
    among points that were not seen, at most L categories and a length from the one with the best posterior mean: the
    best of random changes of it is improved by the best single change, again and again, and v follows the gradient.
    :math:`\sigma_j` knows of the j points already chosen. L grows after rounds that find a better point, and shrinks
    after points that are not better; where it is spent, the search begins again at the best of fresh prior draws, and
    knows what it has learned.

    Args:
        batch: points a round, scored together. The fewer, the fewer calls are needed.
        confidence: :math:`\beta`.
        memory: points kept; beyond, those farthest from the best are forgotten. Bounds the time a call takes.

    Raises:
        InputError: an argument is no positive number, or fewer than 32 points are to be kept.

    Example:
        >>> from zmax.core.block import Block
        >>> from zmax.core.categorical import Categorical
        >>> from zmax.core.rng import stream
        >>> method, space = Casmopolitan(), Space((Block("code", (32,), Categorical(6)),))
        >>> method.ask(method.init(space, stream(0))).u.shape
        torch.Size([20, 192])
    """

    needs = frozenset({Need.CATEGORIES})
    begins = Starts.MODEL
    use: ClassVar[str] = "categories, such as codes or words, alone or beside a few dozen continuous latents"
    reference: ClassVar[str] = (
        "Wan, Nguyen, Ha, Ru, Lu and Osborne, Think global and act local: Bayesian optimisation over high-dimensional "
        "categorical and mixed search spaces, ICML 2021, section 3, https://arxiv.org/abs/2102.07188"
    )

    def __init__(self, *, batch: int = 2, confidence: float = 1.0, memory: int = 512) -> None:
        not_negative("Casmopolitan", confidence=confidence)
        whole("Casmopolitan", batch=batch)
        whole("Casmopolitan", least=32, memory=memory)
        self.batch = batch
        self.confidence = confidence
        self.memory = memory

    def init(self, space: Space, rng: torch.Generator) -> CasmopolitanState:
        """Draw the first round from the prior.

        Raises:
            CapabilityError: the latents have no categories.
        """
        categories("Casmopolitan", space.levels)
        none = torch.zeros(0, space.dim)
        (codes, free), score = space.parted(none), torch.zeros(0, dtype=torch.float64)
        mix = 1.0 if not free.shape[1] else 0.5
        first, start = NOISES[2], Rng.of(rng)
        numbers = (mix, 1.0, first, -math.inf, 0, 0, 0, WIDEST, 0, 0)
        state = CasmopolitanState(codes, free, score, *numbers, none, start, space)
        return _from_prior(state, max(FIRST, self.batch))

    def begin(self, space: Space, rng: torch.Generator, start: Start) -> CasmopolitanState:
        """Condition the process on a start; where it is small, draw the others it wants around it."""
        assert start.score is not None, "scored before it begins"
        state = self.init(space, rng)
        missing = FIRST - len(start.u)
        if missing > 0:
            return _from_prior(_told(state, start.u, start.score.double()), max(missing, self.batch))
        n = min(len(start.u), self.memory)
        ok = torch.ones(n, dtype=torch.bool)
        return self.tell(replace(state, u=start.u[:n]), Evaluation(start.score[:n].double(), ok, None, range(n)))

    def ask(self, state: CasmopolitanState) -> Proposal:
        """Return the round's points."""
        return Proposal(Latents(state.u))

    def tell(self, state: CasmopolitanState, evaluation: Evaluation) -> CasmopolitanState:
        """Condition the process on the points and choose the next; failed rows are forgotten."""
        ok = evaluation.ok
        state = _told(state, state.u[ok], evaluation.score.double()[ok])
        y = _standardised(state.score, state.floor)
        if not bool(y.any()):
            return _from_prior(state, self.batch)
        known = Mixed(state.codes, state.free, state.mix)
        if state.told >= STALE * state.fitted:
            state = _fitted(state, known, y)
            known = replace(known, mix=state.mix)
        square = known.square(known)
        model = Posterior.given(square, y, state.lengthscale, state.noise)
        smoothed = y - model.noise * model.weights
        centre = state.since + int(smoothed[state.since :].argmax())
        state = _resized(state, smoothed[state.since :], len(y) - int(ok.sum()) - state.since)
        if state.radius < SPENT:
            return _from_prior(replace(state, radius=WIDEST, since=len(y)), AGAIN)
        generator = state.rng.generator()
        ball = Ball(known[centre], state.radius, state.space)
        found = []
        for j in range(self.batch):
            new = (state.told + j) % FAMILIAR > 0
            bounds = [Bound(model, known, ball, self.confidence, fresh) for fresh in (new, False)]
            tries = (bound.climbed(generator) for bound in bounds)
            x = next((x for x in tries if x is not None), None)
            if x is None:
                return _from_prior(state, self.batch)
            model = model.foreseeing(x.square(known)[0])
            known = known.beside(x)
            found.append(x)
        u = torch.cat([state.space.joined(x.codes, x.free) for x in found])
        state = replace(state, u=state.space.retract(u), rng=Rng.of(generator))
        return _pruned(state, square[centre], self.memory)


def _from_prior(state: CasmopolitanState, n: int) -> CasmopolitanState:
    z, rng = state.rng.normal(n, state.space.dim)
    return replace(state, u=state.space.retract(state.space.drawn(z)), rng=rng)


def _told(state: CasmopolitanState, u: Tensor, score: Tensor) -> CasmopolitanState:
    codes, free = state.space.parted(u)
    floor = _floor(score) if not state.told and len(score) else state.floor
    return replace(
        state,
        codes=torch.cat([state.codes, codes]),
        free=torch.cat([state.free, free]),
        score=torch.cat([state.score, score]),
        floor=floor,
        told=state.told + len(score),
    )


def _standardised(score: Float[Tensor, " n"], floor: float) -> Float[Tensor, " n"]:
    """Return scores with mean 0 and variance 1, those below the floor at it; zeros if all are the same."""
    score = score.clamp_min(floor)
    score = score / score.abs().max().clamp_min(1e-300) if len(score) else score
    if len(score) < 2 or float(score.max() - score.min()) < SAME:
        return torch.zeros_like(score)
    return (score - score.mean()) / score.std(correction=0)


def _floor(score: Float[Tensor, " n"]) -> float:
    """Return a score far below most of these."""
    low, high = score.quantile(torch.tensor([0.25, 0.75], dtype=score.dtype)).tolist()
    return low - FLOOR * (high - low) if high > low else -math.inf


def _fitted(state: CasmopolitanState, known: Mixed, y: Float[Tensor, " n"]) -> CasmopolitanState:
    """Choose length-scale and noise, and where there are continuous latents the share of categories in distances."""
    mixes = MIXES if state.free.shape[1] else (1.0,)
    near = LENGTHSCALES if state.fitted == 0 else beside(LENGTHSCALES, state.lengthscale)
    tried = []
    for mix in mixes:
        square = replace(known, mix=mix).square(replace(known, mix=mix))
        lengthscale, noise = chosen(square, y, near, NOISES)
        log = evidence(square, y, lengthscale, (noise,))[0] if len(mixes) > 1 else 0.0
        tried.append((log, mix, lengthscale, noise))
    _, mix, lengthscale, noise = max(tried)
    return replace(state, mix=mix, lengthscale=lengthscale, noise=noise, fitted=state.told)


def _resized(state: CasmopolitanState, smoothed: Tensor, old: int) -> CasmopolitanState:
    """Change the radius after enough rounds of success or failure in a row."""
    if old <= 0 or old == len(smoothed):
        return state
    better = float(smoothed[old:].max()) > float(smoothed[:old].max()) + WORTHWHILE
    successes, failures = (state.successes + 1, 0) if better else (0, state.failures + len(smoothed) - old)
    radius = state.radius
    if successes >= SUCCESSES:
        radius, successes = min(radius * FACTOR, WIDEST), 0
    if failures >= FAILURES:
        radius, failures = radius / FACTOR, 0
    return replace(state, radius=radius, successes=successes, failures=failures)


def _pruned(state: CasmopolitanState, square: Float[Tensor, " n"], most: int) -> CasmopolitanState:
    """Forget all but the points nearest to the centre, by their squared distances from it."""
    if len(square) <= most:
        return state
    keep = square.argsort(stable=True)[:most].sort().values
    since = int((keep < state.since).sum())
    return replace(state, codes=state.codes[keep], free=state.free[keep], score=state.score[keep], since=since)
