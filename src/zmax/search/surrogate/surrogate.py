"""Surrogate search: a Gaussian process learns the black-box score in sample space and is climbed through G."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from zmax.core.checks import positive, whole
from zmax.core.proposal import Evaluation, Latents, Proposal, Pullback, Value
from zmax.core.rng import Rng
from zmax.core.space import Space
from zmax.core.start import Start, Starts
from zmax.core.state import STATIC
from zmax.core.strategy import Need, Strategy
from zmax.kit.process import Process, flattened
from zmax.kit.rows import where_rows
from zmax.kit.sampled import sample_rows
from zmax.search.surrogate.ascent import Ascent, climbed
from zmax.search.surrogate.kernel import Field

PLAN = ((1.0, -1.0), (2.0, -3.0), (0.5, 0.0), (0.25, 1.0))
NARROWEST, WIDEST, SHRINK = 0.02, 2.0, 0.5
GAIN = 0.01
GOOD, PARENTS, PATIENCE = 4, 4, 5
FIRST_STEP, SMALLEST, LARGEST = 0.1, 1e-3, 0.3
NUDGE, STRAY = 0.05, 0.1


@dataclass(frozen=True)
class SurrogateState:
    """What has been scored, what is believed of the rest, and how far the climb of that belief has come.

    Attributes:
        u: points that were scored.
        x: their samples, flattened.
        y: their scores.
        model: what is believed of the rest, and where chains may climb it.
        clipped: whether scores below the median count as the median.
        radius: trusted distance from the best sample, in units of the samples' root mean square deviation.
        left: climbing steps left before the chains' points are scored; 0 means now.
        ascent: the chains.
        record: best score of each chain since it was last started anew.
        stalled: rounds since that.
        asked: the points of the next proposal.
        rng: the stream that draws come from.
    """

    u: Float[Tensor, "n dim"]
    x: Float[Tensor, "n m"]
    y: Float[Tensor, " n"]
    model: Field
    clipped: bool
    radius: float
    left: int
    ascent: Ascent
    record: Float[Tensor, " chains"]
    stalled: Int[Tensor, " chains"]
    asked: Float[Tensor, "k dim"]
    rng: Rng
    space: Space = field(metadata=STATIC)


class Surrogate(Strategy[SurrogateState]):
    r"""Learns S from all (x, S(x)) seen, and climbs what it learnt through G: the score is called where that ends.

    Every round conditions a Gaussian process on the scores so far (see :class:`~zmax.kit.process.Process`)
    and climbs :math:`\mu(G(u)) + \beta \sigma(G(u))` by conjugate gradients, whose gradient is
    :math:`J(u)^T \nabla_x(\mu + \beta\sigma)`: decodes and backward passes of G, no score calls. Half the chains start
    at the best point, each with its own beta and its own distance that it may go in sample space, the other half
    anywhere. The distance that won is the next round's. A round without gain halves it, and changes whether the process
    sees scores below the median as they are or as the median. Where it becomes too small the search begins again
    elsewhere, with all it has learnt.

    Args:
        batch: chains, and score calls a round.
        first: prior draws scored before the first climb.
        steps: climbing steps a round, each a decode and a backward pass for each chain.
        radius: first trusted distance, in units of the root mean square deviation of the samples seen.
        memory: scored points the process is conditioned on: the best and the latest.

    Raises:
        InputError: an argument is not a positive number.

    Example:
        >>> from zmax.core.rng import stream
        >>> from zmax.core.space import Space
        >>> method = Surrogate(first=16)
        >>> method.ask(method.init(Space.of((100,)), stream(0))).u.shape
        torch.Size([16, 100])
    """

    needs = frozenset({Need.JACOBIAN})
    begins = Starts.MODEL
    use: ClassVar[str] = "black-box score, a few hundred calls"
    reference: ClassVar[str] = (
        "Eriksson et al., Scalable global optimization via local Bayesian optimization, NeurIPS 2019, section 2, "
        "https://arxiv.org/abs/1910.01739"
    )

    def __init__(
        self,
        *,
        batch: int = 8,
        first: int = 32,
        steps: int = 20,
        radius: float = 1.0,
        memory: int = 1000,
    ) -> None:
        positive("Surrogate", radius=radius)
        whole("Surrogate", batch=batch, steps=steps)
        whole("Surrogate", least=2, first=first, memory=memory)
        self.batch = batch
        self.first = first
        self.steps = steps
        self.radius = radius
        self.memory = memory
        place = torch.arange(batch)
        self._local = place % 2 == 0
        self._spread, self._beta = torch.tensor(PLAN, dtype=torch.float64)[place // 2 % len(PLAN)].T

    def init(self, space: Space, rng: torch.Generator) -> SurrogateState:
        """Draw the first round from the prior."""
        none, y = torch.zeros(0, space.dim), torch.zeros(0, dtype=torch.float64)
        model = Field(Process.blank(), y, y[:, None], y)
        idle = Ascent.begin(torch.zeros(self.batch, space.dim), y.new_full((self.batch,), FIRST_STEP))
        record, stalled = y.new_full((self.batch,), float("-inf")), torch.full((self.batch,), PATIENCE)
        blank = SurrogateState(
            none, none, y, model, False, self.radius, 0, idle, record, stalled, none, Rng.of(rng), space
        )
        return self._drawn(blank, self.first)

    def begin(self, space: Space, rng: torch.Generator, start: Start) -> SurrogateState:
        """Condition the process on a start; where that is few points, draw the others that it wants around them."""
        assert start.score is not None, "scored before it begins"
        ok, samples = torch.ones(len(start.u), dtype=torch.bool), start.samples
        told = Evaluation(start.score, ok, None, range(len(start.u)), samples=samples)
        state, _ = self._remembered(replace(self.init(space, rng), asked=start.u), told)
        missing = max(self.first - len(state.y), 2 - len(state.y))
        return self._started(state) if missing <= 0 else self._drawn(state, missing)

    def ask(self, state: SurrogateState) -> Proposal:
        """Return points to score, or where to climb on."""
        return Proposal(Latents(state.asked), Pullback(state.model) if state.left else Value(samples=True))

    def tell(self, state: SurrogateState, evaluation: Evaluation) -> SurrogateState:
        """Climb on; or learn from the scores and start the next climb."""
        if state.left:
            return self._climbed(state, evaluation)
        before = state.y
        state, score = self._remembered(state, evaluation)
        if len(state.y) < 2:
            return self._drawn(state, self.first)
        if len(score) == len(state.model.reach):
            state = self._trusted(self._judged(state, score), score, before)
        return self._started(state)

    def _remembered(self, state: SurrogateState, evaluation: Evaluation) -> tuple[SurrogateState, Tensor]:
        """Add what was scored to the memory; also return the scores row by row."""
        samples, ok = sample_rows(evaluation)
        score = evaluation.score.double().masked_fill(~ok, float("-inf"))
        if not len(samples):
            return state, score
        flat = flattened(samples)
        known = state.x if len(state.y) else flat[:0]
        y = torch.cat([state.y, score[ok]])
        keep = _kept(y, self.memory)
        u = torch.cat([state.u, state.asked[ok]])
        x = torch.cat([known, flat])
        return replace(state, u=u[keep], x=x[keep], y=y[keep]), score

    def _judged(self, state: SurrogateState, score: Tensor) -> SurrogateState:
        """Note which chains do better than before."""
        better = score > state.record
        stalled = torch.where(better, 0, state.stalled + 1)
        return replace(state, record=torch.where(better, score, state.record), stalled=stalled)

    def _trusted(self, state: SurrogateState, score: Tensor, before: Tensor) -> SurrogateState:
        """Trust what the round's best chain was allowed if it gained; else half as far, and view scores otherwise."""
        reach, best = state.model.reach, before.max()
        enough = best + GAIN * (best - state.y.median()).clamp_min(0.0)
        if bool(score.max() > enough):
            won = float(reach[int(score.argmax())])
            return replace(state, radius=min(won, WIDEST) if math.isfinite(won) else state.radius)
        less = state.radius * SHRINK
        return replace(state, radius=less if less > NARROWEST else self.radius, clipped=not state.clipped)

    def _started(self, state: SurrogateState) -> SurrogateState:
        """Start the local chains at the best point by what the process makes of the scores, the others anywhere."""
        generator = state.rng.generator()
        process = state.model.process.told(state.x, state.y.clamp_min(state.y.median()) if state.clipped else state.y)
        home = process.smoothed().argmax().expand(self.batch)
        fresh = state.stalled >= PATIENCE
        roaming = where_rows(fresh, self._elsewhere(state, generator), state.ascent.u)
        start = torch.where(self._local[:, None], state.u[home], roaming)
        reach = torch.where(self._local, state.radius * self._spread, float("inf"))
        return replace(
            state,
            model=Field(process, self._beta, process.x[home], reach),
            ascent=Ascent.begin(start, (2 * state.ascent.step).clamp(SMALLEST, LARGEST)),
            asked=start,
            record=state.record.masked_fill(fresh, float("-inf")),
            stalled=state.stalled.masked_fill(fresh, 0),
            left=self.steps + 1,
            rng=Rng.of(generator),
        )

    def _elsewhere(self, state: SurrogateState, generator: torch.Generator) -> Float[Tensor, "batch dim"]:
        """Return prior draws, and at every fourth place the direction in which some of the better points lie."""
        drawn = state.space.sample(self.batch, generator)
        good = state.y.topk(max(1, len(state.y) // GOOD)).indices
        some = good[torch.randint(len(good), (self.batch, PARENTS), generator=generator, device="cpu")]
        mean = state.u[some].mean(1) * PARENTS**0.5
        return state.space.retract(torch.where((torch.arange(self.batch) % 4 == 3)[:, None], mean, drawn))

    def _climbed(self, state: SurrogateState, evaluation: Evaluation) -> SurrogateState:
        """Take in one step; after the last, ask for scores, a stray one where a chain has not moved."""
        if evaluation.grad is None or not isinstance(evaluation.samples, Tensor):  # no point could be pulled back from
            return self._arrived(replace(state, left=0))
        value, rng, left = state.model.value(evaluation.samples.cpu()), state.rng, state.left - 1
        nudge = torch.zeros(self.batch, 1, dtype=torch.float64)
        if left == self.steps:
            nudge, rng = rng.normal(*state.asked.shape, dtype=torch.float64)
        ascent = climbed(state.space, state.ascent, value, evaluation.grad, NUDGE * nudge)
        state = replace(state, ascent=ascent, asked=ascent.trial, left=left, rng=rng)
        return state if left else self._arrived(state)

    def _arrived(self, state: SurrogateState) -> SurrogateState:
        """Ask for scores where the chains are; beside it where that was scored before or another chain is."""
        u, known = state.ascent.u, torch.cat([state.u, state.ascent.u])
        noise, rng = state.rng.normal(*u.shape)
        still = torch.stack([(known[: len(state.u) + i] == row).all(1).any() for i, row in enumerate(u)])
        return replace(state, asked=where_rows(still, state.space.retract(u + STRAY * noise), u), rng=rng)

    def _drawn(self, state: SurrogateState, n: int) -> SurrogateState:
        generator = state.rng.generator()
        asked = state.space.retract(state.space.sample(n, generator))
        return replace(state, asked=asked, rng=Rng.of(generator))


def _kept(y: Float[Tensor, " n"], memory: int) -> Int[Tensor, " k"]:
    """Return which rows to keep, in order: the latest half of the memory, and the best of those before."""
    old = max(0, len(y) - memory // 2)
    best = y[:old].topk(min(old, memory - memory // 2)).indices.sort().values
    return torch.cat([best, torch.arange(old, len(y))])
