"""The verb `finetune`: move G's weights until its samples score high."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zmax.core.budget import DEFAULT_CALLS, Budget, Ledger
from zmax.core.generator import Generator
from zmax.core.score import Score
from zmax.core.settings import TuneSettings, among
from zmax.core.tuner import Tuner
from zmax.diagnose import choose_tuner
from zmax.results.spec import TuneSpec
from zmax.results.tuning import TuneResult
from zmax.run import resolve
from zmax.run.demands import require_gradients
from zmax.run.evaluator import Evaluator
from zmax.run.processes import launched
from zmax.run.progress import Listener, as_listener
from zmax.run.reference import kept_first, tried
from zmax.run.start import named, opening_facts
from zmax.run.surroundings import at_work
from zmax.run.tuning import Job, job_child, tune_on
from zmax.store import Journal, begun


def finetune(
    generator: Generator | str,
    score: Any,
    method: str | Tuner[Any] = "auto",
    budget: int | Budget = DEFAULT_CALLS,
    *,
    until: str | None = None,
    held_out: Any = None,
    seed: int = 0,
    batch_size: int = 32,
    out: str | Path | None = None,
    params: Mapping[str, object] | None = None,
    ceiling: float | None = None,
    weights: str = "auto",
    layers: str | None = None,
    rate: float | None = None,
    updates: int | None = None,
    precision: str = "float32",
    looks: int = 8,
    fresh: int | None = None,
    keep: str = "chosen",
    max_failures: float = 0.5,
    progress: bool | Listener | None = None,
) -> TuneResult:
    r"""Finetune a generator until its samples score high, without losing what it knew.

    With temperature T, tuners that follow a law move the child towards

    .. math:: p^*(x) \propto p(x) \exp(S(x) / T),

    the others as far as the goal and the rule that chooses weights let them. At equal shares of the budget fresh
    samples are looked at, always of the same noises, on which the child is never trained: their scores, held-out
    scores, diversity, realism under the parent, and KL(child || parent). Everything is charged to the ledger.

    Args:
        generator: G, a Generator or what `load_generator` understands; it is never changed.
        score: S, a Score, a callable samples -> (n,) values, or what `load_score` understands.
        method: the name of a tuner (see `zmax.methods()`), an instance, or "auto".
        budget: score calls, or a `Budget`.
        until: stop once a quantile of the score over fresh samples is there, as in 'p05 >= 2'.
        held_out: a second score that no method sees; it judges the winners at the end.
        seed: seed of all randomness; the same seed gives the same run.
        batch_size: samples decoded and scored together; lower it if memory runs out.
        out: folder of the run, which then survives a crash; in memory when None.
        params: arguments for the tuner's constructor when it is given by name.
        ceiling: score above which nothing is gained; with a goal, half a spread of the parent's scores above it if not
            given.
        weights: what moves: full, lora or lora:RANK; auto takes all weights of a small model.
        layers: move only weights whose names hold one of these words, separated by commas.
        rate: learning rate of AdamW.
        updates: optimiser steps a round.
        precision: of the networks while they are trained: float32 or bfloat16.
        looks: how often fresh samples are looked at, at equal shares of the budget.
        fresh: fresh samples scored at each look; a 64th of the score calls, from 16 to 64, if not given.
        keep: which weights are returned: chosen (those before held-out score, diversity or realism fell) or last.
        max_failures: share of failing evaluations above which the run stops.
        progress: a listener, True or False for a progress bar, None for one where a person watches.

    Returns:
        The result; `result.generator` is the child.

    Raises:
        InputError: something named does not exist, does not fit, or fails on the first samples.
        CapabilityError: the tuner needs what generator or score cannot give.
        FailedRunError: too many evaluations failed on the way; what was scored is kept in `out`.

    Example:
        >>> import torch, zmax
        >>> G = zmax.generator(torch.nn.Linear(4, 2), shape=(4,), modality="vector")
        >>> S = zmax.score(lambda x: x[:, 0], differentiable=True)
        >>> t = zmax.finetune(G, S, "direct", budget=1000, rate=1e-2)
        >>> t.after.look.score > t.before.look.score
        True
    """
    asked = among(TuneSettings, locals())
    began, limits, crew, watch = time.monotonic(), Budget.of(budget), launched(), as_listener(progress)
    with crew.alone(begun, out) as folder:
        (g, s, h), ledger = resolve.parts(generator, score, held_out, plain=True), Ledger()
        with at_work(g, s, h):
            with kept_first(Evaluator(g, s, ledger, limits, h), folder) as first:
                crew.tried(first, lambda: tried(first, seed))
                tuner, reason = _chosen(method, dict(params or {}), g, s, limits.score_calls)
                require_gradients(tuner, g, s)
                ledger.seconds = time.monotonic() - began
                facts = vars(asked) | named(g, s, h, resolve.method_source(method, tuner), tuner)
                spec = TuneSpec(verb="finetune", budget=limits, reason=reason, **facts)
                child = job_child(tuner, g, spec)
                journal = Journal.create(folder, opening_facts(spec, first) | {"moves": child.describe()})
            return tune_on(Job(spec, g, s, h, tuner, child, journal, ledger, crew, remarks=first.remarks), watch)


def _chosen(
    method: str | Tuner[Any], params: dict[str, Any], g: Generator, s: Score, calls: int | None
) -> tuple[Tuner[Any], str]:
    if method != resolve.AUTO:
        return resolve.as_tuner(method, params), ""
    name, reason = choose_tuner(g, s, calls)
    return resolve.as_tuner(name, params), reason
