"""What a run has seen: the best distinct samples, the journal, the held-out watch, the clock."""

from __future__ import annotations

import hashlib
import sys
import time
from dataclasses import asdict

import torch
from jaxtyping import Int
from torch import Tensor

from zmax.core.budget import Budget
from zmax.core.errors import FailedRunError, StoreError
from zmax.core.proposal import Evaluation, Latents, PathPoints, Proposal
from zmax.core.samples import Samples, alike, concatenated, row
from zmax.run.batch import Batch
from zmax.run.evaluator import Evaluator
from zmax.run.leaders import Change, Leaders
from zmax.run.progress import Listener, Snapshot
from zmax.run.watch import Plateau, Watch
from zmax.store import REFERENCE, Chunk, Entry, Journal, missed

GOLDEN = -7046029254386353131  # 2^64 over the golden ratio

WIDE = 2**16
"""Bytes of a sample's coordinates above which those of a path, with all its noise, are kept of leaders alone."""

UNDER_WAY, CHOSEN = "under way", "chosen"
"""Roles of what led a run while it went on, where its end chose others; and of these, once it goes on."""


class Recorder:
    """Writes down what was evaluated, and shows it to the leaders, the held-out judge and whoever watches.

    Args:
        journal: where it is written.
        evaluator: who evaluated it, and asks the judge.
        budget: limits, of which shares are shown.
        listener: watches.
        keep: leaders that are kept; 0 keeps none, and asks no judge.
        patience: see :class:`~zmax.run.watch.Watch`.
    """

    def __init__(
        self,
        journal: Journal,
        evaluator: Evaluator,
        budget: Budget,
        listener: Listener,
        *,
        keep: int = 0,
        patience: int | None = None,
    ) -> None:
        self.journal = journal
        self._evaluator = evaluator
        self._ledger = evaluator.ledger
        self._budget = budget
        self._listener = listener
        if before := journal.kept(UNDER_WAY):  # the run goes on from these
            with journal.together():
                journal.keep(CHOSEN, journal.kept("leader"))
                journal.keep("leader", before)
                journal.keep(UNDER_WAY, [])
        evaluator.answers.keep_in(journal.answers)
        evaluator.remarks.keep_in(journal)
        evaluator.answers.heard = self._heard
        self._unheard: Exception | None = None
        self._keeps = keep > 0
        self._leaders = Leaders(keep, journal.kept("leader"))
        self._watch = _watch(evaluator, journal, patience) if keep else None
        self._started = time.monotonic() - self._ledger.seconds

    @property
    def ended(self) -> str:
        """Why the run should end before its budget does, "" if it should not."""
        return "" if self._watch is None else self._watch.ended()

    def record(self, proposal: Proposal, batch: Batch, round_: int, offset: int, first_id: int) -> Chunk:
        """Journal the rows of a proposal that a batch holds, and look at where that leaves the run."""
        chunk = self.write(proposal, batch, round_, offset, first_id)
        self.look()
        return chunk

    def look(self) -> None:
        """Look at the run if it is time, and show whoever watches where it stands."""
        if self._watch is not None:
            self._watch.look(self._budget.share(self._ledger), self._leaders.entries)
        if self._unheard is not None:
            raise self._unheard
        self._listener.updated(self._snapshot())

    def write(self, proposal: Proposal, batch: Batch, round_: int, offset: int, first_id: int) -> Chunk:
        """Journal the rows of a proposal that a batch holds, and the change that they make to the leaders."""
        self._charge_time()
        chunk = chunk_of(proposal, batch, self._evaluator, round_, offset, first_id)

        def entry(i: int) -> Entry:
            return self._entry(chunk, batch, i)

        change = Change([], [])
        if self._keeps and batch.u is not None and len(batch.score):
            merit = offered(chunk, self._evaluator)
            change = self._leaders.offer(batch.u, merit, first_id, entry, chunk.alike, chunk.plausibility)
        alive = [i for i in range(len(batch.score)) if i not in batch.failures] if round_ == REFERENCE else []
        known = self._evaluator.answers.new()
        later = self._can_wait(proposal, batch, chunk)
        self.journal.append(chunk, change.added, change.dropped, [entry(i) for i in alive], known, later=later)
        return chunk

    def _can_wait(self, proposal: Proposal, batch: Batch, chunk: Chunk) -> bool:
        """Say whether samples of a batch come back bit for bit from what is journalled of it."""
        return isinstance(proposal.at, Latents) and batch.together and chunk.u is not None and chunk.alike is None

    def forget_unpaid(self) -> None:
        """Take back the charges of what was cut short, and is done again on resuming."""
        self._ledger.take(self.journal.ledger())

    def close(self, stop_reason: str, failed: FailedRunError | None = None) -> None:
        """Write down how the run ended; only once all is done that it failed, if it did."""
        self._charge_time()
        facts: dict[str, object] = {"ledger": asdict(self._ledger), "stop_reason": stop_reason}
        with self.journal.together():
            self.journal.shelf.write()
            self.journal.put_facts(facts if failed is None else facts | {"failed": str(failed)})

    def _entry(self, chunk: Chunk, batch: Batch, i: int) -> Entry:
        assert batch.u is not None, "only samples with coordinates are kept"
        assert chunk.plausibility is not None, "only samples with coordinates are kept"
        return Entry(
            id=chunk.first_id + i,
            score=float(batch.score[i]),
            plausibility=float(chunk.plausibility[i]),
            u=batch.u[i].clone(),
            z=self._evaluator.generator.space.latent(batch.u[i]),
            sample=row(batch.samples, i),
            parts={name: float(value[i]) for name, value in batch.parts.items()},
            violation=0.0 if chunk.violation is None else float(chunk.violation[i]),
            why=batch.whys.get(i, ""),
        )

    def _charge_time(self) -> None:
        self._ledger.seconds = time.monotonic() - self._started
        self._ledger.peak_memory = _peak_memory()

    def _heard(self, running: int) -> None:
        """Show where the run stands while samples are being scored; what a listener raises waits for their end."""
        try:
            self._listener.updated(self._snapshot(running))
        except Exception as error:  # noqa: BLE001 - it must not pass for a failure of the score
            self._unheard = error

    def _snapshot(self, running: int = 0) -> Snapshot:
        best = self._leaders.entries[0] if self._leaders.entries else None
        return Snapshot(
            best=None if best is None else best.score,
            plausibility=None if best is None else best.plausibility,
            feasible=best is None or best.feasible,
            share=self._budget.share(self._ledger),
            ledger=self._ledger,
            running=running,
        )


