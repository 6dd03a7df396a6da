"""The one loop: ask, evaluate, journal, tell, checkpoint, stop. Nothing else loops over a budget.

All that decides how a run goes on is in the journal, or rebuilt from it.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from itertools import islice
from typing import Any

from zmax.core.budget import Budget
from zmax.core.errors import FailedRunError
from zmax.core.generator import Generator
from zmax.core.proposal import Evaluation, Proposal
from zmax.core.samples import Samples
from zmax.core.score import Score
from zmax.core.state import dump
from zmax.core.strategy import Strategy
from zmax.results.spec import RunSpec
from zmax.run.evaluator import NOT_TRIED, Batch, Evaluator
from zmax.run.recorder import Recorder, same_points, told
from zmax.store import Chunk, Journal, Position

WINDOW = 64
"""The share of failures is taken over this many last rows (and at least a quarter as many)."""

CHECKPOINT_SECONDS = 5.0
CHECKPOINT_SHARE = 0.01
"""Checkpoints come at least so many seconds apart, and take at most that share of the time."""


@dataclass(frozen=True)
class Place:
    """Where a run stands before a round: the method's state, the round, the id of its first scored row."""

    state: Any
    round: int
    next_id: int


@dataclass(frozen=True)
class Problem:
    """What a run works on."""

    generator: Generator
    score: Score
    strategy: Strategy[Any]
    held_out: Score | None
    spec: RunSpec


class Loop:
    """Runs one problem from a position in its journal until a limit is reached."""

    def __init__(self, problem: Problem, evaluator: Evaluator, recorder: Recorder, budget: Budget) -> None:
        journal = recorder.journal
        last = journal.last()
        self._strategy = problem.strategy
        self._batch_size = problem.spec.batch_size
        self._evaluator = evaluator
        self._recorder = recorder
        self._budget = budget
        self._failures = FailureWindow(journal, problem.spec.max_failures)
        self._checkpoints = Checkpoints(journal)
        self._known = -1 if last is None else last.round
        self._worked = False

    def run(self, start: Place) -> str:
        """Go on from a place until the budget ends.

        Returns:
            The reason for stopping: a limit's name, or "interrupted".

        Raises:
            FailedRunError: too large a share of the evaluations failed.
            StoreError: the journal cannot be written.
        """
        strategy = self._strategy
        here = healthy = start
        try:
            self._recorder.look()
            while (evaluation := self._evaluate(strategy.ask(here.state), here)) is not None:
                state = strategy.tell(here.state, evaluation)
                here = Place(state, here.round + 1, here.next_id + len(evaluation.score))
                healthy = here if self._worked else healthy
                self._checkpoints.save(here)
            reason = self._recorder.ended or str(self._budget.reached(self._evaluator.ledger))
        except KeyboardInterrupt:
            reason = "interrupted"
            self._recorder.forget_unpaid()
        except FailedRunError:
            self._checkpoints.save(here if self._worked else healthy, now=True)  # try again where anything last worked
            raise
        self._checkpoints.save(here, now=True)
        population = strategy.draws(here.state)
        if population is not None:
            self._recorder.journal.set_population(population)
        return reason

    def _evaluate(self, proposal: Proposal, here: Place) -> Evaluation | None:
        """Evaluate a proposal in batches, or read back what is journalled; None when the budget ends inside it."""
        self._worked = False
        chunks: list[Chunk] = []
        shown: list[Samples] = []
        offset, wanted = 0, proposal.want.samples
        while offset < len(proposal):
            chunk = self._recorder.journal.find(here.round, offset) if here.round <= self._known else None
            if chunk is not None:
                same_points(chunk, proposal)
                self._worked |= len(chunk.failures) < len(chunk)
                rows = slice(offset, offset + len(chunk))
                shown += [self._evaluator.shown(proposal, rows)] if wanted else []
            elif (fits := self._fitting(proposal, offset)) is None:
                return None
            else:
                batch = self._evaluator.evaluate(proposal, fits)
                self._worked |= len(batch.failures) < batch.rows
                first_id = here.next_id + (offset if len(batch.score) else 0)
                chunk = self._recorder.record(proposal, batch, here.round, offset, first_id)
                self._failures.look(batch)
                shown += [batch.shown] if wanted else []
            chunks.append(chunk)
            offset += len(chunk)
        return told(chunks, shown, here.next_id)

    def _fitting(self, proposal: Proposal, offset: int) -> slice | None:
        """Return the next rows of a proposal, as many as a batch holds and the budget allows; None if it is spent."""
        ledger = self._evaluator.ledger
        if self._budget.reached(ledger) is not None or self._recorder.ended:
            return None
        wanted = min(self._batch_size, len(proposal) - offset)
        calls, grads = proposal.want.calls, proposal.want.grads
        room = self._budget.room(ledger, wanted, calls=calls, grads=grads, counted=proposal.at.counted)
        return slice(offset, offset + max(1, room))


class FailureWindow:
    """Ends a run of which too large a share fails; what it remembers is in the journal."""

    def __init__(self, journal: Journal, most: float) -> None:
        self._folder = journal.folder
        self._most = most
        rows = (failed for chunk in journal.newest() for failed in reversed(_failed(len(chunk), chunk.failures)))
        self._recent: deque[bool] = deque(reversed([*islice(rows, WINDOW)]), maxlen=WINDOW)

    def look(self, batch: Batch) -> None:
        """Take in a batch.

        Raises:
            FailedRunError: too large a share of the last rows failed.
        """
        self._recent.extend(_failed(batch.rows, batch.failures))
        share = sum(self._recent) / max(1, len(self._recent))
        if batch.failures and len(self._recent) >= WINDOW // 4 and share > self._most:
            raise FailedRunError(
                f"{share:.0%} of the last {len(self._recent)} evaluations failed",
                expected=f"at most {self._most:.0%}",
                got=next(reversed(batch.failures.values())),
                remedy=f"mend the score or generator, then `zmax resume {self._folder}`"
                if self._folder
                else "mend the score",
            )


class Checkpoints:
    """Saves where the method stands, not too often."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._next = time.monotonic() + CHECKPOINT_SECONDS

    def save(self, place: Place, *, now: bool = False) -> None:
        """Save a place, if it is time or has to be done now."""
        start = time.monotonic()
        if start < self._next and not now:
            return
        self._journal.checkpoint(Position(place.round, place.next_id, dump(place.state)))
        spent = time.monotonic() - start
        self._next = start + max(CHECKPOINT_SECONDS, spent / CHECKPOINT_SHARE)


def _failed(rows: int, failures: dict[int, str]) -> list[bool]:
    """Say of each row that was tried whether it failed."""
    reasons = [failures.get(i, "") for i in range(rows)]
    return [bool(reason) for reason in reasons if not reason.startswith(NOT_TRIED)]
