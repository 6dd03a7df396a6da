"""Begin a run of either verb: check what was asked, score the reference batch, open the journal, drive the loop."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from zmax.core.budget import Budget, Ledger
from zmax.core.generator import Generator
from zmax.core.score import Score
from zmax.core.settings import Settings
from zmax.core.strategy import Strategy
from zmax.results.result import Result
from zmax.results.spec import RunSpec
from zmax.run.configure import (
    AUTO,
    as_generator,
    as_score,
    as_strategy,
    guarded,
    method_source,
    nameless,
    parameters,
    unguarded,
    walked,
)
from zmax.run.drive import drive
from zmax.run.evaluator import Evaluator
from zmax.run.events import Listener
from zmax.run.loop import Problem
from zmax.run.meter import Meter
from zmax.run.opening import Rule, open_run
from zmax.store import Journal, new_folder


@dataclass(frozen=True)
class Verb:
    """What tells one verb from another.

    Attributes:
        name: "maximize" or "sample".
        rule: chooses the method when the user leaves it to us.
        params: arguments that every method of this verb is given.
    """

    name: str
    rule: Rule
    params: dict[str, Any] = field(default_factory=dict)


def begin(
    verb: Verb,
    generator: Generator | str,
    score: Any,
    method: str | Strategy[Any],
    *,
    budget: int | Budget,
    params: dict[str, Any] | None,
    held_out: Any,
    out: str | Path | None,
    progress: bool | Listener | None,
    guard: str = "retract",
    **settings: Any,
) -> Result:
    """Start and finish a run; arguments are those of `maximize` and `sample`.

    Raises:
        InputError: something named does not exist, does not fit, or fails on the reference batch.
        FailedRunError: too many evaluations failed on the way; what was scored is kept in `out`.
    """
    start, limits, folder = time.monotonic(), Budget.of(budget), new_folder(out)
    asked = Settings(guard=guard, held_out=None if held_out is None else str(held_out), **settings)
    wanted = unguarded(method, {**verb.params, **(params or {})}, guard)
    strategy = None if method == AUTO else as_strategy(method, wanted)
    g, s = walked(strategy, as_generator(generator)), as_score(score)
    h = None if held_out is None else as_score(held_out)
    ledger = Ledger()
    with Meter(g.networks, ledger):
        evaluator = Evaluator(g, s, ledger, limits)
        opening = open_run(evaluator, strategy, h, asked.seed, asked.batch_size, rule=verb.rule, params=wanted)
        ledger.seconds = time.monotonic() - start
        source = method_source(method, opening.strategy)
        spec = RunSpec(
            verb=verb.name,
            method=source,
            budget=limits,
            params=parameters(opening.strategy),
            reason=opening.reason,
            **(vars(asked) | _named(g, s, h, source, opening.strategy)),
        )
        journal = Journal.create(folder, {"spec": spec.as_json(), "torch": torch.__version__})
        problem = Problem(g, s, guarded(opening.strategy, guard), h, spec)
        return drive(problem, journal, ledger, progress, opening.reference)


def _named(g: Generator, s: Score, h: Score | None, method: str, strategy: Strategy[Any]) -> dict[str, Any]:
    """Return what the record of a run says of its generator and scores."""
    return {
        "generator": g.source or g.name,
        "score": s.source or s.name,
        "held_out": None if h is None else h.source or h.name,
        "objects": nameless(g, s, h, method, parameters(strategy)),
        "modality": g.modality,
        "device": g.device,
        "unit": s.unit,
        "held_out_unit": "" if h is None else h.unit,
    }
