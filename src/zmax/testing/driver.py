"""A few rounds of a strategy without a budget, a journal or a meter, for tests of strategies alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from zmax.core.budget import Ledger
from zmax.core.generator import Generator
from zmax.core.rng import stream
from zmax.core.rows import spread
from zmax.core.samples import Samples
from zmax.core.score import Score
from zmax.core.strategy import (
    Evaluation,
    Latents,
    Preview,
    Proposal,
    Pullback,
    Pushforward,
    SamplesAt,
    Strategy,
    is_final,
)
from zmax.run.previews import plausibility, pooled, show
from zmax.run.products import pull_back, push_forward

Spoil = Callable[[Evaluation], Evaluation]
"""Changes what a strategy is told, to see how it takes it."""


@dataclass(frozen=True)
class Trace:
    """What a driven strategy proposed and was told, round by round.

    Attributes:
        state: the last state.
        proposals: one a round.
        evaluations: one a round, as the strategy was told.
    """

    state: Any
    proposals: tuple[Proposal, ...]
    evaluations: tuple[Evaluation, ...]

    @property
    def best(self) -> float:
        """Best score of any sample that G makes and that did not fail."""
        rounds = zip(self.proposals, self.evaluations, strict=True)
        found = [round_best(evaluation) for proposal, evaluation in rounds if is_final(proposal)]
        return max(found, default=float("-inf"))


def round_best(evaluation: Evaluation) -> float:
    """Return the best score of one round, -inf if all failed or none was scored."""
    if not len(evaluation.score):
        return float("-inf")
    return max(evaluation.score.where(evaluation.ok, float("-inf")).tolist(), default=float("-inf"))


def evaluate(
    proposal: Proposal, generator: Generator, score: Score, *, first_id: int = 0, needs_grad: bool = False
) -> Evaluation:
    """Score a proposal; values that are not finite are failures, gradients there are zero.

    Returns:
        Scores and gradients in float32 on the CPU, as the loop of :mod:`zmax.run` gives them, with the samples.
    """
    if isinstance(proposal, (Pullback, Pushforward)):
        return _product(proposal, generator, first_id)
    given: Tensor | None = None
    with torch.set_grad_enabled(needs_grad):
        if isinstance(proposal, Preview):
            shown = show(generator, proposal, grad=needs_grad)
            wrt, samples, given = shown.wrt, shown.samples, shown.x_0.cpu()
            if not proposal.scored:
                return _unscored(given, first_id)
            values = pooled(score(samples), proposal)
        elif isinstance(proposal, Latents):
            wrt = proposal.u.detach().clone().requires_grad_(needs_grad)
            samples = generator.decode(generator.space.latents(wrt))
            values = score(samples)
        else:
            wrt, samples, values = proposal.wrt, proposal.x, score(proposal.x)
    grad = None
    if needs_grad and wrt is not None:
        shared = isinstance(proposal, SamplesAt)
        grad = torch.autograd.grad(values.sum(), wrt, retain_graph=shared)[0].float().cpu()
    samples = samples if given is None else given
    typical = plausibility(generator.space, proposal.u).float()
    return _evaluation(values.detach().float().cpu(), grad, samples, typical, first_id)


def _evaluation(total: Tensor, grad: Tensor | None, samples: Samples, typical: Tensor, first_id: int) -> Evaluation:
    ok = torch.isfinite(total)
    if grad is not None:
        keep = ok & torch.isfinite(grad.flatten(1)).all(1)
        grad = torch.where(spread(keep, grad), grad, 0.0)
    return Evaluation(
        score=torch.where(ok, total, float("-inf")),
        ok=ok,
        plausibility=typical,
        ids=range(first_id, first_id + len(total)),
        grad=grad,
        failures=dict.fromkeys((~ok).nonzero().flatten().tolist(), "the score is not finite"),
        samples=samples.detach().cpu() if isinstance(samples, Tensor) else samples,
    )


def _unscored(x_0: Tensor, first_id: int) -> Evaluation:
    """Return previews that nothing scored."""
    good, none = torch.isfinite(x_0.flatten(1)).all(1), torch.zeros(0)
    return Evaluation(none, good, none, range(first_id, first_id), samples=x_0)


def _product(proposal: Pullback | Pushforward, generator: Generator, first_id: int) -> Evaluation:
    """Return a Jacobian product, which scores nothing."""
    u = proposal.u.detach().clone()
    if isinstance(proposal, Pullback):
        product, samples = pull_back(generator, u, proposal.cotangent)
    else:
        product, samples = push_forward(generator, u, proposal.tangent, Ledger())
    grad, none = product.detach().float().cpu(), torch.zeros(0)
    finite = torch.isfinite(grad.flatten(1)).all(1)
    grad = torch.where(spread(finite, grad), grad, 0.0)
    return Evaluation(none, grad.flatten(1).any(1), none, range(first_id, first_id), grad, samples=samples.cpu())


def drive(
    strategy: Strategy[Any],
    generator: Generator,
    score: Score,
    rounds: int,
    seed: int = 0,
    *,
    spoil: Spoil | None = None,
) -> Trace:
    """Run `rounds` rounds of ask, evaluate and tell from a fresh state.

    Args:
        strategy: the strategy.
        generator: decodes its proposals.
        score: judges them.
        rounds: number of rounds.
        seed: seed of the strategy's random stream.
        spoil: changes each evaluation before the strategy is told.

    Returns:
        The last state and all that was asked and told.

    Example::

        law, S = linear_gaussian(torch.eye(4)), quadratic_score(torch.eye(4), torch.ones(4))
        trace = drive(MyStrategy(), law.generator(), S, rounds=20)
        print(trace.best, law.tilt(S).argmax())
    """
    state = strategy.init(generator.space, stream(seed, "method"))
    return proceed(strategy, generator, score, state, rounds, spoil=spoil)


def proceed(
    strategy: Strategy[Any], generator: Generator, score: Score, state: Any, rounds: int, *, spoil: Spoil | None = None
) -> Trace:
    """Run `rounds` rounds from a given state."""
    proposals: list[Proposal] = []
    evaluations: list[Evaluation] = []
    first_id = 0
    for _ in range(rounds):
        proposal = strategy.ask(state)
        evaluation = evaluate(proposal, generator, score, first_id=first_id, needs_grad=strategy.needs_grad)
        evaluation = evaluation if spoil is None else spoil(evaluation)
        state = strategy.tell(state, evaluation)
        first_id += len(evaluation.score)
        proposals.append(proposal)
        evaluations.append(evaluation)
    return Trace(state, tuple(proposals), tuple(evaluations))
