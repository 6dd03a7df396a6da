"""The one loop: ask, evaluate, journal, tell, checkpoint, stop. Nothing else loops over a budget."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from zmax.core.budget import Budget
from zmax.core.errors import FailedRunError
from zmax.core.generator import Generator
from zmax.core.proposal import Evaluation, Proposal
from zmax.core.samples import Samples
from zmax.core.score import Score
from zmax.core.strategy import Strategy
from zmax.results.spec import RunSpec
from zmax.run.evaluator import Evaluator
from zmax.run.recorder import Checkpoints, FailureWindow, Place, Recorder, same_points, told
from zmax.run.watch import STOPPED
from zmax.store import Chunk


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
            reason = STOPPED if self._recorder.fooled else str(self._budget.reached(self._evaluator.ledger))
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
        if self._budget.reached(ledger) is not None or self._recorder.fooled:
            return None
        wanted = min(self._batch_size, len(proposal) - offset)
        calls, grads = proposal.want.calls, proposal.want.grads
        room = self._budget.room(ledger, wanted, calls=calls, grads=grads, counted=proposal.at.counted)
        return slice(offset, offset + max(1, room))
