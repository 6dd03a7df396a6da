"""Go on with a run that ended early, or give a finished one a larger budget."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from zmax.condition.scratch import fitted
from zmax.core.budget import Budget, Ledger
from zmax.core.errors import InputError
from zmax.core.generator import Generator
from zmax.core.score import Score
from zmax.core.strategy import Strategy
from zmax.core.tuner import Tuner, conditioners
from zmax.results.conditioning import ConditionResult
from zmax.results.result import Result
from zmax.results.spec import KINDS, ConditionSpec, Spec, TuneSpec
from zmax.results.tuning import TuneResult
from zmax.run import begin, resolve
from zmax.run.condition import scores
from zmax.run.evaluator import Evaluator
from zmax.run.front import settle
from zmax.run.given import Given
from zmax.run.identity import require_same
from zmax.run.learning import Course
from zmax.run.loop import Problem
from zmax.run.meter import Meter
from zmax.run.processes import Crew, launched
from zmax.run.progress import Listener, as_listener
from zmax.run.start import run_on
from zmax.run.surroundings import at_work
from zmax.run.tuning import Job, job_child, tune_on
from zmax.store import Journal, held


def resume(
    folder: str | Path,
    generator: Generator | str | None = None,
    score: Any = None,
    held_out: Any = None,
    *,
    method: Strategy[Any] | Tuner[Any] | None = None,
    budget: int | Budget | None = None,
    max_failures: float | None = None,
    workers: int | None = None,
    accept_changes: bool = False,
    progress: bool | Listener | None = None,
) -> Result | TuneResult | ConditionResult:
    """Go on with a run that was killed, interrupted, stopped by failures, or should get a larger budget.

    On the CPU it ends bit for bit where the uninterrupted run ends. What was journalled is never evaluated again,
    except failures of a run that a failing score had stopped, and one sample of the reference, without charge, which
    must score as it did. Loading parts by name runs the code that they name.

    Args:
        folder: the run's folder.
        generator, score, held_out, method: needed only where the run was given objects that live in a program.
        budget: new limits instead of the recorded ones.
        max_failures: another share of failing evaluations above which the run stops; what has failed is then left so.
        workers: another number of processes that score samples, one sample each.
        accept_changes: go on although code, weights or versions are no longer those that the run was started with.
        progress: as in `maximize`.

    Returns:
        The result of the whole run.

    Raises:
        InputError: there is no run, or it is already running; its generator or score cannot be loaded by name, or its
            device is not here.
        StoreError: code, weights, torch or the machine changed so that the run cannot be repeated exactly; or its file
            is damaged.
    """
    spec, journal, crew = _opened(folder)
    spec, journal, crew = _opened(folder)
    with crew.alone(held, folder), closing(journal):
        _require(spec, {"generator": generator, "score": score, "held_out": held_out, "method": method}, folder)
        judge = spec.held_out if held_out is None else held_out
        g, h = resolve.as_generator(generator or spec.generator), None if judge is None else resolve.as_score(judge)
        named = spec.score if score is None else score
        s, names = scores(named) if isinstance(spec, ConditionSpec) else (resolve.as_score(named), ())
        g, s, h = resolve.of_sets(g, s), resolve.told(s, g), None if h is None else resolve.told(h, g)
        settle(s, journal)
        s.noisy = s.noisy or journal.get("noisy", False)
        if isinstance(generator or spec.generator, str) and g.device != spec.device:
            g.to(spec.device)
        spec = _changed(spec, budget, {"max_failures": max_failures, "workers": workers})
        if spec.workers is not None:
            s.hire(spec.workers)
        tolerant = max_failures is not None
        parts = Resumed(g, s, h, method or spec.method, {} if method else spec.params, names, accept_changes, tolerant)
        with at_work(g, s, h):
            return _gone_on(spec, journal, crew, parts, as_listener(progress))


@dataclass(frozen=True)
class Resumed:
    """The parts that a run goes on with.

    Attributes:
        accept: whether they may be others than those of the start.
        tolerant: whether what has failed is left so.
    """

    generator: Generator
    score: Score
    judge: Score | None
    method: Any
    params: dict[str, Any]
    names: tuple[str, ...]
    accept: bool
    tolerant: bool

    def note(self, spec: Spec, journal: Journal, g: Generator, listener: Listener) -> None:
        """Refuse other parts than those of the start; write down what is asked now, and show what was accepted.

        Raises:
            StoreError: see :func:`require_same`.
        """
        changed = require_same(journal, g, self.score, self.judge, accept=self.accept)
        journal.put_facts({"spec": spec.as_json()} | ({"failed": ""} if self.tolerant else {}))
        for line in changed:
            listener.noted(f"changed since the start: {line}")


def _gone_on(
    spec: Spec, journal: Journal, crew: Crew, parts: Resumed, listener: Listener
) -> Result | TuneResult | ConditionResult:
    g, s, h = parts.generator, parts.score, parts.judge
    if isinstance(spec, TuneSpec):
        tuner = resolve.as_tuner(parts.method, parts.params)
        parts.note(spec, journal, g, listener)
        ledger = _at_opening(journal)
        return tune_on(Job(spec, g, s, h, tuner, job_child(tuner, g, spec), journal, ledger, crew), listener)
    if isinstance(spec, ConditionSpec):
        tuner = resolve.as_tuner(parts.method, parts.params, conditioners)
        brought, g = Given.kept(journal), resolve.steered(tuner, g)
        if brought is not None:
            fitted(g, brought.x)
        parts.note(spec, journal, g, listener)
        return Course(spec, g, s, h, tuner, journal, _at_opening(journal), parts.names, brought).learn_on(listener)
    strategy = resolve.as_strategy(parts.method, parts.params)
    g = resolve.steered(strategy, g)
    parts.note(spec, journal, g, listener)
    ledger = journal.ledger()
    with Meter(g.networks, ledger), closing(Evaluator(g, s, ledger, spec.budget, h)) as evaluator:
        begun = begin.started(resolve.guarded(strategy, spec, s.goals), begin.kept(journal, spec.strength))
        problem = Problem(g, s, begun, h, spec)
        return run_on(problem, journal, evaluator, listener)


def _at_opening(journal: Journal) -> Ledger:
    """Return what a run that trains had cost when it began: it is charged again for what it goes through again."""
    ledger = Ledger(**journal.get("ledger at opening"))
    ledger.seconds = journal.ledger().seconds
    return ledger


def raised(spec: Spec, budget: Budget) -> Spec:
    """Return a spec with another budget; a condition still learns from as much, and compares as much."""
    if isinstance(spec, ConditionSpec):
        spec = replace(spec, draws=spec.drawn, checked=spec.compared)
    return replace(spec, budget=budget)


def _changed(spec: Spec, budget: int | Budget | None, settings: Mapping[str, Any]) -> Spec:
    """Return the spec with what is new."""
    spec = spec if budget is None else raised(spec, Budget.of(budget))
    return replace(spec, **{name: value for name, value in settings.items() if value is not None})


def _opened(folder: str | Path) -> tuple[Spec, Journal, Crew]:
    journal, crew = Journal.open(folder), Crew()
    with journal.reading("what the run was asked"):
        spec = KINDS[journal.get("spec")["verb"]].from_json(journal.get("spec"))
    if isinstance(spec, TuneSpec):
        crew = launched()
        journal = crew.opened(journal)
    return spec, journal, crew


def _require(spec: Spec, given: Mapping[str, object], folder: str | Path) -> None:
    missing = [name for name in spec.objects if given.get(name, "in the journal") is None]
    if missing:
        remedy = f"zmax.resume({str(folder)!r}, {', '.join(f'{name}=...' for name in missing)})"
        raise InputError(f"the {' and '.join(missing)} of this run lived only in its program", remedy=remedy)
