"""Decode, score, differentiate and charge one batch; isolate the samples that fail."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from zmax.core.budget import Budget, Ledger
from zmax.core.errors import ShapeError
from zmax.core.generator import Generator
from zmax.core.rows import spread
from zmax.core.samples import Samples, count, describe, row
from zmax.core.score import Combined, Score
from zmax.core.strategy import Latents, Preview, Proposal, Pullback, Pushforward, SamplesAt, Scored, is_final
from zmax.run.previews import Shown, part, pooled, show, times
from zmax.run.products import pull_back, push_forward

PATIENCE = 16
"""Rows of a failing batch that are tried one by one before the rest is given up with them."""

NOT_TRIED = "not tried"


@dataclass(frozen=True)
class Batch:
    """One evaluated batch: values on the CPU, samples wherever the generator left them.

    Jacobian products score nothing: `score` is empty and the product is in `grad`. `final` is False for them and for
    samples that are not what G makes of u (previews, perturbed samples), which can never be a run's best. `given` is
    what the method is told was scored, where that is not the samples: E[x_0 | x_t] of a preview.
    """

    u: Float[Tensor, "n dim"]
    score: Float[Tensor, " scored"]
    samples: Samples
    parts: dict[str, Float[Tensor, " scored"]] = field(default_factory=dict)
    grad: Tensor | None = None
    failures: dict[int, str] = field(default_factory=dict)
    final: bool = True
    given: Tensor | None = None

    @property
    def told(self) -> Samples:
        """What a method that needs samples is told."""
        return self.samples if self.given is None else self.given


class Evaluator:
    """Turns proposals into values. The only place that decodes, scores or differentiates."""

    def __init__(self, generator: Generator, score: Score, ledger: Ledger, budget: Budget) -> None:
        self.generator = generator
        self.score = score
        self.ledger = ledger
        self.budget = budget

    def evaluate(self, proposal: Proposal, rows: slice, *, grad: bool) -> Batch:
        """Evaluate those rows; one that raises, or scores NaN or infinity, is marked as failed with the reason."""
        if isinstance(proposal, (Pullback, Pushforward)):
            return self._product(proposal, rows)
        if isinstance(proposal, Preview) and not proposal.scored:
            return self._unscored(part(proposal, rows))
        try:
            return self._attempt(proposal, rows, grad)
        except Exception as error:  # noqa: BLE001 - scores and generators may raise anything
            single = len(proposal.u[rows]) == 1
            return self._failed(proposal, rows, _reason(error), grad) if single else self._isolate(proposal, rows, grad)

    def decoded(self, u: Tensor) -> Samples:
        """Decode points without scoring them."""
        self.ledger.decodes += len(u)
        with torch.no_grad():
            return self.generator.decode(self.generator.space.latents(u))

    def samples(self, proposal: Proposal, rows: slice) -> Samples:
        """Return the samples that belong to those rows of a proposal, without charge: they were charged before."""
        paid = self.ledger.copy()
        if isinstance(proposal, Preview):
            found: Samples = show(self.generator, part(proposal, rows), grad=False).x_0.cpu()
        else:
            found = proposal.x[rows] if isinstance(proposal, SamplesAt) else self.decoded(proposal.u[rows])
        vars(self.ledger).update(vars(paid))
        return found

    def _product(self, proposal: Pullback | Pushforward, rows: slice) -> Batch:
        """Return a product with the decoder's Jacobian; rows where it is not finite are zero and counted."""
        u = proposal.u[rows].detach().clone()
        self.ledger.decodes += len(u)
        if isinstance(proposal, Pullback):
            product, samples = pull_back(self.generator, u, proposal.cotangent[rows])
        else:
            product, samples = push_forward(self.generator, u, proposal.tangent[rows], self.ledger)
        product = product.detach().float().cpu()
        good = torch.isfinite(product.flatten(1)).all(1)
        self.ledger.bad_gradients += int((~good).sum())
        return Batch(
            u=u,
            score=torch.zeros(0, dtype=torch.float64),
            samples=samples,
            parts={term.name: torch.zeros(0, dtype=torch.float64) for term in self.score.terms},
            grad=torch.where(spread(good, product), product, 0.0),
            final=False,
        )

    def _unscored(self, proposal: Preview) -> Batch:
        """Return E[x_0 | x_t] alone."""
        none = torch.zeros(0, dtype=torch.float64)
        x_0 = self._show(proposal, grad=False).x_0.cpu()
        parts = {term.name: none for term in self.score.terms}
        return Batch(u=proposal.u, score=none, samples=x_0, parts=parts, final=False, given=x_0)

    def _isolate(self, proposal: Scored, rows: slice, grad: bool) -> Batch:
        """Evaluate row by row, so that one bad sample does not take the batch along."""
        done: list[Batch] = []
        for i in range(*rows.indices(len(proposal.u))):
            hopeless = len(done) == PATIENCE and all(batch.failures for batch in done)
            if hopeless or self.budget.reached(self.ledger):
                cause = f"{PATIENCE} before it failed ({done[-1].failures[0]})" if hopeless else "the budget ended"
                done.append(self._failed(proposal, slice(i, rows.stop), f"{NOT_TRIED}: {cause}", grad))
                break
            done.append(self.evaluate(proposal, slice(i, i + 1), grad=grad))
        return join(done)

    def _attempt(self, proposal: Scored, rows: slice, grad: bool) -> Batch:
        u = proposal.u[rows]
        if isinstance(proposal, Preview):
            return self._previewed(part(proposal, rows), grad and proposal.grad != "")
        with torch.set_grad_enabled(grad):
            samples, wrt = self._samples(proposal, rows, grad)
            if count(samples) != len(u):
                raise ShapeError(f"samples of {self.generator.name!r}", expected=len(u), got=count(samples))
            self.ledger.score_calls += len(u)
            total, parts = values(self.score, samples, len(u))
        gradient = None if wrt is None else self._gradient(total, wrt, proposal, rows)
        return self._batch(u, total, parts, samples, gradient, final=is_final(proposal))

    def _previewed(self, proposal: Preview, grad: bool) -> Batch:
        """Evaluate a preview that is to be scored."""
        shown, n = self._show(proposal, grad=grad), len(proposal.x)
        with torch.set_grad_enabled(grad):
            self.ledger.score_calls += count(shown.samples)
            total, parts = values(self.score, shown.samples, count(shown.samples), times(proposal))
            total = pooled(total, proposal)
        gradient = None if shown.wrt is None else self._gradient(total, shown.wrt, proposal, slice(0, n))
        samples = shown.samples if proposal.blur is None else [None] * n
        parts = {name: pooled(value, proposal) for name, value in parts.items()}
        return self._batch(proposal.u, total, parts, samples, gradient, final=is_final(proposal), given=shown.x_0.cpu())

    def _show(self, proposal: Preview, *, grad: bool) -> Shown:
        """Denoise, and charge it."""
        before = self.ledger.nfe
        self.ledger.previews += len(proposal.x)
        shown = show(self.generator, proposal, grad=grad)
        self.ledger.preview_nfe += self.ledger.nfe - before
        return shown

    def _batch(
        self,
        u: Tensor,
        total: Tensor,
        parts: dict[str, Tensor],
        samples: Samples,
        gradient: Tensor | None,
        *,
        final: bool,
        given: Tensor | None = None,
    ) -> Batch:
        """Return values and gradients on the CPU, and mark what is not finite as failed."""
        score = total.detach().double().cpu()
        finite = torch.isfinite(score)
        bad = [] if bool(finite.all()) else (~finite).nonzero().flatten().tolist()
        failures = {i: f"the score is {score[i].item()}" for i in bad}
        self.ledger.failures += len(failures)
        return Batch(
            u=u,
            score=torch.where(finite, score, float("-inf")) if bad else score,
            samples=samples.detach() if isinstance(samples, Tensor) else samples,
            parts={name: value.detach().double().cpu() for name, value in parts.items()},
            grad=None if gradient is None else self._usable(gradient, finite),
            failures=failures,
            final=final,
            given=given,
        )

    def _samples(self, proposal: Latents | SamplesAt, rows: slice, grad: bool) -> tuple[Samples, Tensor | None]:
        if not isinstance(proposal, Latents):
            return proposal.x[rows], proposal.wrt if grad else None
        u = proposal.u[rows].detach().clone().requires_grad_(grad)  # a decoder may work in place
        self.ledger.decodes += len(u)
        return self.generator.decode(self.generator.space.latents(u)), u if grad else None

    def _gradient(self, total: Tensor, wrt: Tensor, proposal: Scored, rows: slice) -> Tensor:
        self.ledger.score_grads += len(total)
        shared = isinstance(proposal, SamplesAt)  # other rows of the proposal still need its graph
        gradient = None
        if total.requires_grad:
            (gradient,) = torch.autograd.grad(total.sum(), wrt, retain_graph=shared, allow_unused=True)
        if gradient is None:  # the score did not depend on the latents this time
            gradient = torch.full_like(wrt, float("nan"))
        return (gradient[rows] if shared else gradient).detach().float().cpu()

    def _usable(self, gradient: Tensor, finite: Tensor) -> Tensor:
        """Return the gradient with rows that are no use set to zero, and count them."""
        good = torch.isfinite(gradient.flatten(1)).all(1)
        self.ledger.bad_gradients += int((finite & ~good).sum())
        return torch.where(spread(finite & good, gradient), gradient, 0.0)

    def _failed(self, proposal: Scored, rows: slice, reason: str, grad: bool) -> Batch:
        u, by = proposal.u[rows], _differentiated(proposal) if grad else None
        n = len(u)
        self.ledger.failures += n
        return Batch(
            u=u,
            score=torch.full((n,), float("-inf"), dtype=torch.float64),
            samples=[None] * n,
            final=is_final(proposal),
            grad=None if by is None else torch.zeros(n, *by.shape[1:]),
            given=torch.full_like(proposal.x[rows], float("nan")) if isinstance(proposal, Preview) else None,
            parts={term.name: torch.full((n,), float("nan"), dtype=torch.float64) for term in self.score.terms},
            failures=dict.fromkeys(range(n), reason),
        )


