"""Go on with a run that ended early, or give a finished one a larger budget."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from zmax.condition.scratch import fitted
from zmax.core.budget import Budget
from zmax.core.errors import InputError
from zmax.core.generator import Generator
from zmax.core.strategy import Strategy
from zmax.core.tuner import Tuner, conditioners
from zmax.results.conditioning import ConditionResult
from zmax.results.result import Result
from zmax.results.spec import KINDS, ConditionSpec, Spec, TuneSpec
from zmax.results.tuning import TuneResult
from zmax.run import resolve
from zmax.run.condition import scores
from zmax.run.evaluator import Evaluator
from zmax.run.given import Given
from zmax.run.learning import Course
from zmax.run.loop import Problem
from zmax.run.meter import Meter
from zmax.run.processes import Crew, launched
from zmax.run.progress import Listener, as_listener
from zmax.run.start import run_on
from zmax.run.surroundings import at_work
from zmax.run.tuning import Job, job_child, tune_on
from zmax.store import Journal


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
    progress: bool | Listener | None = None,
) -> Result | TuneResult | ConditionResult:
    """Go on with a run that was killed, interrupted, stopped by failures, or should get a larger budget.

    On the CPU it ends bit for bit where the uninterrupted run ends. What was journalled is never evaluated again,
    except failures of a run that a failing score had stopped.

    Args:
        folder: the run's folder.
        generator, score, held_out, method: needed only where the run was given objects that live in a program.
        budget: new limits instead of the recorded ones.
        max_failures: another share of failing evaluations above which the run stops; what has failed is then left so.
        workers: another number of processes that score samples, one sample each.
        progress: as in `maximize`.

    Returns:
        The result of the whole run.

    Raises:
        InputError: there is no run, its generator or score cannot be loaded by name, or its device is not here.
        StoreError: the method, torch or the machine changed so that the run cannot be repeated exactly.
    """
    spec, journal, crew = _opened(folder)
    _require(spec, {"generator": generator, "score": score, "held_out": held_out, "method": method}, folder)
    judge = spec.held_out if held_out is None else held_out
    g, h = resolve.as_generator(generator or spec.generator), None if judge is None else resolve.as_score(judge)
    s, names = scores(spec.score if score is None else score)
    s, h = resolve.told(s, g), None if h is None else resolve.told(h, g)
    if isinstance(generator or spec.generator, str) and g.device != spec.device:
        g.to(spec.device)
    spec = _changed(spec, journal, budget, {"max_failures": max_failures, "workers": workers})
    s.noisy = s.noisy or journal.get("noisy", False)
    if spec.workers is not None:
        s.hire(spec.workers)
    with at_work(g, s, h):
        ledger, listener = journal.ledger(), as_listener(progress)
        params = {} if method else spec.params
        if isinstance(spec, TuneSpec):
            tuner = resolve.as_tuner(method or spec.method, params)
            return tune_on(Job(spec, g, s, h, tuner, job_child(tuner, g, spec), journal, ledger, crew), listener)
        if isinstance(spec, ConditionSpec):
            tuner = resolve.as_tuner(method or spec.method, params, conditioners)
            brought, g = Given.kept(journal), resolve.steered(tuner, g)
            if brought is not None:
                fitted(g, brought.x)
            return Course(spec, g, s, h, tuner, journal, ledger, names, brought).learn_on(listener)
        strategy = resolve.as_strategy(method or spec.method, params)
        g = resolve.steered(strategy, g)
        with Meter(g.networks, ledger), closing(Evaluator(g, s, ledger, spec.budget, h)) as evaluator:
            problem = Problem(g, s, resolve.guarded(strategy, spec), h, spec)
            return run_on(problem, journal, evaluator, listener)


def raised(spec: Spec, budget: Budget) -> Spec:
    """Return a spec with another budget; a condition still learns from as much, and compares as much."""
    if isinstance(spec, ConditionSpec):
        spec = replace(spec, draws=spec.drawn, checked=spec.compared)
    return replace(spec, budget=budget)


def _changed(spec: Spec, journal: Journal, budget: int | Budget | None, settings: Mapping[str, Any]) -> Spec:
    """Return the spec with what is new, and write it down."""
    given = {name: value for name, value in settings.items() if value is not None}
    if budget is not None:
        spec = raised(spec, Budget.of(budget))
    if given.get("max_failures") is not None:
        journal.set("failed", "")  # failures are as expected, so none is tried again
    changed = replace(spec, **given)
    journal.set("spec", changed.as_json())
    return changed


def _opened(folder: str | Path) -> tuple[Spec, Journal, Crew]:
    journal, crew = Journal.open(folder), Crew()
    kind = KINDS[journal.get("spec")["verb"]]
    if kind is TuneSpec:
        crew = launched()
        journal = crew.opened(journal)
    return kind.from_json(journal.get("spec")), journal, crew


def _require(spec: Spec, given: Mapping[str, object], folder: str | Path) -> None:
    missing = [name for name in spec.objects if given.get(name, "in the journal") is None]
    if missing:
        remedy = f"zmax.resume({str(folder)!r}, {', '.join(f'{name}=...' for name in missing)})"
        raise InputError(f"the {' and '.join(missing)} of this run lived only in its program", remedy=remedy)
