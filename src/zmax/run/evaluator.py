"""Decode, score, differentiate, judge and charge; isolate the rows that fail."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from zmax.core.budget import Budget, Ledger
from zmax.core.errors import USERS, ProposalError, ShapeError, WorkerError, reason
from zmax.core.generator import Generator
from zmax.core.proposal import Proposal
from zmax.core.samples import Samples, count, reuses, spare, spread, stack
from zmax.core.score import Score
from zmax.run import views
from zmax.run.answers import Answers
from zmax.run.batch import Batch, join
from zmax.run.lending import SpoiltError
from zmax.run.limits import Limits, fined, judged, part_names
from zmax.run.remarks import Remarks
from zmax.run.toll import Toll

PATIENCE = 16
"""Rows of a failing batch that are tried one by one before the rest is given up with them."""

NOT_TRIED = "not tried"

T = TypeVar("T")


class Evaluator:
    """The only thing that decodes, scores, differentiates and charges, for the loop, the judge, probes and tests alike.

    Args:
        generator: G.
        score: S.
        ledger: pays.
        budget: ends the isolation of failing rows.
        held_out: a score that no method sees.
        toll: what the method has to pay beside the score, if anything.
        limits: what it has to pay where samples miss constraints of the score.
        remarks: what there is to say of G and S.
    """

    def __init__(
        self,
        generator: Generator,
        score: Score,
        ledger: Ledger,
        budget: Budget,
        held_out: Score | None = None,
        remarks: Remarks | None = None,
    ) -> None:
        self.generator = generator
        self.score = score
        self.ledger = ledger
        self.budget = budget
        self.held_out = held_out
        self.toll: Toll | None = None
        self.limits: Limits | None = None
        self.remarks = remarks or Remarks()
        self.answers = Answers(ledger, self.remarks)
        self._before: Samples | None = None
        self._reuses: bool | None = None

    def beside(self, generator: Generator | None = None, score: Score | None = None) -> Evaluator:
        """Return one of another generator or score, at the same charge; neither remembers what the other heard."""
        parts = score or self.score, self.ledger, self.budget, self.held_out, self.remarks
        made = Evaluator(generator or self.generator, *parts)
        made.answers.first = self.answers.first
        return made

    def evaluate(self, proposal: Proposal, rows: slice = slice(None)) -> Batch:
        """Evaluate those rows; one that raises, or scores NaN or infinity, is marked as failed with the reason.

        Raises:
            ProposalError: the proposal itself is at fault.
            WorkerError: the processes that should score cannot start.
        """
        proposal = proposal.rows(rows)
        with self.answers.at(rows.start or 0):
            try:
                return self._scored(proposal) if proposal.want.calls else self._unscored(proposal)
            except SpoiltError:
                return self.evaluate(proposal)
            except (ProposalError, WorkerError):
                raise
            except USERS as error:
                why = reason(error)
                return self._failed(proposal, why) if len(proposal) == 1 else self._isolated(proposal, why)

    def given_up(self, proposal: Proposal, why: str) -> Batch:
        """Charge rows that were evaluated before without an end, and mark them as failed."""
        self.ledger.score_calls += len(proposal) * proposal.want.calls
        return self._failed(proposal, why)

    def close(self) -> None:
        """End the processes of the scores, if they have any."""
        for score in (self.score, self.held_out):
            if score is not None:
                score.close()

    def decoded(self, u: Float[Tensor, "n dim"]) -> Samples:
        """Decode points without scoring them."""
        self.ledger.decodes += len(u) * self.generator.size
        with torch.no_grad():
            return self._own(views.decoded(self.generator, u))

    def shown(self, proposal: Proposal, rows: slice) -> Samples:
        """Return what those rows show, without charge: they were charged before."""
        paid = self.ledger.copy()
        with torch.no_grad():
            found = _told(proposal, views.view(self.generator, proposal.rows(rows), self._own))
        vars(self.ledger).update(vars(paid))
        return found

    def judge(self, samples: Sequence[Any], reasons: list[str] | None = None) -> list[float]:
        """Return the held-out score of each sample, NaN where it fails; reasons are added to the list."""
        assert self.held_out is not None, "asked only where there is a judge"
        self.ledger.held_out_calls += len(samples)
        try:
            with torch.no_grad():
                asked = self.answers.asked(self.held_out, stack(samples))
            if reasons is not None:
                reasons += asked.failures.values()
            return asked.total.double().tolist()
        except SpoiltError:
            return self.judge(samples, reasons)
        except WorkerError:
            raise
        except USERS as error:  # one bad sample must not hide the others' values
            if len(samples) > 1:
                return [value for sample in samples for value in self.judge([sample], reasons)]
            if reasons is not None:
                reasons.append(reason(error))
            return [math.nan]

    def measured(self, measure: Callable[[], T]) -> T:
        """Charge what a measure of realism takes of G's networks to its own account."""
        before = self.ledger.nfe
        try:
            with torch.no_grad():
                return measure()
        finally:
            self.ledger.realism_nfe += self.ledger.nfe - before
            self.ledger.nfe = before

    def settle(self, samples: Samples | None) -> None:
        """Find out whether G, and S if samples are given, can be differentiated, where they never said so."""
        if self.generator.differentiable is None:
            flows = views.decoder_flows(self.generator, lambda n: self.ledger.charge("decodes", n))
            self.generator.differentiable = flows
        if samples is not None and self.generator.differentiable and self.score.differentiable is None:
            self.ledger.score_calls += len(samples)
            self.ledger.score_grads += len(samples)
            views.settle_score(self.score, samples)
            views.settle_latents(self.score, self.generator.space)

    def _scored(self, proposal: Proposal) -> Batch:
        n, calls = len(proposal), len(proposal) * proposal.want.calls
        seen = self._view(proposal)
        samples, wrt, t = views.presented(seen, proposal)
        if count(samples) != calls:
            raise ShapeError(f"samples of {self.generator.name!r}", expected=calls, got=count(samples))
        with torch.set_grad_enabled(wrt is not None):
            asked = self.answers.bought(self.score, samples, n, t)
            met = judged(self.score, asked.parts, proposal, seen.point, self.generator.space)
            total = views.pooled(asked.total, proposal)
            toll = None if self.toll is None else self.toll.of(proposal, samples, self.ledger)
            fine = fined(asked.total, met, self.score, self.limits, proposal)
            told = total - sum(part.to(total) for part in (toll, fine) if part is not None)
        gradient = None if wrt is None else self._gradient(told, wrt)
        score = total.detach().double().cpu()
        parts = {k: views.pooled(v, proposal).detach().double().cpu() for k, v in (asked.parts | met).items()}
        finite = torch.stack([score, *(parts[name] for name in met)]).isfinite().all(0)
        bad = [] if bool(finite.all()) else (~finite).nonzero().flatten().tolist()
        self.ledger.failures += len(bad)
        reasons = {i * n // calls: reason for i, reason in asked.failures.items()}
        return Batch(
            rows=n,
            u=proposal.u,
            score=torch.where(finite, score, float("-inf")) if bad else score,
            samples=_detached(samples) if calls == n else [None] * n,
            shown=_told(proposal, seen),
            parts=parts,
            grad=None if gradient is None else self._finite(gradient, finite),
            failures={i: reasons.get(i) or _unfit(float(score[i]), {k: float(parts[k][i]) for k in met}) for i in bad},
            toll=None if toll is None else toll.detach().double().cpu(),
            fine=None if fine is None else torch.where(finite, fine.detach().double().cpu(), 0.0),
            whys={i * n // calls: why for i, why in asked.whys.items()},
        )

    def _unscored(self, proposal: Proposal) -> Batch:
        """Return what the points show, with the product that is wanted."""
        before, n = self.ledger.nfe, len(proposal)
        seen = self._view(proposal)
        product = views.product(seen, proposal)
        self.ledger.nfe_backward += (self.ledger.nfe - before) * proposal.want.unseen_backward
        none = torch.zeros(0, dtype=torch.float64)
        return Batch(
            rows=n,
            u=proposal.u,
            score=none,
            samples=[None] * n,
            shown=_told(proposal, seen),
            parts=dict.fromkeys(part_names(self.score), none),
            grad=None if product is None else self._finite(product, torch.ones(n, dtype=torch.bool)),
        )

    def _isolated(self, proposal: Proposal, why: str) -> Batch:
        """Evaluate row by row, so that one bad sample does not take the batch along."""
        done: list[Batch] = []
        for i in range(len(proposal)):
            hopeless = len(done) == PATIENCE and all(batch.failures for batch in done)
            if hopeless or self.budget.reached(self.ledger):
                cause = f"{PATIENCE} before it failed ({done[-1].failures[0]})" if hopeless else "the budget ended"
                done.append(self._failed(proposal.rows(slice(i, None)), f"{NOT_TRIED}: {cause}"))
                break
            done.append(self.evaluate(proposal, slice(i, i + 1)))
        if not any(batch.failures for batch in done):
            self.remarks.say(f"batches fail ({' '.join(why.split())}); rows go one by one, at twice the decodes")
        return join(done)

    def _failed(self, proposal: Proposal, reason: str) -> Batch:
        n, scored = len(proposal), len(proposal) * (proposal.want.calls > 0)
        self.ledger.failures += n
        shown, grad = views.failed(proposal)
        return Batch(
            rows=n,
            u=proposal.u,
            score=torch.full((scored,), -math.inf, dtype=torch.float64),
            samples=[None] * n,
            shown=shown,
            parts={n: torch.full((scored,), math.nan, dtype=torch.float64) for n in part_names(self.score)},
            grad=grad,
            failures=dict.fromkeys(range(n), reason),
        )

    def _view(self, proposal: Proposal) -> views.View:
        """Look at the points, and charge it."""
        before = self.ledger.nfe
        self.ledger.charge(proposal.at.counted, len(proposal) * self.generator.size)
        try:
            return views.view(self.generator, proposal, self._own)
        finally:
            if proposal.at.counted == "previews":
                self.ledger.preview_nfe += self.ledger.nfe - before

    def _own(self, made: Samples) -> Samples:
        """Return what was decoded as something that the next decode leaves alone."""
        if self._reuses is None:
            if self._before is None:
                self._before = _detached(made)
                return spare(made)
            self._reuses, self._before = reuses(made, self._before), None
        return spare(made) if self._reuses else made

    def _gradient(self, total: Float[Tensor, " n"], wrt: Tensor) -> Tensor:
        self.ledger.score_grads += len(total)
        found = torch.autograd.grad(total.sum(), wrt, allow_unused=True)[0] if total.requires_grad else None
        return torch.full_like(wrt, math.nan) if found is None else found  # S may not depend on the point this time

    def _finite(self, gradient: Tensor, wanted: Tensor) -> Tensor:
        """Return a gradient or product on the CPU, with rows that are no use set to 0 and counted."""
        gradient = gradient.detach().float().cpu()
        good = torch.isfinite(gradient.flatten(1)).all(1)
        self.ledger.bad_gradients += int((wanted & ~good).sum())
        return torch.where(spread(wanted & good, gradient), gradient, 0.0)


def _unfit(score: float, parts: Mapping[str, float]) -> str:
    """Say what has no value: the score, or what a constraint judges."""
    missing = next((name for name, value in parts.items() if not math.isfinite(value)), "")
    if missing:
        return f"the score {missing!r}{' of a constraint' if math.isfinite(score) else ''} is {parts[missing]}"
    return f"the score is {score}"


def _told(proposal: Proposal, seen: views.View) -> Samples:
    """Return what the method is told that the points show: previews on the CPU, as it steps on from them."""
    shown = _detached(seen.shown)
    return shown.cpu() if proposal.at.counted == "previews" and isinstance(shown, Tensor) else shown


def _detached(samples: Samples) -> Samples:
    return samples.detach() if isinstance(samples, Tensor) else samples