def offered(chunk: Chunk, evaluator: Evaluator) -> Tensor:
    """Return what samples become leaders by: none of those that pay a guard's toll too high."""
    toll, merit = evaluator.toll, chunk.score
    if chunk.violation is not None:
        merit = torch.where(chunk.violation > 0, missed(chunk.violation), merit)
    if toll is None or chunk.toll is None or chunk.round == REFERENCE:
        return merit
    return torch.where(chunk.toll > toll.dear, float("-inf"), merit)


def _violation(batch: Batch, evaluator: Evaluator) -> Tensor | None:
    """Return by how much samples miss the constraints, 0 of those that failed."""
    if evaluator.limits is None or not len(batch.score):
        return None
    return torch.where(batch.score.isfinite(), evaluator.limits.violation(batch.parts), 0.0)


def _watch(evaluator: Evaluator, journal: Journal, patience: int | None) -> Watch | Plateau | None:
    """Return what looks at the run as it goes on."""
    if evaluator.held_out is not None:
        return Watch(evaluator, journal, patience)
    goals = evaluator.score.goals
    return None if patience is None else Plateau(journal, patience, () if goals is None else goals.names)


def chunk_of(proposal: Proposal, batch: Batch, evaluator: Evaluator, round_: int, offset: int, first_id: int) -> Chunk:
    """Return what is journalled of the rows of a proposal that a batch holds."""
    u, space = batch.u, evaluator.generator.space
    wide = isinstance(proposal.at, PathPoints) and u is not None and u[:1].nbytes > WIDE
    return Chunk(
        round=round_,
        offset=offset,
        first_id=first_id,
        u=None if wide else u,
        wide=wide,
        digest=None if u is not None and not wide else digest(proposal.rows(slice(offset, offset + batch.rows))),
        score=batch.score,
        plausibility=space.plausibility(u) if u is not None and len(batch.score) else None,
        toll=batch.toll,
        alike=alike(batch.samples) if len(batch.score) else None,
        violation=_violation(batch, evaluator),
        fine=batch.fine,
        parts=batch.parts,
        grad=batch.grad,
        failures=batch.failures,
        whys=batch.whys,
        ledger=evaluator.ledger.copy(),
    )


def digest(proposal: Proposal) -> Int[Tensor, " n"]:
    """Return a checksum a row that tells its points apart: their bits times odd numbers, added modulo 2^64."""
    points = proposal.at.points
    if not isinstance(points, Tensor):
        return torch.tensor(
            [int.from_bytes(hashlib.blake2b(repr(p).encode(), digest_size=7).digest(), "big") for p in points]
        )
    bits = points.detach().cpu().double().flatten(1).contiguous().view(torch.int64)
    return (bits * (2 * torch.arange(bits.shape[1], device="cpu") + 1) * GOLDEN).sum(1)


def same_points(chunk: Chunk, proposal: Proposal) -> None:
    """Refuse to go on where a method proposes other points than are journalled.

    Raises:
        StoreError: it does.
    """
    rows = proposal.rows(slice(chunk.offset, chunk.offset + len(chunk)))
    known, asked = (chunk.digest, digest(rows)) if chunk.u is None else (chunk.u, rows.u)
    if known is None or asked is None or not torch.equal(known, asked):
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
    score = torch.cat([c.score - sum(paid for paid in (c.toll, c.fine) if paid is not None) for c in chunks])
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


def _peak_memory() -> int:
    if sys.platform == "win32":
        return 0  # not known there without another package
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
