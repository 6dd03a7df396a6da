"""Training-free guidance: the score's gradient at what a point shows chooses the noise of its next step."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from zmax.core.checks import positive, whole
from zmax.core.errors import InputError
from zmax.core.proposal import Evaluation, PathPoints, Proposal, Value
from zmax.core.rng import Rng
from zmax.core.samples import spread
from zmax.core.space import Space
from zmax.core.start import Starts
from zmax.core.state import STATIC
from zmax.core.strategy import Gives, Need, Population, Strategy
from zmax.generators.diffusion.path import path_of
from zmax.kit.rows import as_long_as, cut, unit, where_rows
from zmax.kit.walk import Walk, shown

MEAN = 1e3  # temperature of the log-mean-exp over blurred previews where none is given: nearly the plain mean
RUNGS, LOW, HIGH = 5, 0.05, 5.0
PLAUSIBLE = 0.05
CLOSE = 1.05  # strengths within this factor are as good as equal; then all rows take the same


@dataclass(frozen=True)
class Ladder:
    """Strengths in geometric progression: the middle one, and the ratio of the highest to it."""

    centre: float = math.sqrt(LOW * HIGH)
    ratio: float = math.sqrt(HIGH / LOW)

    def strengths(self, rows: int) -> Float[Tensor, " n"]:
        """Return the strength of each row."""
        rungs = min(RUNGS, rows)
        place = (torch.arange(rows) % rungs).double() / max(rungs - 1, 1) * 2 - 1
        return self.centre * self.ratio ** (place if rungs > 1 else 0 * place)

    def told(self, end: Evaluation) -> Ladder:
        """Return a narrower ladder about the strength of the best mean score, of plausible ones where there are any."""
        mine, found = self.strengths(len(end.ok)), []
        assert end.plausibility is not None, "ends have coordinates"
        for strength in mine[end.ok].unique():
            alive = end.ok & (mine == strength)
            plausible = float(end.plausibility[alive].double().quantile(0.5)) >= PLAUSIBLE
            found.append((plausible, float(end.score[alive].double().mean()), float(strength)))
        ratio = math.sqrt(self.ratio)
        return Ladder(max(found)[2], ratio if ratio > CLOSE else 1.0) if found else self


@dataclass(frozen=True)
class Guided:
    """Independent points on their way, and what their previews at the present step have told.

    Attributes:
        walk: where they are.
        behind: x_t less the noise that led to it.
        asked: previews of x_t told so far.
        turn: times that x_t was left and came back.
        through: gradient by x_t, through the network.
        moved: change of E[x_0 | x_t] so far, past the network.
        last: that of the step before, from which the path extrapolates as from the preview itself.
        dead: rows whose preview was not finite; their end is to fail, as it does when decoded.
        ladder: strengths of the rows, where they are chosen automatically.
        ends, scores: finished points, where a temperature is given.
        rng: the stream of all draws.
    """

    walk: Walk
    behind: Float[Tensor, "n ..."]
    asked: int
    turn: int
    through: Float[Tensor, "n ..."]
    moved: Float[Tensor, "n ..."]
    last: Float[Tensor, "n ..."]
    dead: Bool[Tensor, " n"]
    ladder: Ladder
    ends: Float[Tensor, "m dim"]
    scores: Float[Tensor, " m"]
    rng: Rng
    space: Space = field(metadata=STATIC)


class TFG(Strategy[Guided]):
    r"""Training-free guidance: steer by the gradient of S at previews, through the network, past it, or both.

    A step :math:`x_s = a x_t + b D + c\,\xi` is steered by its noise, so a guided sample stays a point of the
    generator's latent space. With :math:`g_t = \nabla_{x_t} S(\hat x_0(x_t))` and, over n steps,
    :math:`\Delta \leftarrow \Delta + \frac{r^2}{n T} \nabla_{x_0} S(\hat x_0 + \Delta)` with
    :math:`r^2 = \sigma^2 / (\alpha^2 + \sigma^2)`,

    .. math:: \xi = \zeta + (1 - \mu)\, c\, \frac{g_t}{T} + \mu\, \frac b c \bigl(\Delta + w (\Delta - \Delta')\bigr),
              \qquad \zeta \sim N(0, I),

    where :math:`\Delta'` is the step before's and w the path's own extrapolation, as D has it of previews.
    S may be smoothed by noises of size r on :math:`\hat x_0`, and a step taken again from its end with fresh noise.
    This only approximates the law tilted by :math:`e^{S/T}`; :class:`~zmax.guide.TDS` corrects it by weights.
    Without a temperature, to maximise, both gradients are taken at length 1, their mixture gives a direction d, and

    .. math:: \xi = |\zeta| \frac{\zeta + \gamma \sqrt k\, d}{|\zeta + \gamma \sqrt k\, d|}

    for k coordinates, so every noise keeps its length (after Yang et al. 2024, https://arxiv.org/abs/2402.03201). The
    strength :math:`\gamma` is found in the first passes, each row trying its own.

    A preview is one network evaluation and, by x_t, one backward; a mixture takes one by x_t and n by x_0 a step.

    Args:
        temperature: T of the law, in units of the score. None maximises.
        strength: length of the shift in units of the noise's, where there is no temperature; None finds it.
        mu: share of guidance past the network, from 0 (none) to 1 (all, and no backward evaluation).
        iterations: previews a step for guidance past the network, each a network evaluation of its own.
        recurrence: times that each step is taken.
        smooth: number of noises that smooth S, each a score call; 0 for none.
        clip: longest shift at a temperature, in units of the length of the noise.
        rows: points on their way at once.

    Raises:
        InputError: an argument is out of its range, or a strength stands beside a temperature.

    Example:
        >>> import torch, zmax
        >>> law = zmax.testing.gaussian_mixture(torch.zeros(1, 8), torch.eye(8)[None], [1.0])
        >>> S = zmax.testing.quadratic_score(b=[1.0] * 8)
        >>> r = zmax.maximize(law.generator(steps=10), S, zmax.guide.TFG(), budget=480)
        >>> r.best.score > 10  # the best of as many plain samples is near 6
        True
    """

    needs = frozenset({Need.BETWEEN, Need.GRADIENT, Need.PATH})
    gives = frozenset({Gives.DRAWS})
    begins = Starts.PATH
    use: ClassVar[str] = "best samples of a diffusion model for few network evaluations, differentiable score"
    reference: ClassVar[str] = (
        "Ye et al., TFG: unified training-free guidance for diffusion models, NeurIPS 2024, algorithm 1, "
        "https://arxiv.org/abs/2409.15761"
    )

    def __init__(
        self,
        *,
        temperature: float | None = None,
        strength: float | None = None,
        mu: float = 0.0,
        iterations: int = 1,
        recurrence: int = 1,
        smooth: int = 0,
        clip: float = 1.0,
        rows: int = 16,
    ) -> None:
        name = type(self).__name__
        positive(name, temperature=temperature, strength=strength, clip=clip)
        whole(name, iterations=iterations, recurrence=recurrence, rows=rows)
        whole(name, smooth=smooth, least=0)
        if isinstance(mu, bool) or not isinstance(mu, (int, float)) or not 0 <= mu <= 1:
            raise InputError(f"{name}(mu=...)", expected="a number from 0 to 1", got=repr(mu))
        if temperature is not None and strength is not None:
            raise InputError(f"{name}(strength=...)", expected="None beside a temperature", got=repr(strength))
        self.temperature = temperature
        self.strength = strength
        self.mu = mu
        self.iterations = iterations
        self.recurrence = recurrence
        self.smooth = smooth
        self.clip = clip
        self.rows = rows

    def init(self, space: Space, rng: torch.Generator) -> Guided:
        """Draw the initial noises."""
        path_of(space)
        ladder = Ladder() if self.strength is None else Ladder(self.strength, 1.0)
        return self._begun(space, rng, ladder, torch.zeros(0, space.dim), torch.zeros(0, dtype=torch.float64))

    def ask(self, state: Guided) -> Proposal:
        """Return the points, with what their previews are to be moved and blurred by; ends as they are."""
        walk, t = state.walk, state.walk.times(state.space)
        if walk.at_end(state.space):
            x = walk.x.masked_fill(spread(state.dead, walk.x), math.nan)
            return Proposal(PathPoints(x, t, walk.u), Value(samples=True))
        blur, temperature = self._blur(state, state.rng.generator()), self.temperature or MEAN
        want = Value("point" if self._through(state) else "sample", blur, temperature, samples=True)
        return Proposal(PathPoints(walk.x, t), want)

    def tell(self, state: Guided, evaluation: Evaluation) -> Guided:
        """Take up the gradient; once all are there take a step, and at the end begin anew."""
        grad, generator = evaluation.grad, state.rng.generator()
        if state.walk.at_end(state.space):
            return self._finished(state, evaluation, generator)
        self._blur(state, generator)
        x_0, alive = shown(evaluation)
        x_0 = where_rows(alive, x_0, torch.zeros_like(x_0))
        g = torch.zeros(x_0.shape, dtype=torch.float64) if grad is None else grad.double()
        state = replace(state, through=g) if self._through(state) else replace(state, moved=self._moved(state, g))
        state = replace(state, dead=state.dead | ~alive, asked=state.asked + 1, rng=Rng.of(generator))
        wanted = (self.mu < 1) + (self.mu > 0) * self.iterations
        return state if state.asked < wanted else self._stepped(state, x_0, generator)

    def draws(self, state: Guided) -> Population | None:
        """Return the ends of all finished passes at a temperature, of equal weight; their law is approximate."""
        if not len(state.scores):
            return None
        return replace(Population.equal(state.ends, state.scores), approximate=True)

    def _through(self, state: Guided) -> bool:
        """Say whether the gradient through the network is due."""
        return self.mu < 1 and state.asked == 0

    def _blur(self, state: Guided, generator: torch.Generator) -> Float[Tensor, "n m ..."] | None:
        """Return what is added to previews: smoothing noises, and their change so far."""
        if not self.smooth:
            return state.moved[:, None] if state.asked > (self.mu < 1) else None
        noise = torch.randn(self.rows, self.smooth, *path_of(state.space).shape, generator=generator)
        return noise * _spread_of_x_0(state) + state.moved[:, None]

    def _moved(self, state: Guided, grad: Float[Tensor, "n ..."]) -> Float[Tensor, "n ..."]:
        """Return the change of previews after one more step along the gradient, cut to the longest shift."""
        (_, b, c), root = path_of(state.space).factors(state.walk.step), math.sqrt(grad[0].numel())
        if self.temperature is None:
            length = state.ladder.strengths(self.rows) * (c / b * root / self.iterations)
            return state.moved + unit(grad) * spread(length, grad)
        moved = state.moved + grad * (_spread_of_x_0(state) ** 2 / self.temperature / self.iterations)
        return cut(moved, self.clip * root * c / b)

    def _stepped(self, state: Guided, x_0: Tensor, generator: torch.Generator) -> Guided:
        """Choose the noise and take the step; or come back from its end with fresh noise, to take it again."""
        walk = state.walk
        onward = walk.onward(state.space, x_0, self._noise(state, torch.randn(x_0.shape, generator=generator)))
        moved, zero = state.moved, torch.zeros_like(state.moved)
        state = replace(state, asked=0, through=zero, moved=zero)
        if state.turn + 1 < self.recurrence:
            back = self._back(state, onward, torch.randn(x_0.shape, generator=generator))
            return replace(state, walk=back, turn=state.turn + 1, rng=Rng.of(generator))
        return replace(
            state, walk=onward, behind=walk.calm(state.space, x_0), last=moved, turn=0, rng=Rng.of(generator)
        )

    def _noise(self, state: Guided, zeta: Float[Tensor, "n ..."]) -> Float[Tensor, "n ..."]:
        """Return the noise of the step: fresh noise, shifted."""
        path, step, root = path_of(state.space), state.walk.step, math.sqrt(zeta[0].numel())
        if self.temperature is not None:
            _, b, c = path.factors(step)
            moved = state.moved + path.weights[step] * (state.moved - state.last)
            shift = (1 - self.mu) * c / self.temperature * state.through + self.mu * b / c * moved
            return zeta + cut(shift, self.clip * root).to(zeta)
        direction = unit((1 - self.mu) * unit(state.through) + self.mu * unit(state.moved))
        return as_long_as(zeta, zeta + direction * spread(state.ladder.strengths(self.rows) * root, zeta))

    def _back(self, state: Guided, onward: Walk, zeta: Float[Tensor, "n ..."]) -> Walk:
        """Return x_t as the forward process makes it of x_s, and the noise that would have led to it."""
        path, walk, u = path_of(state.space), state.walk, state.walk.u.clone()
        (alpha, sigma), (alpha_s, sigma_s) = path.levels(walk.step), path.levels(walk.step + 1)
        kept = alpha / alpha_s
        x = kept * onward.x + math.sqrt(max(sigma**2 - (kept * sigma_s) ** 2, 0.0)) * zeta
        c = path.factors(walk.step - 1)[2] if walk.step else sigma
        here = path.columns(walk.step)
        noise = ((x - state.behind) / c).float()
        if self.temperature is None:
            noise = as_long_as(u[:, here].reshape(noise.shape), noise)
        u[:, here] = noise.flatten(1)
        return replace(walk, x=(state.behind + c * noise).to(walk.x), u=u)

    def _finished(self, state: Guided, evaluation: Evaluation, generator: torch.Generator) -> Guided:
        """Keep the ends, learn from them which strength serves, and begin the next pass."""
        ladder, ends, scores = state.ladder, state.ends, state.scores
        if self.temperature is not None:
            told = evaluation.score.double().masked_fill(~evaluation.ok, -math.inf)
            ends, scores = torch.cat([ends, state.walk.u]), torch.cat([scores, told])
        elif self.strength is None:
            ladder = ladder.told(evaluation)
        return self._begun(state.space, generator, ladder, ends, scores)

    def _begun(self, space: Space, rng: torch.Generator, ladder: Ladder, ends: Tensor, scores: Tensor) -> Guided:
        walk = Walk.begin(space, self.rows, rng)
        zero, dead = torch.zeros(walk.x.shape, dtype=torch.float64), torch.zeros(self.rows, dtype=torch.bool)
        behind = walk.behind(space).double()
        return Guided(walk, behind, 0, 0, zero, zero, zero, dead, ladder, ends, scores, Rng.of(rng), space)


def _spread_of_x_0(state: Guided) -> float:
    r"""Return :math:`\sigma / \sqrt{\alpha^2 + \sigma^2}`, the spread of x_0 about its preview for data of size 1."""
    alpha, sigma = path_of(state.space).levels(state.walk.step)
    return sigma / math.hypot(alpha, sigma)
