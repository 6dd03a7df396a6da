"""The one loop: ask, decode, score, count, journal, tell, checkpoint, stop. Nothing else loops over a budget."""

from __future__ import annotations

import sys
import time
from collections import deque
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from zmax.core.budget import Budget, Ledger
from zmax.core.errors import FailedRunError, StoreError
from zmax.core.generator import Generator
from zmax.core.samples import Samples, row
from zmax.core.score import Score
from zmax.core.state import dump
from zmax.core.strategy import Evaluation, Preview, Proposal, Strategy
from zmax.results.spec import RunSpec
from zmax.run.evaluator import NOT_TRIED, Batch, Evaluator, concatenated
from zmax.run.events import Listener, Snapshot
from zmax.run.leaders import Change, Leaders
from zmax.run.previews import plausibility
from zmax.run.watch import STOPPED, Watch
from zmax.store import REFERENCE, Chunk, Entry, Journal, Position

WINDOW = 64
"""The share of failures is taken over this many last evaluations (and at least a quarter as many)."""

CHECKPOINT_SECONDS = 5.0
CHECKPOINT_SHARE = 0.01
"""Checkpoints come at least so many seconds apart, and take at most that share of the time."""


@dataclass(frozen=True)
class Place:
    """Where a run stands before a round: the method's state, the round, the id of its first evaluation."""

    state: Any
    round: int
    next_id: int


@dataclass(frozen=True)
class Problem:
    """What the loop works on."""

    generator: Generator
    score: Score
    strategy: Strategy[Any]
    held_out: Score | None
    spec: RunSpec


class Loop:
    """Runs one problem from a position in its journal until a limit is reached."""

    def __init__(self, problem: Problem, journal: Journal, ledger: Ledger, listener: Listener, budget: Budget) -> None:
        self._problem = problem
        self._journal = journal
        self._ledger = ledger
        self._listener = listener
        self._budget = budget
        last = journal.last()
        self._known = REFERENCE if last is None else last.round
        self._recorded = ledger.copy()
        self._worked = False
        self._evaluator = Evaluator(problem.generator, problem.score, ledger, budget)
        self._leaders = Leaders(problem.spec.keep, journal.kept("leader"))
        held_out, patience = problem.held_out, problem.spec.patience
        self._watch = None if held_out is None else Watch(held_out, journal, ledger, patience)
        self._recent: deque[bool] = deque(maxlen=WINDOW)
        self._started = time.monotonic() - ledger.seconds
        self._next_checkpoint = time.monotonic() + CHECKPOINT_SECONDS

    def run(self, start: Place, reference: Batch | None) -> str:
        """Go on from a place until the budget ends.

        Args:
            start: where to begin.
            reference: the reference batch, evaluated before the run had a folder; None if it is journalled already.

        Returns:
            The reason for stopping: a limit's name, or "interrupted".

        Raises:
            FailedRunError: too large a share of the evaluations failed.
            StoreError: the journal cannot be written.
        """
        strategy = self._problem.strategy
        here = healthy = start
        try:
            if reference is not None:
                self._record(reference, REFERENCE, 0, 0)
            while (evaluation := self._evaluate(strategy.ask(here.state), here)) is not None:
                here = Place(
                    strategy.tell(here.state, evaluation), here.round + 1, here.next_id + len(evaluation.score)
                )
                healthy = here if self._worked else healthy
                self._checkpoint(here)
            reason = STOPPED if self._fooled() else str(self._budget.reached(self._ledger))
        except KeyboardInterrupt:
            reason = "interrupted"
            vars(self._ledger).update(vars(self._recorded))  # a batch cut short is evaluated again on resuming
        except FailedRunError:
            self._checkpoint(here if self._worked else healthy, force=True)  # try again where anything last worked
            raise
        self._checkpoint(here, force=True)
        population = strategy.draws(here.state)
        if population is not None:
            self._journal.set_population(population)
        return reason

    def _evaluate(self, proposal: Proposal, here: Place) -> Evaluation | None:
        """Evaluate a proposal in batches, or read back what is journalled; None when the budget ends inside it."""
        self._worked = False
        chunks: list[Chunk] = []
        samples: list[Samples | None] = []
        offset, n = 0, len(proposal.u)
        while offset < n:
            chunk = self._journal.find(here.round, offset) if here.round <= self._known else None
            rows = slice(offset, offset + len(chunk.u)) if chunk else self._fitting(proposal, offset)
            if rows is None:
                return None
            scored: Samples | None = None
            if chunk is None:
                chunk, scored = self._next(proposal, here, rows)
            elif self._problem.strategy.needs_samples:
                scored = self._evaluator.samples(proposal, rows)
            _same_points(chunk, proposal.u)
            chunks.append(chunk)
            samples.append(scored)
            self._worked |= len(chunk.failures) < len(chunk.u)
            offset += len(chunk.u)
        return _join(chunks, here.next_id, samples if self._problem.strategy.needs_samples else [])

    def _fitting(self, proposal: Proposal, offset: int) -> slice | None:
        """Return the next rows of a proposal, as many as a batch holds and the budget allows; None if it is spent."""
        spec = self._problem.spec
        if self._budget.reached(self._ledger) is not None or self._fooled():
            return None
        wanted = min(spec.batch_size, len(proposal.u) - offset)
        blur = proposal.blur if isinstance(proposal, Preview) else None
        calls = 1 if blur is None else blur.shape[1]
        room = self._budget.room(self._ledger, wanted, preview=isinstance(proposal, Preview), calls=calls)
        return slice(offset, offset + max(1, room))

    def _next(self, proposal: Proposal, here: Place, rows: slice) -> tuple[Chunk, Samples]:
        """Evaluate and record the next batch of a proposal."""
        batch = self._evaluator.evaluate(proposal, rows, grad=self._problem.strategy.needs_grad)
        self._worked |= len(batch.failures) < len(batch.u)
        scored = len(batch.score) > 0
        chunk = self._record(batch, here.round, rows.start, here.next_id + rows.start * scored)
        self._watch_failures(batch)
        return chunk, batch.told

    def _record(self, batch: Batch, round_: int, offset: int, first_id: int) -> Chunk:
        """Journal a batch and show it to the leaders and the listener."""
        typical = plausibility(self._problem.generator.space, batch.u)[: len(batch.score)]
        self._charge_time()
        chunk = Chunk(
            round=round_,
            offset=offset,
            first_id=first_id,
            u=batch.u,
            score=batch.score,
            plausibility=typical,
            parts=batch.parts,
            grad=batch.grad,
            failures=batch.failures,
            final=batch.final,
            ledger=self._ledger.copy(),
        )

        def entry(i: int) -> Entry:
            return self._entry(chunk, batch, i)

        change = self._leaders.offer(batch.u, batch.score, first_id, entry) if batch.final else Change([], [])
        alive = [i for i in range(len(batch.score)) if i not in batch.failures] if round_ == REFERENCE else []
        reference = [entry(i) for i in alive]
        self._journal.append(chunk, change.added, change.dropped, reference)
        if self._watch is not None:
            self._watch.look(self._budget.share(self._ledger), self._leaders)
        self._recorded = chunk.ledger
        self._listener.updated(self._snapshot())
        return chunk

    def _entry(self, chunk: Chunk, batch: Batch, i: int) -> Entry:
        return Entry(
            id=chunk.first_id + i,
            score=float(batch.score[i]),
            plausibility=float(chunk.plausibility[i]),
            u=batch.u[i].clone(),
            z=self._problem.generator.space.latent(batch.u[i]),
            sample=row(batch.samples, i),
            parts={name: float(value[i]) for name, value in batch.parts.items()},
        )

    def _fooled(self) -> bool:
        return self._watch is not None and self._watch.fooled()

    def _watch_failures(self, batch: Batch) -> None:
        if not batch.failures:
            self._recent.extend([False] * len(batch.score))
            return
        reasons = [batch.failures.get(i, "") for i in range(len(batch.score))]
        self._recent.extend(bool(reason) for reason in reasons if not reason.startswith(NOT_TRIED))
        share = sum(self._recent) / max(1, len(self._recent))
        if len(self._recent) >= WINDOW // 4 and share > self._problem.spec.max_failures:
            folder = self._journal.folder
            raise FailedRunError(
                f"{share:.0%} of the last {len(self._recent)} evaluations failed",
                expected=f"at most {self._problem.spec.max_failures:.0%}",
                got=next(reversed(batch.failures.values()), "earlier failures"),
                remedy=f"mend the score or generator, then `zmax resume {folder}`" if folder else "mend the score",
            )

    def _checkpoint(self, place: Place, *, force: bool = False) -> None:
        start = time.monotonic()
        if start < self._next_checkpoint and not force:
            return
        self._journal.checkpoint(Position(place.round, place.next_id, dump(place.state)))
        spent = time.monotonic() - start
        self._next_checkpoint = start + max(CHECKPOINT_SECONDS, spent / CHECKPOINT_SHARE)

    def _charge_time(self) -> None:
        self._ledger.seconds = time.monotonic() - self._started
        self._ledger.peak_memory = _peak_memory()

    def _snapshot(self) -> Snapshot:
        best = self._leaders.entries[0] if self._leaders.entries else None
        return Snapshot(
            best=None if best is None else best.score,
            plausibility=None if best is None else best.plausibility,
            share=self._budget.share(self._ledger),
            ledger=self._ledger,
        )

    def close(self, stop_reason: str) -> None:
        """Write down how the run ended."""
        self._charge_time()
        self._journal.set("ledger", asdict(self._ledger))
        self._journal.set("stop_reason", stop_reason)


