"""What a run has seen and where it stands: the journal, the leaders, the watch, the clock; failures and checkpoints.

All that decides how a run goes on is in the journal, or rebuilt from it.
"""

from __future__ import annotations

import hashlib
import sys
import time
from collections import deque
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from zmax.core.budget import Budget
from zmax.core.errors import FailedRunError, StoreError
from zmax.core.proposal import Evaluation, Proposal
from zmax.core.samples import Samples, concatenated, row
from zmax.core.state import dump
from zmax.results.spec import RunSpec
from zmax.run.evaluator import NOT_TRIED, Batch, Evaluator
from zmax.run.events import Listener, Snapshot
from zmax.run.leaders import Change, Leaders
from zmax.run.watch import Watch
from zmax.store import REFERENCE, Chunk, Entry, Journal, Position

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


class Recorder:
    """Writes down what was evaluated, and shows it to the leaders, the held-out judge and whoever watches."""

    def __init__(
        self, journal: Journal, evaluator: Evaluator, spec: RunSpec, budget: Budget, listener: Listener
    ) -> None:
        self.journal = journal
        self._evaluator = evaluator
        self._ledger = evaluator.ledger
        self._budget = budget
        self._listener = listener
        self._leaders = Leaders(spec.keep, journal.kept("leader"))
        self._watch = None if evaluator.held_out is None else Watch(evaluator, journal, spec.patience)
        self._paid = self._ledger.copy()
        self._started = time.monotonic() - self._ledger.seconds

    @property
    def fooled(self) -> bool:
        """Whether the held-out score says that the score is being fooled."""
        return self._watch is not None and self._watch.fooled()

    def record(self, proposal: Proposal, batch: Batch, round_: int, offset: int, first_id: int) -> Chunk:
        """Journal the rows of a proposal that a batch holds, and look at where that leaves the run."""
        chunk = self.write(proposal, batch, round_, offset, first_id)
        self.look()
        return chunk

    def look(self) -> None:
        """Let the held-out judge look if it is time, and show whoever watches where the run stands."""
        if self._watch is not None:
            self._watch.look(self._budget.share(self._ledger), self._leaders)
        self._paid = self._ledger.copy()
        self._listener.updated(self._snapshot())

    def write(self, proposal: Proposal, batch: Batch, round_: int, offset: int, first_id: int) -> Chunk:
        """Journal the rows of a proposal that a batch holds, and the change that they make to the leaders."""
        self._charge_time()
        chunk = chunk_of(proposal, batch, self._evaluator, round_, offset, first_id)

        def entry(i: int) -> Entry:
            return self._entry(chunk, batch, i)

        change = Change([], [])
        if batch.u is not None and len(batch.score):
            change = self._leaders.offer(batch.u, batch.score, first_id, entry)
        alive = [i for i in range(len(batch.score)) if i not in batch.failures] if round_ == REFERENCE else []
        self.journal.append(chunk, change.added, change.dropped, [entry(i) for i in alive])
        return chunk

    def forget_unpaid(self) -> None:
        """Take back the charges of a batch that was cut short: it is evaluated again on resuming."""
        vars(self._ledger).update(vars(self._paid))

    def close(self, stop_reason: str) -> None:
        """Write down how the run ended."""
        self._charge_time()
        self.journal.set("ledger", asdict(self._ledger))
        self.journal.set("stop_reason", stop_reason)

    def _entry(self, chunk: Chunk, batch: Batch, i: int) -> Entry:
        assert chunk.u is not None, "only samples with coordinates are kept"
        assert chunk.plausibility is not None, "only samples with coordinates are kept"
        return Entry(
            id=chunk.first_id + i,
            score=float(batch.score[i]),
            plausibility=float(chunk.plausibility[i]),
            u=chunk.u[i].clone(),
            z=self._evaluator.generator.space.latent(chunk.u[i]),
            sample=row(batch.samples, i),
            parts={name: float(value[i]) for name, value in batch.parts.items()},
        )

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


def chunk_of(proposal: Proposal, batch: Batch, evaluator: Evaluator, round_: int, offset: int, first_id: int) -> Chunk:
    """Return what is journalled of the rows of a proposal that a batch holds."""
    u, space = batch.u, evaluator.generator.space
    return Chunk(
        round=round_,
        offset=offset,
        first_id=first_id,
        u=u,
        digest=None if u is not None else digest(proposal.rows(slice(offset, offset + batch.rows))),
        score=batch.score,
        plausibility=space.plausibility(u) if u is not None and len(batch.score) else None,
        parts=batch.parts,
        grad=batch.grad,
        failures=batch.failures,
        ledger=evaluator.ledger.copy(),
    )


def digest(proposal: Proposal) -> Tensor:
    """Return 8 bytes a row that tell its points apart."""
    points: Any = proposal.at.points
    rows = [row(points, i) for i in range(len(proposal))]
    data = [r.contiguous().numpy().tobytes() if isinstance(r, Tensor) else repr(r).encode() for r in rows]
    hashes = b"".join(hashlib.blake2b(part, digest_size=8).digest() for part in data)
    return torch.frombuffer(bytearray(hashes), dtype=torch.uint8).reshape(-1, 8)


def same_points(chunk: Chunk, proposal: Proposal) -> None:
    """Refuse to go on where a method proposes other points than are journalled.

    Raises:
        StoreError: it does.
    """
    rows = proposal.rows(slice(chunk.offset, chunk.offset + len(chunk)))
    known, asked = (chunk.digest, digest(rows)) if rows.u is None else (chunk.u, rows.u)
    if known is None or not torch.equal(known, asked):
        raise StoreError(
            "the method proposes other points than the journal holds, so the run cannot be repeated exactly",
            remedy="resume with the version of zmax and torch, and on the kind of machine, that started the run",
        )


def told(chunks: list[Chunk], shown: list[Samples], first_id: int) -> Evaluation:
    """Return what a method is told of the chunks of its proposal.

    Args:
        chunks: all of them.
        shown: what their points show, empty where the method does not want to know.
        first_id: running number of the first scored row.
    """
    score = torch.cat([c.score for c in chunks])
    grads = [c.grad for c in chunks if c.grad is not None]
    grad = torch.cat(grads) if len(grads) == len(chunks) else None
    plausibility = [c.plausibility for c in chunks if c.plausibility is not None]
    given = concatenated(shown) if shown else None
    return Evaluation(
        score=score,
        ok=_usable(score, grad, given),
        plausibility=torch.cat(plausibility) if plausibility else None,
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


def _failed(rows: int, failures: dict[int, str]) -> list[bool]:
    """Say of each row that was tried whether it failed."""
    reasons = [failures.get(i, "") for i in range(rows)]
    return [bool(reason) for reason in reasons if not reason.startswith(NOT_TRIED)]


def _peak_memory() -> int:
    if sys.platform == "win32":
        return 0  # not known there without another package
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