def _differentiated(proposal: Scored) -> Tensor | None:
    """Return what gradients of the score are taken by, None where the proposal asks for none."""
    if isinstance(proposal, Latents):
        return proposal.u
    return proposal.wrt if isinstance(proposal, SamplesAt) else proposal.x if proposal.grad else None


def values(
    score: Score, samples: Samples, n: int, t: Float[Tensor, " n"] | None = None
) -> tuple[Tensor, dict[str, Tensor]]:
    """Score n samples, each term of a combined score once; previews at their times.

    Raises:
        ShapeError: a score returned something else than one value a sample.
    """
    if not isinstance(score, Combined):
        return _checked(score, samples, n, t), {}
    parts = {term.name: _checked(term, samples, n, t) for term in score.terms}
    return score.rule(parts), parts


def _checked(score: Score, samples: Samples, n: int, t: Tensor | None) -> Tensor:
    value = score(samples) if t is None else score.at(t)(samples)
    if not isinstance(value, Tensor) or tuple(value.shape) != (n,):
        raise ShapeError(f"values of the score {score.name!r}", expected=f"({n},)", got=describe(value))
    return value


def join(batches: list[Batch]) -> Batch:
    """Put consecutive batches together."""
    failures: dict[int, str] = {}
    offset = 0
    for batch in batches:
        failures |= {offset + i: reason for i, reason in batch.failures.items()}
        offset += len(batch.score)
    names = list(dict.fromkeys(name for batch in batches for name in batch.parts))
    return Batch(
        u=torch.cat([batch.u for batch in batches]),
        score=torch.cat([batch.score for batch in batches]),
        samples=_join_samples(batches),
        parts={name: torch.cat([batch.parts[name] for batch in batches]) for name in names},
        grad=None if batches[0].grad is None else torch.cat([b.grad for b in batches if b.grad is not None]),
        failures=failures,
        final=batches[0].final,
        given=None if batches[0].given is None else torch.cat([b.given for b in batches if b.given is not None]),
    )


def _join_samples(batches: list[Batch]) -> Samples:
    return concatenated([batch.samples for batch in batches])


def concatenated(parts: list[Samples]) -> Samples:
    """Put consecutive batches of samples together: tensors into one, anything else into a list."""
    if all(isinstance(part, Tensor) for part in parts):
        return torch.cat(parts)
    return [row(part, i) for part in parts for i in range(len(part))]


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
