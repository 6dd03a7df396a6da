"""Decode, score, differentiate, judge and charge; isolate the rows that fail."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from zmax.core.budget import Budget, Ledger
from zmax.core.errors import USERS, ProposalError, ShapeError, reason
from zmax.core.generator import Generator
from zmax.core.proposal import Proposal
from zmax.core.samples import Samples, concatenated, count, describe, spread, stack
from zmax.core.score import Combined, Score
from zmax.run import views
from zmax.run.toll import Toll

PATIENCE = 16
"""Rows of a failing batch that are tried one by one before the rest is given up with them."""

NOT_TRIED = "not tried"

T = TypeVar("T")


@dataclass(frozen=True)
class Batch:
    """Some evaluated rows of a proposal: values on the CPU, samples wherever the generator left them.

    Attributes:
        rows: their number.
        u: whitened coordinates of the samples, None where they have none.
        score: values, empty where nothing was to be scored.
        samples: what S was shown; None for each row that failed or was blurred.
        shown: what the method is told that the points show.
        parts: value of each term of a combined score.
        grad: gradient or product, 0 where it was not finite.
        failures: reason by row.
        toll: what a guard takes off the score that the method is told, None where there is no such guard.
    """

    rows: int
    u: Float[Tensor, "n dim"] | None
    score: Float[Tensor, " scored"]
    samples: Samples
    shown: Samples
    parts: dict[str, Float[Tensor, " scored"]] = field(default_factory=dict)
    grad: Tensor | None = None
    failures: dict[int, str] = field(default_factory=dict)
    toll: Float[Tensor, " scored"] | None = None


class Evaluator:
    """The only thing that decodes, scores, differentiates and charges, for the loop, the judge, probes and tests alike.

    Args:
        generator: G.
        score: S.
        ledger: pays.
        budget: ends the isolation of failing rows.
        held_out: a score that no method sees.
        toll: what the method has to pay beside the score, if anything.
    """

    def __init__(
        self, generator: Generator, score: Score, ledger: Ledger, budget: Budget, held_out: Score | None = None
    ) -> None:
        self.generator = generator
        self.score = score
        self.ledger = ledger
        self.budget = budget
        self.held_out = held_out
        self.toll: Toll | None = None

    def evaluate(self, proposal: Proposal, rows: slice = slice(None)) -> Batch:
        """Evaluate those rows; one that raises, or scores NaN or infinity, is marked as failed with the reason.

        Raises:
            ProposalError: the proposal itself is at fault.
        """
        proposal = proposal.rows(rows)
        try:
            return self._scored(proposal) if proposal.want.calls else self._unscored(proposal)
        except ProposalError:
            raise
        except USERS as error:
            return self._failed(proposal, reason(error)) if len(proposal) == 1 else self._isolated(proposal)

    def decoded(self, u: Float[Tensor, "n dim"]) -> Samples:
        """Decode points without scoring them."""
        self.ledger.decodes += len(u)
        with torch.no_grad():
            return self.generator.decode(self.generator.space.latents(u))

    def shown(self, proposal: Proposal, rows: slice) -> Samples:
        """Return what those rows show, without charge: they were charged before."""
        paid = self.ledger.copy()
        with torch.no_grad():
            found = _told(proposal, views.view(self.generator, proposal.rows(rows)))
        vars(self.ledger).update(vars(paid))
        return found

    def judge(self, samples: Sequence[Any], reasons: list[str] | None = None) -> list[float]:
        """Return the held-out score of each sample, NaN where it fails; reasons are added to the list."""
        assert self.held_out is not None, "asked only where there is a judge"
        self.ledger.held_out_calls += len(samples)
        try:
            with torch.no_grad():
                return self._values(self.held_out, stack(samples), len(samples))[0].double().tolist()
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

    def _scored(self, proposal: Proposal) -> Batch:
        n, calls = len(proposal), len(proposal) * proposal.want.calls
        seen = self._view(proposal)
        samples, wrt, t = views.presented(seen, proposal)
        if count(samples) != calls:
            raise ShapeError(f"samples of {self.generator.name!r}", expected=calls, got=count(samples))
        self.ledger.score_calls += calls
        with torch.set_grad_enabled(wrt is not None):
            total, parts = self._values(self.score, samples, calls, t)
            total = views.pooled(total, proposal)
            toll = None if self.toll is None else self.toll.of(proposal, samples, self.ledger)
        gradient = None if wrt is None else self._gradient(total if toll is None else total - toll.to(total), wrt)
        score = total.detach().double().cpu()
        finite = torch.isfinite(score)
        bad = [] if bool(finite.all()) else (~finite).nonzero().flatten().tolist()
        self.ledger.failures += len(bad)
        return Batch(
            rows=n,
            u=proposal.u,
            score=torch.where(finite, score, float("-inf")) if bad else score,
            samples=_detached(samples) if calls == n else [None] * n,
            shown=_told(proposal, seen),
            parts={k: views.pooled(v, proposal).detach().double().cpu() for k, v in parts.items()},
            grad=None if gradient is None else self._finite(gradient, finite),
            failures={i: f"the score is {score[i].item()}" for i in bad},
            toll=None if toll is None else toll.detach().double().cpu(),
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
            parts={term.name: none for term in self.score.terms},
            grad=None if product is None else self._finite(product, torch.ones(n, dtype=torch.bool)),
        )

    def _isolated(self, proposal: Proposal) -> Batch:
        """Evaluate row by row, so that one bad sample does not take the batch along."""
        done: list[Batch] = []
        for i in range(len(proposal)):
            hopeless = len(done) == PATIENCE and all(batch.failures for batch in done)
            if hopeless or self.budget.reached(self.ledger):
                cause = f"{PATIENCE} before it failed ({done[-1].failures[0]})" if hopeless else "the budget ended"
                done.append(self._failed(proposal.rows(slice(i, None)), f"{NOT_TRIED}: {cause}"))
                break
            done.append(self.evaluate(proposal, slice(i, i + 1)))
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
            parts={term.name: torch.full((scored,), math.nan, dtype=torch.float64) for term in self.score.terms},
            grad=grad,
            failures=dict.fromkeys(range(n), reason),
        )

    def _view(self, proposal: Proposal) -> views.View:
        """Look at the points, and charge it."""
        before = self.ledger.nfe
        self.ledger.charge(proposal.at.counted, len(proposal))
        try:
            return views.view(self.generator, proposal)
        finally:
            if proposal.at.counted == "previews":
                self.ledger.preview_nfe += self.ledger.nfe - before

    def _values(
        self, score: Score, samples: Samples, n: int, t: Float[Tensor, " n"] | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Score n samples, each term of a combined score once; those of points on a path at their times."""
        if not isinstance(score, Combined):
            return _checked(score, samples, n, t), {}
        parts = {term.name: _checked(term, samples, n, t) for term in score.terms}
        return score.rule(parts), parts

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


