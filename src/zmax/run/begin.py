"""Begin a run of either verb: check what was asked, score the reference batch, open the journal, drive the loop."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from zmax.core.budget import Budget, Ledger
from zmax.core.errors import InputError
from zmax.core.generator import Generator
from zmax.core.score import Score
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
    params: Mapping[str, object] | None,
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
    checked(held_out=held_out, **settings)
    wanted = unguarded(method, {**verb.params, **(params or {})}, guard)
    strategy = None if method == AUTO else as_strategy(method, wanted)
    g, s = walked(strategy, as_generator(generator)), as_score(score)
    h = None if held_out is None else as_score(held_out)
    ledger = Ledger()
    with Meter(g.networks, ledger):
        evaluator = Evaluator(g, s, ledger, limits)
        seed, batch_size = settings["seed"], settings["batch_size"]
        opening = open_run(evaluator, strategy, h, seed, batch_size, rule=verb.rule, params=wanted)
        ledger.seconds = time.monotonic() - start
        source = method_source(method, opening.strategy)
        spec = RunSpec(
            verb=verb.name,
            method=source,
            budget=limits,
            params=parameters(opening.strategy),
            guard=guard,
            reason=opening.reason,
            **_named(g, s, h, source, opening.strategy),
            **settings,
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


def checked(
    *, seed: int, batch_size: int, keep: int, max_failures: float, held_out: Any, patience: int | None = None
) -> None:
    """Refuse settings that cannot be meant.

    Raises:
        InputError: one of them has the wrong type or range.
    """
    whole = [("seed", seed, None), ("batch_size", batch_size, 1), ("keep", keep, 1)]
    whole += [] if patience is None else [("patience", patience, 1)]
    for name, value, least in whole:
        if isinstance(value, bool) or not isinstance(value, int) or (least is not None and value < least):
            raise InputError(name, expected="an int" if least is None else "a positive int", got=repr(value))
    if not 0 <= max_failures <= 1:
        raise InputError("max_failures", expected="a share in [0, 1]", got=max_failures)
    if patience is not None and held_out is None:
        raise InputError("patience without a held-out score", remedy="give held_out=..., which is what it watches")
