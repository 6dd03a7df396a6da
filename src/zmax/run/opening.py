"""Before a run has a folder: score prior draws for comparison, and find out whether gradients flow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from zmax.core.errors import CapabilityError, InputError
from zmax.core.generator import Generator
from zmax.core.rng import stream
from zmax.core.samples import row, take
from zmax.core.score import Score
from zmax.core.strategy import Latents, Proposal, Strategy
from zmax.run.configure import as_strategy, require_gradients
from zmax.run.evaluator import Batch, Evaluator, join
from zmax.run.judge import try_judge
from zmax.scores import CallableScore, probe_differentiable

REFERENCE_SIZE = 16
"""Samples of the prior scored first, for comparison; at most a twentieth of score calls and NFE, at least two."""

PROBED = 2

Rule = Callable[[Generator, Score], tuple[str, str]]
"""Chooses a method for a generator and a score, and says why."""


@dataclass(frozen=True)
class Opening:
    """What is known before the run has a folder."""

    strategy: Strategy[Any]
    reason: str
    reference: Batch


def open_run(
    evaluator: Evaluator,
    strategy: Strategy[Any] | None,
    held_out: Score | None,
    seed: int,
    batch_size: int,
    *,
    rule: Rule,
    params: dict[str, Any],
) -> Opening:
    """Score the reference batch and settle on a method that generator and score can serve.

    Where none is given, the rule chooses one, which gets the parameters.

    Raises:
        InputError: the method is not known, or a score gives no value at all.
        CapabilityError: the method needs gradients that generator or score cannot give.
    """
    generator, score, reason = evaluator.generator, evaluator.score, ""
    reference = score_reference(evaluator, seed, batch_size)
    if held_out is not None:
        alive = _alive(reference)[:PROBED]
        try_judge(held_out, [row(reference.samples, i) for i in alive], evaluator.ledger)
    if strategy is None or strategy.needs_grad:
        settle_gradients(evaluator, reference)
    if strategy is None:
        method, reason = rule(generator, score)
        strategy = as_strategy(method, params)
    require_gradients(strategy, generator, score)
    try_gradient(evaluator, strategy, reference, seed)
    _binds(evaluator, strategy)
    return Opening(strategy, reason, reference)


def score_reference(evaluator: Evaluator, seed: int, batch_size: int) -> Batch:
    """Score the reference batch, a few samples first, then as many as the budget allows.

    Raises:
        InputError: not one sample of it could be scored.
    """
    budget, ledger = evaluator.budget, evaluator.ledger
    n = REFERENCE_SIZE if budget.score_calls is None else max(PROBED, min(REFERENCE_SIZE, budget.score_calls // 20))
    proposal = Latents(evaluator.generator.space.sample(n, stream(seed, "reference")))
    batches: list[Batch] = []
    done, size = 0, PROBED
    while (size := min(size, n - done)) > 0:
        batches.append(evaluator.evaluate(proposal, slice(done, done + size), grad=False))
        done, size = done + size, 0 if budget.reached(ledger) else budget.room(ledger, batch_size)
        if budget.nfe is not None and ledger.nfe:
            n = min(n, max(PROBED, budget.nfe * done // (20 * ledger.nfe)))
    batch = join(batches)
    if not _alive(batch):
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
        alive = _alive(reference)[:PROBED]
        ledger.score_calls += len(alive)
        ledger.score_grads += len(alive)
        probe_differentiable(score, take(reference.samples, alive))


def try_gradient(evaluator: Evaluator, strategy: Strategy[Any], reference: Batch, seed: int) -> None:
    """Take one gradient through generator and score where the method will need them.

    Raises:
        InputError: the score fails once gradients are asked for.
        CapabilityError: no gradient reaches the latents.
    """
    if not strategy.needs_grad:
        return
    first = _alive(reference)[0]
    generator, score = evaluator.generator.name, evaluator.score.name
    proposal: Proposal = Latents(reference.u[first : first + 1])
    if strategy.needs_path:
        proposal = strategy.ask(strategy.init(evaluator.generator.space, stream(seed, "trial")))
    batch = evaluator.evaluate(proposal, slice(0, 1), grad=True)
    if batch.failures:
        raise InputError(f"{score!r} over {generator!r} fails when gradients are asked for", got=batch.failures[0])
    if evaluator.ledger.bad_gradients:
        raise CapabilityError(
            f"no gradient reaches the latents of {generator!r} from {score!r}",
            remedy="choose a method that needs no gradient, such as 'cma' or 'snes'",
        )


def _binds(evaluator: Evaluator, strategy: Strategy[Any]) -> None:
    """Refuse a budget of which no limit can ever be reached."""
    budget = evaluator.budget
    grows = {"score_calls": True, "seconds": True, "nfe": evaluator.ledger.nfe > 0, "score_grads": strategy.needs_grad}
    if not any(grows[name] for name, limit in vars(budget).items() if limit is not None):
        raise InputError(
            "this budget would never end the run",
            got=budget,
            remedy="add score_calls or seconds; NFE are counted on calls of the generator's networks, net(x)",
        )


def _alive(batch: Batch) -> list[int]:
    return [i for i in range(len(batch.score)) if i not in batch.failures]