def _peak_memory() -> int:
    if sys.platform == "win32":
        return 0  # not known there without another package
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _same_points(chunk: Chunk, u: Tensor) -> None:
    if not torch.equal(chunk.u, u[chunk.offset : chunk.offset + len(chunk.u)]):
        raise StoreError(
            "the method proposes other points than the journal holds, so the run cannot be repeated exactly",
            remedy="resume with the version of zmax and torch, and on the kind of machine, that started the run",
        )


def _join(chunks: list[Chunk], first_id: int, samples: list[Samples | None]) -> Evaluation:
    score = torch.cat([c.score for c in chunks])
    grads = [c.grad for c in chunks if c.grad is not None]
    grad = torch.cat(grads) if len(grads) == len(chunks) else None
    kept = [part for part in samples if part is not None]
    given = concatenated(kept) if kept else None
    return Evaluation(
        score=score,
        ok=_usable(score, grad, given),
        plausibility=torch.cat([c.plausibility for c in chunks]),
        ids=range(first_id, first_id + len(score)),
        grad=grad,
        samples=given,
        parts={name: torch.cat([c.parts[name] for c in chunks]) for name in chunks[0].parts},
        failures={c.offset + i: reason for c in chunks for i, reason in c.failures.items()},
    )


def _usable(score: Tensor, grad: Tensor | None, given: Samples | None) -> Tensor:
    """Return which rows can be used: those with a score; where nothing was scored, with a product or a preview."""
    if not len(score) and grad is not None:
        return grad.flatten(1).any(1)
    if not len(score) and isinstance(given, Tensor):
        return torch.isfinite(given.flatten(1)).all(1)
    return torch.isfinite(score)
