"""Rounds of a run: evaluate a proposal in batches and journal them, end what fails too often, save where it stands.

Made for both loops: of the search (:mod:`zmax.run.loop`) and of training (:mod:`zmax.run.train`).
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from itertools import islice

from zmax.core.budget import Budget
from zmax.core.errors import FailedRunError
from zmax.core.proposal import Evaluation, Proposal
from zmax.core.samples import Samples
from zmax.run.batch import Batch, join
from zmax.run.evaluator import NOT_TRIED, Evaluator
from zmax.run.processes import Crew
from zmax.run.recorder import Recorder, same_points, told
from zmax.store import DEATHS, Chunk, Journal, Position

ALONE = Crew()
WINDOW = 64
"""The share of failures is taken over this many last rows (and at least a quarter as many)."""

CHECKPOINT_SECONDS = 5.0
CHECKPOINT_SHARE = 0.01
"""Checkpoints come at least so many seconds apart, and take at most that share of the time."""


class Rounds:
    """Evaluates the proposals of a run, or reads back what is journalled.

    Args:
        evaluator: decodes, scores and charges.
        recorder: writes down what was evaluated.
        budget: limits.
        failures: ends a run that fails too often.
        batch_size: samples decoded and scored together.
        crew: processes that share them out.

    Attributes:
        worked: whether anything worked in the last proposal.
        known: number of the last round that was journalled when the run went on, -1 if none was.
    """

    def __init__(
        self,
        evaluator: Evaluator,
        recorder: Recorder,
        budget: Budget,
        failures: FailureWindow,
        batch_size: int,
        crew: Crew = ALONE,
    ) -> None:
        last = recorder.journal.last()
        self._evaluator, self._recorder, self._budget = evaluator, recorder, budget
        self._failures, self._batch_size, self._crew = failures, batch_size * crew.size, crew
        self.known = -1 if last is None else last.round
        self.worked = False

    def evaluate(self, proposal: Proposal, round_: int, next_id: int) -> Evaluation | None:
        """Evaluate the proposal of a round, whose first scored row is `next_id`; None when the budget ends inside it.

        Raises:
            FailedRunError: too large a share of the evaluations failed.
            StoreError: the journal cannot be written, or holds other points.
        """
        self.worked = False
        chunks: list[Chunk] = []
        shown: list[Samples] = []
        offset, wanted = 0, proposal.want.samples
        while offset < len(proposal):
            chunk = self._recorder.journal.find(round_, offset) if round_ <= self.known else None
            if chunk is not None:
                same_points(chunk, proposal)
                self.worked |= len(chunk.failures) < len(chunk)
                self._failures.look_again(chunk)
                self._evaluator.ledger.catch_up(chunk.ledger)
                rows = slice(offset, offset + len(chunk))
                shown += [self._evaluator.shown(proposal, rows)] if wanted else []
            elif (fits := self._fitting(proposal, offset)) is None:
                return None
            else:
                batch = self._evaluated(proposal, round_, fits)
                self.worked |= len(batch.failures) < batch.rows
                first_id = next_id + (offset if len(batch.score) else 0)
                chunk = self._recorder.record(proposal, batch, round_, offset, first_id)
                self._crew.agreed(self._evaluator.ledger)
                self._failures.look(batch)
                shown += [batch.shown] if wanted else []
            chunks.append(chunk)
            offset += len(chunk)
        if self._evaluator.limits is not None:
            self._evaluator.limits.learn(chunks)
        return told(chunks, shown, next_id)

    def _evaluated(self, proposal: Proposal, round_: int, fits: slice) -> Batch:
        """Evaluate the next rows; over which the process died again and again, one alone, and then none."""
        evaluator, book = self._evaluator, self._recorder.journal.answers
        together, alone = book.deaths(round_, fits.start)
        if together >= DEATHS or alone >= DEATHS:
            fits = slice(fits.start, fits.start + 1)
        part, place = proposal.rows(fits), (round_, fits.start, fits.stop - fits.start)
        if alone > DEATHS or (alone and together >= DEATHS):
            return evaluator.given_up(part, f"the process died {together + alone} times while this was evaluated")
        with evaluator.answers.at(fits.start, round_), book.under_way(*place):
            found = self._crew.shared(evaluator.ledger, len(part), lambda rows: evaluator.evaluate(part, rows))
        return found[0] if len(found) == 1 else join(found)

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
        self._last = next(journal.newest(), None)
        rows = (failed for chunk in journal.newest() for failed in reversed(_failed(len(chunk), chunk.failures)))
        self._recent: deque[bool] = deque(reversed([*islice(rows, WINDOW)]), maxlen=WINDOW)

    def look(self, batch: Batch) -> None:
        """Take in a batch.

        Raises:
            FailedRunError: too large a share of the last rows failed.
        """
        self._recent.extend(_failed(batch.rows, batch.failures))
        self._judge(batch.failures)

    def look_again(self, chunk: Chunk) -> None:
        """Take in a batch that was journalled before; if it was the last one, the run may have been killed over it.

        Raises:
            FailedRunError: too large a share of the last rows failed.
        """
        last = self._last
        if last is not None and (chunk.round, chunk.offset) == (last.round, last.offset):
            self._judge(chunk.failures)

    def _judge(self, failures: dict[int, str]) -> None:
        share = sum(self._recent) / max(1, len(self._recent))
        if failures and len(self._recent) >= WINDOW // 4 and share > self._most:
            again = f"zmax resume {self._folder}"
            raise FailedRunError(
                f"{share:.0%} of the last {len(self._recent)} evaluations failed",
                expected=f"at most {self._most:.0%}",
                got=next(reversed(failures.values())),
                remedy=f"mend the score or generator, then `{again}`; or, if so few samples are valid, `{again} "
                "--max-failures 1`"
                if self._folder
                else "mend the score; or, if so few samples are valid, max_failures=1",
            )


class Checkpoints:
    """Saves where the method stands, not too often."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._next = time.monotonic() + CHECKPOINT_SECONDS

    def save(self, round_: int, next_id: int, state: Callable[[], bytes], *, now: bool = False) -> None:
        """Save the state before a round whose first scored row is `next_id`, if it is time or has to be done now."""
        start = time.monotonic()
        if start < self._next and not now:
            return
        with self._journal.together():
            self._journal.checkpoint(Position(round_, next_id, state()))
        spent = time.monotonic() - start
        self._next = start + max(CHECKPOINT_SECONDS, spent / CHECKPOINT_SHARE)


def _failed(rows: int, failures: dict[int, str]) -> list[bool]:
    """Say of each row that was tried whether it failed."""
    if not failures:
        return [False] * rows
    reasons = [failures.get(i, "") for i in range(rows)]
    return [bool(reason) for reason in reasons if not reason.startswith(NOT_TRIED)]
