"""One black box for all: it counts calls to the last one, times what is outside of it, and keeps what came out best."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from benchmarks.blackbox.problems import Problem
from zmax.core.proposal import Evaluation, Latents, Proposal
from zmax.core.rng import stream
from zmax.core.space import Space
from zmax.core.strategy import Strategy
from zmax.testing.driver import evaluate

Array = npt.NDArray[np.float64]

PLAUSIBLE = 0.05
"""Below this plausibility a point is suspicious, says `Space.plausibility`."""


class Spent(Exception):
    """The calls, or the seconds, are used up: how a method is told to stop."""


@dataclass(frozen=True)
class Winner:
    """What a method returns after so many calls.

    Attributes:
        calls: score calls made.
        seen: score, without noise, of the point that scored best.
        favourite: the same of the point the method itself recommends, on noisy problems, if it recommends any.
        norm: |u| / sqrt d of the point that scored best.
        plausibility: two-sided p-value of its norm.
        plausible: as `seen`, among points of plausibility at least `PLAUSIBLE`, if there were any.
        plausible_favourite: as `favourite`, if that is so plausible.
    """

    calls: int
    seen: float
    favourite: float | None
    norm: float
    plausibility: float
    plausible: float | None
    plausible_favourite: float | None


@dataclass(frozen=True)
class Run:
    """What is kept of a method's run.

    Attributes:
        origin: S at u = 0 where the remaining loss is what is reported, else None.
        products: products with the Jacobian of G, at one decode each.
        ms_per_call: processor time outside of the box.
        winners: at the marks; if the method stopped before one, its last.
    """

    origin: float | None
    products: int
    ms_per_call: float
    winners: list[Winner]


@dataclass
class Leader:
    """The point that scored best so far."""

    score: float = float("-inf")
    u: Tensor | None = None

    def meet(self, score: float, u: Tensor) -> None:
        """Take the point if it is better."""
        if score > self.score:
            self.score, self.u = score, u.detach().clone()


class BlackBox:
    """Scores points u of N(0, I_d), row by row, until the calls are used up.

    Args:
        problem: what is scored.
        marks: numbers of calls, ascending, after which the winner is noted; the last one is the budget.
        seconds: processor seconds a method may spend outside of the box before it is stopped.
    """

    def __init__(self, problem: Problem, marks: Sequence[int], seconds: float = float("inf")) -> None:  # noqa: D107
        self.problem, self.marks, self.seconds = problem, tuple(marks), seconds
        self.calls = self.products = 0
        self.best, self.best_plausible = Leader(), Leader()
        self.winners: list[Winner] = []
        self.favourite: Callable[[], Array | Tensor] | None = None
        self.capped = False
        self.recommended: Tensor | None = None
        self.inside = 0.0
        self.started = time.process_time()

    @property
    def outside(self) -> float:
        """Processor seconds spent outside of the box."""
        return time.process_time() - self.started - self.inside

    def __call__(self, points: Array) -> Array:
        """Return the scores of points (n, d), higher is better.

        Raises:
            Spent: fewer calls are left than points are given; those that are left are made.
        """
        u = torch.from_numpy(np.array(points, dtype=np.float32, ndmin=2))
        return self.answer(Proposal(Latents(u))).score.double().numpy()

    def answer(self, proposal: Proposal) -> Evaluation:
        """Evaluate a proposal as the driver of the tests does."""
        self._check_time()
        entered = time.process_time()
        try:
            if not proposal.want.calls:
                self.products += len(proposal)
                return self._evaluate(proposal)
            room = self.marks[-1] - self.calls
            if room < 1:
                raise Spent
            asked, proposal = len(proposal), proposal.rows(slice(0, room))
            self._note_before(len(proposal))
            evaluation = self._evaluate(proposal)
            self._keep(proposal, evaluation.score)
            if asked > room:
                raise Spent
            return evaluation
        finally:
            self.inside += time.process_time() - entered

    def finish(self) -> list[Winner]:
        """Return the winners at all marks; what is missing because the method stopped early is its last one."""
        entered = time.process_time()
        if len(self.winners) < len(self.marks):
            self.winners.append(self._note())
        self.inside += time.process_time() - entered
        return self.winners

    def _evaluate(self, proposal: Proposal) -> Evaluation:
        return evaluate(proposal, self.problem.generator, self.problem.score, first_id=self.calls)

    def _keep(self, proposal: Proposal, score: Tensor) -> None:
        """Take the scores row by row, so that a mark inside a round is exact."""
        plausibility = [] if proposal.u is None else self._plausibility(proposal.u).tolist()
        for row, value in enumerate(score.tolist()):
            if proposal.u is not None:
                self.best.meet(value, proposal.u[row])
                if plausibility[row] >= PLAUSIBLE:
                    self.best_plausible.meet(value, proposal.u[row])
            self.calls += 1
            if len(self.winners) < len(self.marks) and self.calls == self.marks[len(self.winners)]:
                self.winners.append(self._note())

    def _note_before(self, rows: int) -> None:
        """Ask for the recommendation of a mark that lies within the coming round, while it knows only calls made."""
        inside = [mark for mark in self.marks[len(self.winners) :] if self.calls < mark <= self.calls + rows]
        self.recommended = self._ask_favourite() if inside else None

    def _note(self) -> Winner:
        truth = self.problem.truth
        u = torch.zeros(self.problem.dim) if self.best.u is None else self.best.u
        plausible, recommended = self.best_plausible.u, self.recommended
        favourite = None if recommended is None else truth(recommended)
        usual = recommended is not None and float(self._plausibility(recommended[None])) >= PLAUSIBLE
        return Winner(
            calls=self.calls,
            seen=truth(u),
            favourite=favourite,
            norm=float(u.norm()) / self.problem.dim**0.5,
            plausibility=float(self._plausibility(u[None])),
            plausible=None if plausible is None else truth(plausible),
            plausible_favourite=favourite if usual else None,
        )

    def _plausibility(self, u: Tensor) -> Tensor:
        return self.problem.generator.space.plausibility(u.double())

    def _ask_favourite(self) -> Tensor | None:
        if self.favourite is None or not self.problem.noisy or not self.calls:
            return None
        return torch.as_tensor(np.asarray(self.favourite(), dtype=np.float32)).reshape(-1)

    def _check_time(self) -> None:
        if self.outside > self.seconds:
            self.capped = True
            raise Spent


def drive(method: Strategy[Any], box: BlackBox, seed: int) -> None:
    """Ask a zmax method and tell it until the box is spent; it recommends the mean of its law, if it has one."""
    space: Space = box.problem.generator.space
    state = method.init(space, stream(seed, "method"))
    while True:
        mean = getattr(state, "mean", None)
        if isinstance(mean, Tensor) and mean.shape == (space.dim,):
            box.favourite = lambda mean=mean: space.retract(mean[None])[0]
        state = method.tell(state, box.answer(method.ask(state)))


def play(method: Callable[[BlackBox, int], None], box: BlackBox, seed: int) -> Run:
    """Run a method on a box until it stops, and return what is to be kept of the run."""
    box.started = time.process_time()
    with suppress(Spent):
        method(box, seed)
    outside = box.outside
    return Run(box.problem.origin, box.products, 1000 * outside / max(box.calls, 1), box.finish())
