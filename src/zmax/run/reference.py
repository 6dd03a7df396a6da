"""Before a run has a folder: score prior draws for comparison, settle on a method, and find out what G and S can do."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from zmax.core.errors import CapabilityError, FailedRunError, InputError
from zmax.core.generator import Generator
from zmax.core.priors import EDGE
from zmax.core.proposal import Latents, Proposal, SamplesAt, Value
from zmax.core.rng import stream
from zmax.core.samples import row, take
from zmax.core.score import Score
from zmax.core.space import Space
from zmax.core.strategy import Need, Strategy
from zmax.run.answers import InOrder
from zmax.run.batch import Batch, join
from zmax.run.demands import require_gradients, require_latents
from zmax.run.evaluator import Evaluator
from zmax.run.identity import identity
from zmax.run.meter import Meter
from zmax.run.opening import check, same_judge
from zmax.run.resolve import steered
from zmax.run.views import PROBED
from zmax.store import paid_first

SIZE = 16
"""Samples of the prior scored first, for comparison; at most a twentieth of score calls and NFE, at least two."""

CLEAR = 1e-3
"""The first samples have failed too often once so few in a row would be likely at the share that may fail."""

Choice = Callable[[Generator, Score], tuple[Strategy[Any], str]]
"""Chooses a method for a generator and a score, and says why."""


@dataclass(frozen=True)
class Opening:
    """What is known before the run has a folder.

    Attributes:
        evaluator: of the generator as the method uses it.
        strategy: the method.
        reason: why it was chosen, where it was.
        proposal, reference: the reference batch.
    """

    evaluator: Evaluator
    strategy: Strategy[Any]
    reason: str
    proposal: Proposal
    reference: Batch


def opened(
    evaluator: Evaluator, choose: Choice | Strategy[Any], seed: int, batch_size: int, *, held: bool, most: float = 0.5
) -> Opening:
    """Score the reference batch and settle on a method that generator and score can serve.

    Where no first sample has a score, more are drawn, until it is clear that more than a share of `most` fail.

    Where points are `held` by a guard, so are those of the reference, since one of them may be the best.

    A method that is chosen here may steer the path of the generator; then the reference is drawn anew, from its noises.

    Raises:
        InputError: a score gives no value at all.
        CapabilityError: the method needs gradients or a path that generator or score cannot give.
    """
    needs, reason = frozenset({Need.GRADIENT, Need.JACOBIAN}), ""
    if isinstance(choose, Strategy):
        evaluator, needs = _along(evaluator, choose), needs & choose.needs
    proposal, reference = _scored(evaluator, seed, batch_size, held, most)
    check(evaluator, reference, _alive(reference))
    if evaluator.held_out is not None:
        _try_judge(evaluator, reference)
    probed = evaluator.budget.room(evaluator.ledger, PROBED, grads=1)
    if needs and probed:
        samples = take(reference.samples, _alive(reference)[:probed])
        evaluator.settle(samples if Need.GRADIENT in needs else None)
    if isinstance(choose, Strategy):
        strategy = choose
    else:
        strategy, reason = choose(evaluator.generator, evaluator.score)
        before, evaluator = evaluator, _along(evaluator, strategy)
        if evaluator is not before:
            proposal, reference = _scored(evaluator, seed, batch_size, held, most)
    if evaluator.budget.room(evaluator.ledger, 1):  # else the method will not run
        require_gradients(strategy, evaluator.generator, evaluator.score)
        require_latents(strategy, evaluator.score)
        _try_gradient(evaluator, strategy, reference, seed)
        _binds(evaluator, strategy)
    return Opening(evaluator, strategy, reason, proposal, reference)


@contextmanager
def kept_first(evaluator: Evaluator, folder: Path | None) -> Iterator[Evaluator]:
    """Yield the evaluator; what single samples score is kept in a folder until a run begins there, and found again."""
    score, judge = evaluator.score, evaluator.held_out
    if folder is None or not any(
        term.each for one in (score, judge) if one is not None for term in one.terms or (one,)
    ):
        yield evaluator
        return
    names = [evaluator.generator.name, score.name, "" if judge is None else judge.name]
    parts = {"names": names, **identity(evaluator.generator, score, judge)}
    with paid_first(folder, parts) as book:
        evaluator.answers.first = InOrder(book)
        yield evaluator


def tried(evaluator: Evaluator, seed: int, given: Tensor | None = None) -> None:
    """Score a few samples, show them to the judge, and find out whether gradients flow where nobody said so.

    They are the generator's own, or the first of those that are given.

    Raises:
        InputError: the score, or the judge, gives no value for any of them.
    """
    n = evaluator.budget.room(evaluator.ledger, PROBED)
    at = Latents(_first(evaluator, n, seed)) if given is None else SamplesAt(given[:n])
    with Meter(evaluator.generator.networks, evaluator.ledger):
        batch = _some_alive(evaluator, evaluator.evaluate(Proposal(at)))
        check(evaluator, batch, _alive(batch))
        if evaluator.held_out is not None:
            _try_judge(evaluator, batch)
        evaluator.settle(take(batch.samples, _alive(batch)))


def _first(evaluator: Evaluator, n: int, seed: int) -> Tensor:
    return evaluator.generator.space.sample(n, stream(seed, "reference"))


def _some_alive(evaluator: Evaluator, batch: Batch) -> Batch:
    """Return the batch, of which some sample has a score.

    Raises:
        InputError: none has.
    """
    if not _alive(batch):
        got = next(iter(batch.failures.values()))
        kind = FailedRunError if got.startswith(SystemExit.__name__) else InputError
        raise kind(
            f"{evaluator.score.name!r} gives no value for any first sample of {evaluator.generator.name!r}",
            got=f"{batch.rows} failures: {got}",
            remedy=_hint(evaluator.generator.space),
        )
    return batch


def _hint(space: Space) -> str:
    """Return what to look at where nothing gets a score."""
    hint = "call score(generator.decode(z)) by hand on a few latents; if few samples are valid, max_failures=1"
    one = next((block.shape for block in space.blocks if len(block.shape) > 1 and block.shape[0] == 1), None)
    return hint if one is None else f"{hint}; and if the 1 in shape={one} is the batch, leave it out: shape={one[1:]}"


def _along(evaluator: Evaluator, strategy: Strategy[Any]) -> Evaluator:
    """Return the evaluator of the generator as the method uses it."""
    generator = steered(strategy, evaluator.generator)
    return evaluator if generator is evaluator.generator else evaluator.beside(generator)


def _scored(evaluator: Evaluator, seed: int, batch_size: int, held: bool, most: float) -> tuple[Proposal, Batch]:
    """Score the reference batch, a few samples first, then as many as the budget allows.

    Raises:
        InputError: not one sample of it could be scored.
    """
    budget, ledger = evaluator.budget, evaluator.ledger
    calls = SIZE * 20 if budget.score_calls is None else budget.score_calls
    n = min(calls, max(PROBED, min(SIZE, calls // 20)))
    space = evaluator.generator.space
    u = _first(evaluator, n, seed)
    proposal = Proposal(Latents(space.retract(u, EDGE) if held else u))
    batches: list[Batch] = []
    done, size = 0, min(PROBED, batch_size)
    while (size := min(size, n - done)) > 0:
        batches.append(evaluator.evaluate(proposal, slice(done, done + size)))
        done, size = done + size, 0 if budget.reached(ledger) else budget.room(ledger, batch_size)
        if budget.nfe is not None and ledger.nfe:
            n = min(n, max(PROBED, budget.nfe * done // (20 * ledger.nfe)))
    found = join(batches)
    while not _alive(found) and most**found.rows > CLEAR and (size := _more(evaluator, batch_size, most, found.rows)):
        u = space.sample(size, stream(seed, "reference", found.rows))
        more = Proposal(Latents(space.retract(u, EDGE) if held else u))
        found = join([found, evaluator.evaluate(more)])
    proposal = Proposal(Latents(found.u)) if found.u is not None and found.rows > n else proposal
    return proposal, _some_alive(evaluator, found)


def _more(evaluator: Evaluator, batch_size: int, most: float, done: int) -> int:
    """Return how many samples to draw next, none once the budget is spent."""
    budget, ledger = evaluator.budget, evaluator.ledger
    clear = batch_size if most == 1 else math.ceil(math.log(CLEAR) / math.log(most)) - done
    return 0 if budget.reached(ledger) else budget.room(ledger, min(batch_size, clear))


def _try_judge(evaluator: Evaluator, reference: Batch) -> None:
    """Show the judge a few samples.

    Raises:
        InputError: it gives no value for any of them.
    """
    reasons: list[str] = []
    rows = _alive(reference)[:PROBED]
    found = evaluator.judge([row(reference.samples, i) for i in rows], reasons)
    same_judge(evaluator, reference.score[rows], found)
    if not any(map(math.isfinite, found)):
        assert evaluator.held_out is not None, "it was asked"
        name, got = evaluator.held_out.name, reasons[0] if reasons else "NaN"
        raise InputError(f"the held-out score {name!r} gives no value for a first sample", got=got)


def _try_gradient(evaluator: Evaluator, strategy: Strategy[Any], reference: Batch, seed: int) -> None:
    """Take one gradient through generator and score where the method will need them.

    Raises:
        InputError: the score fails once gradients are asked for.
        CapabilityError: no gradient reaches the latents.
    """
    if Need.GRADIENT not in strategy.needs:
        return
    assert reference.u is not None, "latents"
    first = _alive(reference)[0]
    generator, score = evaluator.generator.name, evaluator.score.name
    proposal = Proposal(Latents(reference.u[first : first + 1]), Value(grad="point"))
    if Need.PATH in strategy.needs:
        proposal = strategy.ask(strategy.init(evaluator.generator.space, stream(seed, "trial")))
    batch = evaluator.evaluate(proposal, slice(0, 1))
    if batch.failures:
        raise InputError(f"{score!r} over {generator!r} fails when gradients are asked for", got=batch.failures[0])
    if evaluator.ledger.bad_gradients:
        raise CapabilityError(
            f"no gradient reaches the latents of {generator!r} from {score!r}",
            remedy="choose a method that needs no gradient, such as 'cma' or 'snes'",
        )


def _binds(evaluator: Evaluator, strategy: Strategy[Any]) -> None:
    """Refuse a budget of which no limit can ever be reached."""
    budget, graded = evaluator.budget, Need.GRADIENT in strategy.needs
    grows = {"score_calls": True, "seconds": True, "nfe": evaluator.ledger.nfe > 0, "score_grads": graded}
    if not any(grows[name] for name, limit in vars(budget).items() if limit is not None):
        raise InputError(
            "this budget would never end the run",
            got=budget,
            remedy="add score_calls or seconds; NFE are counted on calls of the generator's networks, net(x)",
        )


def _alive(batch: Batch) -> list[int]:
    return [i for i in range(len(batch.score)) if i not in batch.failures]
