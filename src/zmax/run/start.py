"""Start a run of either verb, or go on with one: open, loop, see to what is kept, write down the end."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from zmax.core.budget import Budget, Ledger
from zmax.core.errors import FailedRunError, ZmaxWarning
from zmax.core.generator import Generator
from zmax.core.rng import stream
from zmax.core.score import Score
from zmax.core.setting import NATURAL
from zmax.core.settings import Settings, among
from zmax.core.start import Start
from zmax.core.state import restore
from zmax.core.strategy import Need, Strategy
from zmax.diagnose import choose as choose_method
from zmax.results.result import Result
from zmax.results.spec import RunSpec, Spec
from zmax.run import begin as beginning
from zmax.run import kept, resolve
from zmax.run.brought import brought
from zmax.run.evaluator import Evaluator
from zmax.run.front import keep_front, settle, settled
from zmax.run.identity import identity
from zmax.run.inverse import distance
from zmax.run.limits import Limits, learned, limits_of
from zmax.run.loop import Loop, Place, Problem
from zmax.run.meter import Meter
from zmax.run.progress import Listener, as_listener
from zmax.run.recorder import Recorder
from zmax.run.reference import Opening, kept_first, opened
from zmax.run.repeats import loop_budget, repeat_leaders
from zmax.run.surroundings import at_work
from zmax.run.toll import toll_of
from zmax.run.truncated import truncate
from zmax.scores import score as as_score
from zmax.store import NOT_FINISHED, REFERENCE, Journal, begun

SEARCH = 500
"""Decodes of the search that inverts a sample."""


@dataclass(frozen=True)
class Verb:
    """What tells one verb from another.

    Attributes:
        name: "maximize" or "sample".
        rule: chooses the name of a method when the user leaves it to us, and says why.
        params: arguments that every method of this verb is given.
    """

    name: str
    rule: Callable[[Generator, Score], tuple[str, str]]
    params: dict[str, Any] = field(default_factory=dict)


def start(
    verb: Verb,
    generator: Generator | str,
    score: Any,
    method: str | Strategy[Any],
    *,
    budget: int | Budget,
    params: Mapping[str, object] | None,
    held_out: Any,
    out: str | Path | None,
    progress: bool | Listener | None,
    guard: str = "retract",
    at: Any = None,
    **settings: Any,
) -> Result:
    """Start and finish a run; arguments are those of `maximize` and `sample`, whose `start` is called `at` here.

    Raises:
        InputError: something named does not exist, does not fit, or fails on the reference batch.
        FailedRunError: too many evaluations failed on the way; what was scored is kept in `out`.
    """
    began, limits = time.monotonic(), Budget.of(budget)
    asked = among(Settings, settings | {"guard": guard, "held_out": held_out})
    wanted = {**verb.params, **(params or {})}
    choose = _by_rule(verb, wanted, guard) if method == resolve.AUTO else resolve.as_strategy(method, wanted, guard)
    beginning.require(choose, at)
    with begun(out) as folder:
        (g, s, h), ledger = resolve.parts(generator, score, held_out, front=verb.name == "maximize"), Ledger()
        evaluator = Evaluator(g, s, ledger, limits, h)
        with at_work(g, s, h), Meter(g.networks, ledger), closing(evaluator):
            held, listener = resolve.held(verb.name, guard), as_listener(progress)
            with kept_first(evaluator, folder):
                opening = opened(evaluator, choose, asked.seed, asked.batch_size, held=held, most=asked.max_failures)
                opening = settled(opening)
                first = _first(opening, g, at, asked)
                opening.evaluator.limits = limits_of(s, opening.reference, _temperature(verb.name, opening.strategy))
                ledger.seconds = time.monotonic() - began
                source = resolve.method_source(method, opening.strategy)
                facts = beginning.named(named(opening.evaluator.generator, s, h, source, opening.strategy), at, first)
                spec = RunSpec(verb=verb.name, budget=limits, reason=opening.reason, **(vars(asked) | facts))
                journal = _journal(opening, spec, listener, folder, first)
            strategy = beginning.started(resolve.guarded(opening.strategy, spec, s.goals), first)
            problem = Problem(opening.evaluator.generator, s, strategy, h, spec)
            return run_on(problem, journal, opening.evaluator, listener)


def _by_rule(verb: Verb, wanted: dict[str, Any], guard: str) -> Callable[[Generator, Score], tuple[Strategy[Any], str]]:
    """Return what chooses the method once G and S are known, and says why."""

    def chosen(g: Generator, s: Score) -> tuple[Strategy[Any], str]:
        name, reason = verb.rule(g, s)
        return resolve.as_strategy(name, wanted, guard), reason

    return chosen


def _first(opening: Opening, g: Generator, at: Any, asked: Settings) -> Start | None:
    """Return where the run begins, None if from the prior.

    Raises:
        InputError: what the user gave cannot be brought into the latents of the generator, or its scores are not S's.
    """
    if at is None:
        return None
    evaluator = opening.evaluator

    def search(x: Tensor) -> Tensor:
        nearest = as_score(distance(x), name="distance to the start", differentiable=bool(g.differentiable))
        verb, nothing = Verb("maximize", _nearest), {"params": None, "held_out": None, "out": None}
        given: dict[str, Any] = {**nothing, "budget": SEARCH, "progress": False, "seed": asked.seed, "keep": 1}
        found = start(verb, evaluator.generator, nearest, resolve.AUTO, **given)
        evaluator.ledger.decodes += found.ledger.decodes
        return found.best.u

    shown = opening.reference.samples
    made = beginning.placed(evaluator, g, brought(at, g.space, shown), shown, asked, search)
    beginning.confirm(evaluator, made)
    return beginning.along_path(evaluator, made, opening.strategy)


def _nearest(g: Generator, s: Score) -> tuple[str, str]:
    return ("lbfgs", "") if g.differentiable and s.differentiable else choose_method(g, s)


def run_on(problem: Problem, journal: Journal, evaluator: Evaluator, listener: Listener) -> Result:
    """Run a problem from the position in its journal to the end of its budget.

    Raises:
        FailedRunError: too many evaluations failed.
    """
    with closing(journal):
        place = _place(problem, journal)
        settle(problem.score, journal)
        if problem.spec.guard == NATURAL:
            _set_toll(evaluator, journal)
        evaluator.limits = _limits(problem, journal, place.round)
        kept.revive(evaluator, journal, problem.spec)
        start_again(journal, place.round)
        budget = loop_budget(problem.spec, problem.score.noisy)
        recorder = recorder_of(problem.spec, journal, evaluator, budget, listener)
        reason, failed = "failed", None
        listener.started(problem.spec)
        try:
            reason = Loop(problem, evaluator, recorder, budget).run(place)
        except FailedRunError as error:
            reason, failed = f"failed: {error}", error
        finally:
            listener.finished(reason)
            recorder.close(reason)
        try:
            _finish(problem, journal, evaluator, reason)
        except KeyboardInterrupt:
            reason = "interrupted"
            recorder.forget_unpaid()
        recorder.close(reason, failed)
    result = Result(journal)
    if result.leaders and not result.leaders[0].feasible:
        warnings.warn(result.meeting, ZmaxWarning, stacklevel=3)
    if failed is not None:
        failed.result = result
        raise failed
    return result


def start_again(journal: Journal, round_: int) -> None:
    """Note that the run goes on; what made it fail is tried again, from that round on."""
    with journal.together():
        journal.answers.go_on(died=journal.get("stop_reason") == NOT_FINISHED)
        if journal.get("failed"):
            journal.forget_failures(round_)
        journal.put_facts({"failed": "", "stop_reason": NOT_FINISHED})


def _limits(problem: Problem, journal: Journal, round_: int) -> Limits | None:
    """Return what missed constraints cost before that round."""
    first = journal.find(REFERENCE, 0)
    assert first is not None, "a journal begins with the reference batch"
    limits = limits_of(problem.score, first, _temperature(problem.spec.verb, problem.strategy))
    return learned(limits, journal, round_)


def _temperature(verb: str, strategy: Strategy[Any]) -> float | None:
    """Return the temperature of the law that is drawn from, None where none is."""
    return float(strategy.temperature) if verb == "sample" else None  # type: ignore[attr-defined]


def _set_toll(evaluator: Evaluator, journal: Journal) -> None:
    """Let the method pay for being unnatural; the measure of that is charged once, also where it is made again."""
    first, before = journal.find(REFERENCE, 0), evaluator.ledger.copy()
    assert first is not None, "a journal begins with the reference batch"
    evaluator.toll = evaluator.measured(lambda: toll_of(evaluator.generator, first.score))
    if journal.get("tolled"):
        evaluator.ledger.take(before)
    journal.put_facts({"tolled": True, "ledger": vars(evaluator.ledger)})


def _journal(opening: Opening, spec: RunSpec, listener: Listener, folder: Path | None, first: Start | None) -> Journal:
    """Start the journal with the reference batch, so that a run in a folder has one, and what is known of a start."""

    def begin(journal: Journal) -> None:
        limits = loop_budget(spec, opening.evaluator.score.noisy)
        recorder = recorder_of(spec, journal, opening.evaluator, limits, listener)
        recorder.write(opening.proposal, opening.reference, REFERENCE, 0, 0)
        if first is not None:
            beginning.write(journal, recorder, opening, first, spec.keep)

    return Journal.create(folder, opening_facts(spec, opening.evaluator), begin)


def opening_facts(spec: Spec, evaluator: Evaluator) -> dict[str, Any]:
    """Return what is written down of any run before it begins."""
    g, s, h = evaluator.generator, evaluator.score, evaluator.held_out
    paid = dict.fromkeys(("ledger", "ledger at opening"), vars(evaluator.ledger))
    said = {"warnings": evaluator.remarks.lines, "noisy": s.noisy}
    return {"spec": spec.as_json(), "identity": identity(g, s, h)} | paid | said


def recorder_of(spec: RunSpec, journal: Journal, evaluator: Evaluator, budget: Budget, listener: Listener) -> Recorder:
    """Return what writes down a run of that spec."""
    return Recorder(journal, evaluator, budget, listener, keep=spec.keep, patience=spec.patience)


def named(g: Generator, s: Score, h: Score | None, method: str, strategy: object) -> dict[str, Any]:
    """Return what the record of a run says of its generator, its scores and its method."""
    params = resolve.parameters(strategy)
    return {
        "method": method,
        "params": params,
        "generator": g.source or g.name,
        "score": s.source or s.name,
        "held_out": None if h is None else h.source or h.name,
        "objects": resolve.nameless(g, s, h, method, params),
        "modality": g.modality,
        "device": g.device,
        "workers": s.workers,
        "unit": s.unit,
        "constraints": tuple((c.judge.name, c.symbol, c.bound) for c in s.constraints),
        "goals": () if s.goals is None else s.goals.names,
        "held_out_unit": "" if h is None else h.unit,
    }


def _place(problem: Problem, journal: Journal) -> Place:
    """Return where the method stood at the last checkpoint, or its beginning."""
    state = problem.strategy.init(problem.generator.space, stream(problem.spec.seed, "method"))
    position = journal.last_checkpoint()
    if position is not None:
        return Place(restore(state, position.state), position.round, position.next_id)
    first = journal.find(REFERENCE, 0)
    assert first is not None, "a journal begins with the reference batch"
    return Place(state, 0, len(first.score))


def _finish(problem: Problem, journal: Journal, evaluator: Evaluator, reason: str) -> None:
    """Score the leaders of a noisy score again, decode draws or elites, and ask the held-out judge."""
    if not problem.score.noisy:
        kept.choose_leaders(evaluator, journal, problem.spec)
    if resolve.held(problem.spec.verb, problem.spec.guard):
        kept.note_rim(evaluator, journal)
    if problem.score.noisy and reason != "interrupted":
        repeat_leaders(evaluator, journal, problem.spec)
    if problem.spec.verb == "sample":
        kept.weigh_prior(evaluator, journal, problem.strategy.temperature)  # type: ignore[attr-defined]
        truncate(evaluator, journal)
        kept.keep_draws(evaluator, journal, problem.spec)
    if Need.DESCRIPTOR in problem.strategy.needs:
        kept.keep_elites(evaluator, journal, problem.spec)
    keep_front(evaluator, journal, problem.spec)
    if reason != "interrupted":
        kept.measure_kept(evaluator, journal)
    if problem.held_out is not None:
        kept.judge_kept(evaluator, journal, problem.spec)
