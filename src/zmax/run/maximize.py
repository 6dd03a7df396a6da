"""Verbs of the first road: maximize a score over a fixed generator, and go on with a run that ended early."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from zmax.core.budget import Budget, Ledger
from zmax.core.errors import FailedRunError, InputError
from zmax.core.generator import Generator
from zmax.core.rng import stream
from zmax.core.state import restore
from zmax.core.strategy import Strategy
from zmax.run.configure import (
    as_generator,
    as_score,
    as_strategy,
    method_source,
    nameless,
    new_folder,
    parameters,
)
from zmax.run.evaluator import Batch, Evaluator
from zmax.run.events import Listener
from zmax.run.judge import judge_kept
from zmax.run.loop import Loop, Place, Problem
from zmax.run.meter import Meter
from zmax.run.opening import open_run, score_reference, try_gradient
from zmax.run.progress import as_listener
from zmax.run.result import Result
from zmax.run.spec import RunSpec
from zmax.store import REFERENCE, Journal


def maximize(
    generator: Generator | str,
    score: Any,
    method: str | Strategy[Any] = "auto",
    budget: int | Budget = 2000,
    seed: int = 0,
    batch_size: int = 32,
    held_out: Any = None,
    out: str | Path | None = None,
    *,
    params: dict[str, Any] | None = None,
    keep: int = 16,
    max_failures: float = 0.5,
    progress: bool | Listener | None = None,
) -> Result:
    r"""Find samples x = G(z) that maximise S(x) without leaving where the prior lives.

    .. math:: \max_u\ S(G(z(u))),\qquad u \sim N(0, I_d) \text{ typical}

    The run first scores a small reference batch of prior draws, which also shows whether G and S fit together; the
    rest of the budget is the method's. Everything is charged to the ledger.

    Args:
        generator: a Generator, or a name or path that `load_generator` understands.
        score: a Score, a callable samples -> (n,) values, or what `load_score` understands.
        method: a name (see `zmax.methods()`), an instance such as `zmax.search.CMA(step=0.3)`, or "auto".
        budget: score calls, or a `Budget`.
        seed: of all randomness.
        batch_size: samples decoded and scored together; it does not change what the method proposes.
        held_out: a score that no method sees; leaders and reference are judged by it at the end.
        out: folder of the run, which then survives a crash; in memory when None.
        params: arguments for the method's constructor when it is given by name.
        keep: how many of the best distinct samples are kept.
        max_failures: share of failing evaluations above which the run stops.
        progress: a listener, True or False for a progress bar, None for one where a person watches.

    Returns:
        The result; `result.best` is the best final score seen.

    Raises:
        InputError: something named does not exist, does not fit, or fails on the reference batch.
        FailedRunError: too many evaluations failed on the way; what was scored is kept in `out`.

    Example:
        >>> import torch, zmax
        >>> G = zmax.generator(torch.nn.Identity(), shape=(16,), modality="vector")
        >>> r = zmax.maximize(G, lambda x: x[:, 0], method="gradient", budget=320)
        >>> r.best.score > 3.5, r.best.plausibility > 0.05
        (True, True)
    """
    start, limits, folder = time.monotonic(), Budget.of(budget), new_folder(out)
    settings = _checked(seed=seed, batch_size=batch_size, keep=keep, max_failures=max_failures)
    g, s = as_generator(generator), as_score(score)
    h = None if held_out is None else as_score(held_out)
    ledger = Ledger()
    with Meter(g.networks, ledger):
        opening = open_run(Evaluator(g, s, ledger, limits), method, params or {}, h, seed, batch_size)
        ledger.seconds = time.monotonic() - start
        source = method_source(method, opening.strategy)
        spec = RunSpec(
            generator=g.source or g.name,
            score=s.source or s.name,
            method=source,
            budget=limits,
            params=parameters(opening.strategy),
            held_out=None if h is None else h.source or h.name,
            objects=nameless(g, s, h, source),
            modality=g.modality,
            unit=s.unit,
            held_out_unit="" if h is None else h.unit,
            reason=opening.reason,
            **settings,
        )
        journal = Journal.create(folder, {"spec": spec.as_json(), "torch": torch.__version__})
        return _drive(Problem(g, s, opening.strategy, h, spec), journal, ledger, progress, opening.reference)


def resume(
    folder: str | Path,
    generator: Generator | str | None = None,
    score: Any = None,
    held_out: Any = None,
    *,
    method: Strategy[Any] | None = None,
    budget: int | Budget | None = None,
    progress: bool | Listener | None = None,
) -> Result:
    """Go on with a run that was killed, interrupted, stopped by failures, or should get a larger budget.

    On the CPU it ends bit for bit where the uninterrupted run ends. What was journalled is never evaluated again,
    except failures of a run that a failing score had stopped.

    Args:
        folder: the run's folder.
        generator, score, held_out, method: needed only where the run was given objects that live in a program.
        budget: new limits instead of the recorded ones.
        progress: as in `maximize`.

    Returns:
        The result of the whole run.

    Raises:
        InputError: there is no run, or its generator or score cannot be loaded by name.
        StoreError: the method, torch or the machine changed so that the run cannot be repeated exactly.
    """
    journal = Journal.open(folder)
    spec = RunSpec.from_json(journal.get("spec"))
    given = {"generator": generator, "score": score, "held_out": held_out, "method": method}
    missing = [name for name in spec.objects if given[name] is None]
    if missing:
        remedy = f"zmax.resume({str(folder)!r}, {', '.join(f'{name}=...' for name in missing)})"
        raise InputError(f"the {' and '.join(missing)} of this run lived only in its program", remedy=remedy)
    g, s = as_generator(generator or spec.generator), as_score(spec.score if score is None else score)
    judge = spec.held_out if held_out is None else held_out
    h = None if judge is None else as_score(judge)
    strategy = as_strategy(method or spec.method, {} if method else spec.params)
    if budget is not None:
        spec = replace(spec, budget=Budget.of(budget))
        journal.set("spec", spec.as_json())
    first = journal.find(REFERENCE, 0)
    ledger = journal.ledger() if first is not None else Ledger()
    with Meter(g.networks, ledger):
        reference = None
        if first is None:  # killed before the reference batch was journalled
            evaluator = Evaluator(g, s, ledger, spec.budget)
            reference = score_reference(evaluator, spec.seed, spec.batch_size)
            try_gradient(evaluator, strategy, reference)
        return _drive(Problem(g, s, strategy, h, spec), journal, ledger, progress, reference)


def _drive(
    problem: Problem, journal: Journal, ledger: Ledger, progress: bool | Listener | None, reference: Batch | None
) -> Result:
    """Run the loop from where the journal stands, then judge what is kept and write down the end."""
    listener = as_listener(progress)
    place = _place(problem, journal, reference)
    if journal.get("failed"):
        journal.forget_failures(place.round)
    for key, value in {"failed": "", "stop_reason": "not finished"}.items():
        journal.set(key, value)
    loop = Loop(problem, journal, ledger, listener)
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
        if problem.held_out is not None:
            judge_kept(problem.held_out, journal, ledger, problem.spec.batch_size)
    except KeyboardInterrupt:
        reason = "interrupted"
    loop.close(reason)
    result = Result(journal)
    if failed is not None:
        failed.result = result
        raise failed
    return result


def _place(problem: Problem, journal: Journal, reference: Batch | None) -> Place:
    """Return where the method stood at the last checkpoint, or its beginning."""
    state = problem.strategy.init(problem.generator.space, stream(problem.spec.seed, "method"))
    position = journal.last_checkpoint()
    if position is not None:
        return Place(restore(state, position.state), position.round, position.next_id)
    first = journal.find(REFERENCE, 0) if reference is None else reference
    assert first is not None, "a run without a reference batch evaluates one first"
    return Place(state, 0, len(first.score))


def _checked(*, seed: int, batch_size: int, keep: int, max_failures: float) -> dict[str, Any]:
    for name, value, least in (("seed", seed, None), ("batch_size", batch_size, 1), ("keep", keep, 1)):
        if isinstance(value, bool) or not isinstance(value, int) or (least is not None and value < least):
            raise InputError(name, expected="an int" if least is None else "a positive int", got=repr(value))
    if not 0 <= max_failures <= 1:
        raise InputError("max_failures", expected="a share in [0, 1]", got=max_failures)
    return {"seed": seed, "batch_size": batch_size, "keep": keep, "max_failures": max_failures}
