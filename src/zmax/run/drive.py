"""Run the loop from where the journal stands, then see to what is kept and write down the end."""

from __future__ import annotations

from zmax.core.budget import Ledger
from zmax.core.errors import FailedRunError
from zmax.core.rng import stream
from zmax.core.state import restore
from zmax.results.result import Result
from zmax.run.confirm import confirm_leaders, loop_budget
from zmax.run.draws import keep_draws
from zmax.run.elites import keep_elites
from zmax.run.evaluator import Batch, Evaluator
from zmax.run.events import Listener
from zmax.run.judge import judge_kept
from zmax.run.loop import Loop, Place, Problem
from zmax.run.progress import as_listener
from zmax.store import REFERENCE, Journal


def drive(
    problem: Problem, journal: Journal, ledger: Ledger, progress: bool | Listener | None, reference: Batch | None
) -> Result:
    """Run a problem from the position in its journal to the end of its budget.

    Raises:
        FailedRunError: too many evaluations failed.
    """
    listener = as_listener(progress)
    place = _place(problem, journal, reference)
    if journal.get("failed"):
        journal.forget_failures(place.round)
    for key, value in {"failed": "", "stop_reason": "not finished"}.items():
        journal.set(key, value)
    loop = Loop(problem, journal, ledger, listener, loop_budget(problem))
    reason, failed = "failed", None
    listener.started(problem.spec)
    try:
        reason = loop.run(place, reference)
    except FailedRunError as error:
        journal.set("failed", str(error))
        reason, failed = f"failed: {error}", error
    finally:
        listener.finished(reason)
        loop.close(reason)
    try:
        _finish(problem, journal, ledger, reason)
    except KeyboardInterrupt:
        reason = "interrupted"
    loop.close(reason)
    result = Result(journal)
    if failed is not None:
        failed.result = result
        raise failed
    return result


def _finish(problem: Problem, journal: Journal, ledger: Ledger, reason: str) -> None:
    """Score the leaders of a noisy score again, decode draws or elites, and ask the held-out judge."""
    evaluator = Evaluator(problem.generator, problem.score, ledger, problem.spec.budget)
    if problem.score.noisy and reason != "interrupted":
        confirm_leaders(evaluator, journal, problem.spec)
    if problem.spec.verb == "sample":
        keep_draws(evaluator, journal, problem.spec)
    if problem.strategy.needs_samples:
        keep_elites(evaluator, journal, problem.spec)
    if problem.held_out is not None:
        judge_kept(problem.held_out, journal, ledger, problem.spec.batch_size)


def _place(problem: Problem, journal: Journal, reference: Batch | None) -> Place:
    """Return where the method stood at the last checkpoint, or its beginning."""
    state = problem.strategy.init(problem.generator.space, stream(problem.spec.seed, "method"))
    position = journal.last_checkpoint()
    if position is not None:
        return Place(restore(state, position.state), position.round, position.next_id)
    first = journal.find(REFERENCE, 0) if reference is None else reference
    assert first is not None, "a run without a reference batch evaluates one first"
    return Place(state, 0, len(first.score))
