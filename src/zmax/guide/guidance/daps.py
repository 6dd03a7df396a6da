"""Decoupled annealing: clean samples move by Langevin dynamics, noise brings them to the next level of the path."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from zmax.core.checks import positive, whole
from zmax.core.proposal import Evaluation, PathPoints, Proposal, Value
from zmax.core.rng import Rng
from zmax.core.samples import spread
from zmax.core.space import Space
from zmax.core.start import Starts
from zmax.core.state import STATIC
from zmax.core.strategy import Gives, Need, Population, Strategy
from zmax.generators.diffusion.path import path_of
from zmax.kit.rows import where_rows
from zmax.kit.walk import Walk, shown

ACCEPTANCE = 0.57
RATE = 0.5  # of the adaptation of Langevin steps
WARM, COOLER = 0.1, 0.5  # first temperature in units of the scores' spread, and its factor a pass, where none is given


@dataclass(frozen=True)
class Annealed:
    """Points on their way down the levels, then the same points as a path of noises.

    Attributes:
        walk: x_t and its level; once it lies on the trail, the way along the path that leads to the same end.
        trail: points of that way; none while annealing.
        told: proposals told at this level, without the preview; -1 before it.
        mean: what x_t shows.
        clean: where Langevin dynamics has come to from there.
        proposed: where it would go.
        score: of `clean`.
        grad: of the score there.
        length: of Langevin steps, in units of what the curvature allows; adapted.
        curvature: of S / T, from how gradients changed last.
        temperature: in use; 0 before it is known.
        dead: rows whose preview was not finite; their end is to fail, as it does when decoded.
        ends, scores: finished points, where a temperature is given.
        rng: the stream of all draws.
    """

    walk: Walk
    trail: Float[Tensor, "n steps ..."] | None
    told: int
    mean: Float[Tensor, "n ..."]
    clean: Float[Tensor, "n ..."]
    proposed: Float[Tensor, "n ..."]
    score: Float[Tensor, " n"]
    grad: Float[Tensor, "n ..."]
    length: float
    curvature: float
    temperature: float
    dead: Bool[Tensor, " n"]
    ends: Float[Tensor, "m dim"]
    scores: Float[Tensor, " m"]
    rng: Rng
    space: Space = field(metadata=STATIC)


class DAPS(Strategy[Annealed]):
    r"""Decoupled annealing posterior sampling: at every noise level draw a clean sample, then noise it anew.

    From :math:`x_t` the network tells :math:`\hat x_0`, and x_0 is drawn from

    .. math:: p(x_0 | x_t) \, e^{S(x_0) / T} \approx N(x_0; \hat x_0, r^2 I)\, e^{S(x_0) / T}, \qquad
              r^2 = \frac{\sigma_t^2}{\alpha_t^2 + \sigma_t^2},

    by Langevin steps of size :math:`h^2 = \ell / (r^{-2} + \kappa)` with Metropolis adjustment, :math:`\kappa` being
    the curvature that gradients have shown, and :math:`\ell` adapted to the share of moves accepted; then
    :math:`x_s = \alpha_s x_0 + \sigma_s \epsilon` at the next level. Since x_s is not held near x_t, early errors heal,
    which guidance cannot do. Were the Gaussian the law of x_0 given x_t, as it is for normal data of size 1, the draws
    would be exact; elsewhere they approximate. The paper adds no adjustment, and takes the end of a few deterministic
    steps for :math:`\hat x_0`; here that is E[x_0 | x_t].

    The end is then noised back along the path, and the noises that lead through these points are its coordinates: it
    decodes to the same sample, at noises as plausible as the sample is. A pass of N steps takes 2N network evaluations
    a sample; Langevin steps take none but, for each, a score and its gradient.

    Args:
        temperature: T of the law, in units of the score. None maximises: T begins at a tenth of the spread of the first
            scores and is halved with every pass.
        iterations: Langevin steps a level.
        rows: points on their way at once.

    Raises:
        InputError: an argument is out of its range.

    Example:
        >>> import torch, zmax
        >>> law = zmax.testing.gaussian_mixture(torch.zeros(1, 2), torch.eye(2)[None], [1.0])
        >>> S = zmax.testing.quadratic_score(torch.eye(2), [4.0, 0.0])
        >>> r = zmax.sample(law.generator(steps=10), S, 1.0, zmax.guide.DAPS(temperature=1.0, rows=128), budget=10_500)
        >>> abs(float(r.population.score.mean()) - 5.0) < 0.5  # that of N((2, 0), I / 2)
        True
    """

    needs = frozenset({Need.BETWEEN, Need.GRADIENT, Need.PATH})
    gives = frozenset({Gives.DRAWS})
    begins = Starts.PATH
    use: ClassVar[str] = "inverse problems on a diffusion model (super-resolution, inpainting, a target), sharp scores"
    reference: ClassVar[str] = (
        "Zhang et al., Improving diffusion inverse problem solving with decoupled noise annealing, CVPR 2025, "
        "algorithm 1, https://arxiv.org/abs/2407.01521"
    )

    def __init__(self, *, temperature: float | None = None, iterations: int = 8, rows: int = 16) -> None:
        positive("DAPS", temperature=temperature)
        whole("DAPS", iterations=iterations, rows=rows)
        self.temperature = temperature
        self.iterations = iterations
        self.rows = rows

    def init(self, space: Space, rng: torch.Generator) -> Annealed:
        """Draw the initial noises."""
        ends, scores = torch.zeros(0, space.dim), torch.zeros(0, dtype=torch.float64)
        return self._begun(space, rng, 1.0, 0.0, self.temperature or 0.0, ends, scores)

    def ask(self, state: Annealed) -> Proposal:
        """Return the points to preview, the clean samples to score with their gradients, or the ends."""
        walk, space = state.walk, state.space
        if walk.at_end(space):
            return replace(walk, x=walk.x.masked_fill(spread(state.dead, walk.x), math.nan)).preview(space)
        if state.told < 0:
            return walk.preview(space, scored=False)
        data = path_of(space).times[-1].expand(self.rows)
        return Proposal(PathPoints(state.proposed, data), Value("sample"))

    def tell(self, state: Annealed, evaluation: Evaluation) -> Annealed:
        """Take up what a preview or a score has told, and go on."""
        generator = state.rng.generator()
        if state.walk.at_end(state.space):
            return self._finished(state, evaluation, generator)
        if state.told < 0:
            x_0, alive = shown(evaluation)
            state = replace(state, mean=where_rows(alive, x_0, torch.zeros_like(x_0)), dead=state.dead | ~alive)
            state = self._traced(state) if state.trail is not None else self._entered(state, generator)
        else:
            state = self._moved(state, evaluation, generator)
            state = self._proposing(state, generator) if state.told <= self.iterations else _down(state, generator)
        return replace(state, rng=Rng.of(generator))

    def draws(self, state: Annealed) -> Population | None:
        """Return the ends of all finished passes at a temperature, of equal weight; their law is approximate."""
        if self.temperature is None or not len(state.scores):
            return None
        return replace(Population.equal(state.ends, state.scores), approximate=True)

    def _entered(self, state: Annealed, generator: torch.Generator) -> Annealed:
        """Draw clean samples about what the points of a level show."""
        first = state.mean + math.sqrt(_variance(state)) * _normal(state.mean, generator)
        return replace(state, clean=first, proposed=first, told=0)

    def _moved(self, state: Annealed, evaluation: Evaluation, generator: torch.Generator) -> Annealed:
        """Make the moves that the Metropolis rule accepts; the first samples of a level are accepted as they are."""
        assert evaluation.grad is not None, "asked for"
        score, grad = evaluation.score.double().masked_fill(~evaluation.ok, -math.inf), evaluation.grad.double()
        told = replace(state, clean=state.proposed, score=score, grad=grad, told=state.told + 1)
        if state.told == 0:
            return told if state.temperature else replace(told, temperature=WARM * _spread_of(score))
        ratio = torch.nan_to_num(_log_move(told, state) - _log_move(state, told), nan=-math.inf)
        chance = ratio.clamp(max=0.0).exp()
        moved = torch.rand(self.rows, generator=generator, dtype=torch.float64) < chance
        length = state.length * math.exp(RATE * (float(chance.mean()) - ACCEPTANCE))
        return replace(
            told,
            clean=where_rows(moved, told.clean, state.clean),
            score=where_rows(moved, told.score, state.score),
            grad=where_rows(moved, told.grad, state.grad),
            length=min(max(length, 1e-6), 1.0),
            curvature=_curvature(state, told),
        )

    def _proposing(self, state: Annealed, generator: torch.Generator) -> Annealed:
        """Propose a Langevin step."""
        noise = math.sqrt(_step(state)) * _normal(state.clean, generator)
        return replace(state, proposed=(_drifted(state) + noise).to(state.clean))

    def _traced(self, state: Annealed) -> Annealed:
        """Take the step to the next point of the trail, by the noise that leads there."""
        walk, path, x_0 = state.walk, path_of(state.space), state.mean
        assert state.trail is not None, "asked before"
        ahead = state.trail[:, walk.step + 1].to(x_0) - walk.calm(state.space, x_0)
        return replace(state, walk=walk.onward(state.space, x_0, (ahead / path.factors(walk.step)[2]).float()))

    def _finished(self, state: Annealed, evaluation: Evaluation, generator: torch.Generator) -> Annealed:
        """Keep the ends, and begin the next pass."""
        ends, scores, temperature = state.ends, state.scores, state.temperature
        if self.temperature is None:
            temperature *= COOLER
        else:
            told = evaluation.score.double().masked_fill(~evaluation.ok, -math.inf)
            ends, scores = torch.cat([ends, state.walk.u]), torch.cat([scores, told])
        return self._begun(state.space, generator, state.length, state.curvature, temperature, ends, scores)

    def _begun(
        self,
        space: Space,
        rng: torch.Generator,
        length: float,
        curvature: float,
        temperature: float,
        ends: Tensor,
        scores: Tensor,
    ) -> Annealed:
        walk = Walk.begin(space, self.rows, rng)
        x, none, dead = walk.x, torch.zeros(self.rows, dtype=torch.float64), torch.zeros(self.rows, dtype=torch.bool)
        start = (walk, None, -1, x, x, x, none, x.double())
        return Annealed(*start, length, curvature, temperature, dead, ends, scores, Rng.of(rng), space)


def _variance(state: Annealed) -> float:
    r"""Return :math:`r^2`, the variance of x_0 about what x_t shows, for data of size 1."""
    alpha, sigma = path_of(state.space).levels(state.walk.step)
    return sigma**2 / (alpha**2 + sigma**2)


def _normal(like: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn(like.shape, generator=generator).to(like)


def _step(state: Annealed) -> float:
    """Return h^2."""
    return state.length / (1 / _variance(state) + state.curvature)


def _drifted(state: Annealed) -> Float[Tensor, "n ..."]:
    """Return where a Langevin step leads without its noise."""
    pull = (state.mean - state.clean).double() / _variance(state) + state.grad / state.temperature
    return state.clean.double() + _step(state) / 2 * pull


def _log_move(start: Annealed, end: Annealed) -> Float[Tensor, " n"]:
    """Return the log density of the start under the law of this level, and of the Langevin step from there to the end.

    Both, up to a constant, so that the difference for the way back and the way there is the log of Metropolis' ratio.
    """
    far = (start.clean - start.mean).double().flatten(1).square().sum(1) / (2 * _variance(start))
    gone = (end.clean.double() - _drifted(start)).flatten(1).square().sum(1) / (2 * _step(start))
    return start.score / start.temperature - far - gone


def _curvature(state: Annealed, told: Annealed) -> float:
    """Return the curvature of S / T between where chains were and what was proposed, the last one where none shows."""
    bend = (told.grad - state.grad).flatten(1).norm(dim=1) / state.temperature
    found = bend / (told.clean - state.clean).double().flatten(1).norm(dim=1).clamp_min(1e-30)
    found = found[torch.isfinite(told.score) & torch.isfinite(state.score)]
    return float(found.median()) if len(found) else state.curvature


def _spread_of(score: Float[Tensor, " n"]) -> float:
    alive = score[torch.isfinite(score)]
    spread = float(alive.std()) if len(alive) > 1 else 0.0
    return spread if 0 < spread < math.inf else 1.0


def _down(state: Annealed, generator: torch.Generator) -> Annealed:
    """Noise the clean samples to the next level; at the last one find the points of a path that leads there."""
    path, step, x = path_of(state.space), state.walk.step + 1, state.clean
    alpha, sigma = path.levels(step)
    x = alpha * x + sigma * _normal(x, generator)
    state = replace(state, walk=replace(state.walk, step=step, x=x), told=-1)
    if not state.walk.at_end(state.space):
        return state
    points = [x]
    for k in reversed(range(step)):
        (alpha, sigma), (alpha_s, sigma_s) = path.levels(k), path.levels(k + 1)
        kept = alpha / alpha_s
        fresh = math.sqrt(max(sigma**2 - (kept * sigma_s) ** 2, 0.0))
        points.append(kept * points[-1] + fresh * _normal(x, generator))
    trail = torch.stack(points[::-1], 1)
    first, sigma = trail[:, 0], path.levels(0)[1]
    u = torch.zeros_like(state.walk.u)
    u[:, path.columns(0)] = (first / sigma).flatten(1).to(u)
    return replace(state, trail=trail, walk=Walk(0, first, torch.zeros_like(first), u))