def join(batches: Sequence[Batch]) -> Batch:
    """Put consecutive batches together."""
    failures: dict[int, str] = {}
    offset = 0
    for batch in batches:
        failures |= {offset + i: reason for i, reason in batch.failures.items()}
        offset += batch.rows
    names = list(dict.fromkeys(name for batch in batches for name in batch.parts))
    u = [batch.u for batch in batches if batch.u is not None]
    return Batch(
        rows=offset,
        u=torch.cat(u) if u else None,
        score=torch.cat([batch.score for batch in batches]),
        samples=concatenated([batch.samples for batch in batches]),
        shown=concatenated([batch.shown for batch in batches]),
        parts={name: torch.cat([batch.parts[name] for batch in batches]) for name in names},
        grad=_joined([(batch.rows, batch.grad) for batch in batches]),
        failures=failures,
        toll=_tolls(batches) if any(batch.toll is not None for batch in batches) else None,
    )


def _tolls(batches: Sequence[Batch]) -> Tensor:
    return torch.cat([torch.zeros(len(b.score)).double() if b.toll is None else b.toll for b in batches])


def _joined(parts: list[tuple[int, Tensor | None]]) -> Tensor | None:
    """Join gradients; those of rows that failed take the others' shape."""
    known = [grad for _, grad in parts if grad is not None]
    if not known:
        return None
    shape = next((grad.shape[1:] for grad in known if bool(grad.any())), known[0].shape[1:])
    return torch.cat([g if g is not None and g.shape[1:] == shape else torch.zeros(n, *shape) for n, g in parts])


def _checked(score: Score, samples: Samples, n: int, t: Tensor | None) -> Tensor:
    value = score(samples) if t is None else score.at(t)(samples)
    if not isinstance(value, Tensor) or tuple(value.shape) != (n,):
        raise ShapeError(f"values of the score {score.name!r}", expected=f"({n},)", got=describe(value))
    return value


def _told(proposal: Proposal, seen: views.View) -> Samples:
    """Return what the method is told that the points show: previews on the CPU, as it steps on from them."""
    shown = _detached(seen.shown)
    return shown.cpu() if proposal.at.counted == "previews" and isinstance(shown, Tensor) else shown


def _detached(samples: Samples) -> Samples:
    return samples.detach() if isinstance(samples, Tensor) else samples
