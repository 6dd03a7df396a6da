"""Before a run has a folder: score prior draws for comparison, and find out whether gradients flow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from zmax.core.budget import Budget
from zmax.core.errors import InputError
from zmax.core.rng import stream
from zmax.core.samples import take
from zmax.core.strategy import Latents, Strategy
from zmax.diagnose import choose
from zmax.run.configure import AUTO, as_strategy, require_gradients
from zmax.run.evaluator import Batch, Evaluator
from zmax.scores import CallableScore, probe_differentiable

REFERENCE_SIZE = 16
"""Samples of the prior scored first, for comparison; at most a twentieth of the score calls, at least two."""

PROBED = 2


@dataclass(frozen=True)
class Opening:
    """What is known before the run has a folder."""

    strategy: Strategy[Any]
    reason: str
    reference: Batch


def open_run(
    evaluator: Evaluator,
    method: str | Strategy[Any],
    params: dict[str, Any],
    budget: Budget,
    seed: int,
    batch_size: int,
) -> Opening:
    """Score the reference batch and settle on a method that generator and score can serve.

    Raises:
        InputError: the method is not known, or not one sample could be scored.
        CapabilityError: the method needs gradients that generator or score cannot give.
    """
    generator, score, reason = evaluator.generator, evaluator.score, ""
    strategy = None if method == AUTO else as_strategy(method, params)
    reference = score_reference(evaluator, budget, seed, batch_size)
    if strategy is None or strategy.needs_grad:
        settle_gradients(evaluator, reference)
    if strategy is None:
        method, reason = choose(generator, score)
        strategy = as_strategy(method, params)
    require_gradients(strategy, generator, score)
    try_gradient(evaluator, strategy, reference)
    return Opening(strategy, reason, reference)


def score_reference(evaluator: Evaluator, budget: Budget, seed: int, batch_size: int) -> Batch:
    """Score the reference batch.

    Raises:
        InputError: not one sample of it could be scored.
    """
    n = REFERENCE_SIZE if budget.score_calls is None else max(2, min(REFERENCE_SIZE, budget.score_calls // 20))
    u = evaluator.generator.space.sample(min(n, batch_size), stream(seed, "reference"))
    batch = evaluator.evaluate(Latents(u), slice(0, len(u)), grad=False)
    if len(batch.failures) == len(u):
        raise InputError(
            f"{evaluator.score.name!r} gives no value for any first sample of {evaluator.generator.name!r}",
            got=next(iter(batch.failures.values())),
            remedy="call score(generator.decode(z)) by hand on a few latents",
        )
    return batch


def settle_gradients(evaluator: Evaluator, reference: Batch) -> None:
    """Probe a score that never said whether it is differentiable, on two samples that are charged."""
    score, ledger = evaluator.score, evaluator.ledger
    undecided = any(isinstance(term, CallableScore) and term.declared is None for term in score.terms or (score,))
    if undecided and evaluator.generator.differentiable:
        alive = [i for i in range(len(reference.score)) if i not in reference.failures][:PROBED]
        ledger.score_calls += len(alive)
        ledger.score_grads += len(alive)
        probe_differentiable(score, take(reference.samples, alive))


def try_gradient(evaluator: Evaluator, strategy: Strategy[Any], reference: Batch) -> None:
    """Take one gradient through generator and score where the method will need them.

    Raises:
        CapabilityError: none reaches the latents.
    """
    if strategy.needs_grad:
        evaluator.evaluate(Latents(reference.u[:1]), slice(0, 1), grad=True)
