"""Begin a run at what the user brings: find its coordinates, see whether its scores are S's, and journal it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from zmax.core.errors import CapabilityError, InputError
from zmax.core.generator import Generator
from zmax.core.methods import registry
from zmax.core.proposal import Latents, Proposal, Value
from zmax.core.rng import stream
from zmax.core.samples import Samples, describe, row
from zmax.core.settings import Settings
from zmax.core.start import NEAR, Start, Starts
from zmax.core.strategy import Strategy
from zmax.kit.started import Started
from zmax.run import resolve
from zmax.run.alike import differ
from zmax.run.batch import Batch
from zmax.run.brought import Brought, whitened
from zmax.run.evaluator import Evaluator
from zmax.run.identity import CLOSE, SHARE
from zmax.run.inverse import Search, inverse, passed
from zmax.run.leaders import distinct
from zmax.run.recorder import Recorder
from zmax.run.reference import Opening
from zmax.store import Journal
from zmax.store.samples import pack, unpack

BLOB = "start"
"""Where the journal keeps it."""

FAR = 0.5
"""Share of the variance of samples above which what was found of it is another sample."""


def require(method: object, start: object) -> None:
    """Refuse a method that can take no start, where there is one.

    Raises:
        CapabilityError: it cannot; the message names those that can.
    """
    if start is not None and isinstance(method, Strategy) and method.begins is None:
        able = [name for name in registry if registry.load(name).begins is not None]
        name = resolve.method_name(method)
        raise CapabilityError(f"{name!r} cannot begin at a start", expected=f"one of {', '.join(able)}")


def placed(
    evaluator: Evaluator, own: Generator, found: Brought, shown: Samples, asked: Settings, search: Search
) -> Start:
    """Return where to begin, in the coordinates of the generator as the method uses it, best first.

    Args:
        evaluator: of that generator.
        own: the generator as the user gave it, whose latents may be others.
        found: what the user brought.
        shown: some samples of the generator's own.
        asked: the settings of the run.
        search: inverts one sample where the generator cannot.

    Raises:
        InputError: latents and samples fit neither.
    """
    generator, said = evaluator.generator, found.said
    u = whitened(found, generator)
    if u is None:
        x = _samples(evaluator, own, found)
        u, how = inverse(evaluator, x, asked.seed, search)
        said += f", inverted {how} (mean squared error {_error(evaluator, u, x, shown):.2g})"
    if not bool(u.isfinite().all()):
        raise InputError("coordinates of start=", expected="finite numbers", got=describe(u))
    if found.score is None:
        return Start(u, asked.strength, said=said)
    order = found.score.argsort(descending=True, stable=True)
    return Start(u[order], asked.strength, found.score[order].double(), said=said)


def along_path(evaluator: Evaluator, start: Start, strategy: Strategy[Any]) -> Start:
    """Return a start with the paths to it, where the method sets out from their middle."""
    if strategy.begins is not Starts.PATH:
        return start
    return replace(start, passed=passed(evaluator, start.u[:NEAR]))


def _samples(evaluator: Evaluator, own: Generator, found: Brought) -> Tensor:
    """Return the samples to invert: those that were brought, or those that the latents of the user's generator make.

    Raises:
        InputError: there are none.
    """
    x: Samples | None = found.x
    if found.z is not None and own is not evaluator.generator:
        latents = whitened(found, own)
        x = x if latents is None else evaluator.beside(own).decoded(latents)
    if isinstance(x, Tensor):
        return x.float().cpu()
    shapes = {block.name: ("n", *block.latent) for block in own.space.blocks}
    got = describe(found.z) if x is None else describe(x)
    if isinstance(found.z, Mapping):
        got = ", ".join(f"{name} {tuple(part.shape)}" for name, part in found.z.items())
    expected = f"latents of {own.name!r}, {shapes}, or samples that are tensors"
    raise InputError("start=", expected=expected, got=got)


def _error(evaluator: Evaluator, u: Tensor, x: Tensor, shown: Samples) -> float:
    """Return the mean squared error of what G makes of coordinates, and say so where that is another sample.

    Raises:
        InputError: the samples are not of the shape of G's.
    """
    made = evaluator.decoded(u)
    if not isinstance(made, Tensor) or made.shape != x.shape:
        raise InputError("samples of start=", expected=f"those of G, {describe(made)}", got=describe(x))
    error = float((made.float().cpu() - x).square().mean())
    spread = float(torch.as_tensor(shown).double().var(dim=0).mean())
    if error > FAR * spread:
        evaluator.remarks.say(
            f"the start is far from what was given: {evaluator.generator.name!r} makes samples with a mean squared "
            f"error of {error:.2g}, where its own samples have a variance of {spread:.2g}"
        )
    return error


def confirm(evaluator: Evaluator, start: Start) -> None:
    """Score the best of known points again, one call, and refuse scores that are not S's.

    Raises:
        InputError: they are not, or S has several goals, of which they say nothing.
    """
    if start.score is None or evaluator.score.noisy:
        return
    if evaluator.score.goals is not None:
        remedy = "leave the scores out: the points are then scored anew"
        raise InputError("scores of start= beside several goals", expected="points without scores", remedy=remedy)
    given = start.score.double()
    batch = evaluator.evaluate(Proposal(Latents(start.u[:1])))
    was, now = float(given[0]), float(batch.score[0])
    spread = float(given.std()) if len(given) > 1 else 0.0
    if differ(was, now, spread, (CLOSE, SHARE)):
        raise InputError(
            f"scores of start= are not those of {evaluator.score.name!r}",
            expected=f"{was:.6g} for the best of them",
            got=batch.failures.get(0, f"{now:.6g}"),
            remedy="leave the scores out: the points are then scored anew",
        )


def told(evaluator: Evaluator, start: Start, keep: int, *, every: bool) -> tuple[Proposal, Batch]:
    """Return known points as they are journalled: with no score call, and with samples of those that may be kept.

    Args:
        evaluator: decodes.
        start: points with scores.
        keep: how many leaders the run keeps.
        every: whether the method wants to see all samples.
    """
    assert start.score is not None, "known"
    n, score = len(start.u), start.score.double()
    rows = list(range(n)) if every else distinct(start.u, score, keep)
    made = evaluator.decoded(start.u[rows])
    samples: list[Any] = [None] * n
    for i, at in enumerate(rows):
        samples[at] = row(made, i)
    unknown = {term.name: torch.full((n,), math.nan, dtype=torch.float64) for term in evaluator.score.terms}
    return Proposal(Latents(start.u)), Batch(n, start.u, score, samples, samples, parts=unknown)


def started(strategy: Strategy[Any], start: Start | None) -> Strategy[Any]:
    """Return a method that begins at a start, where there is one."""
    return strategy if start is None else Started(strategy=strategy, start=start)


def write(journal: Journal, recorder: Recorder, opening: Opening, start: Start, leaders: int) -> None:
    """Write a start into the journal, and where its scores are known the round of them, as if it had been evaluated."""
    keep(journal, start)
    if start.score is None:
        return
    first = opening.strategy.ask(opening.strategy.init(opening.evaluator.generator.space, stream(0, "start"))).want
    every = isinstance(first, Value) and first.samples
    proposal, batch = told(opening.evaluator, start, leaders, every=every)
    recorder.write(proposal, batch, 0, 0, opening.reference.rows)


def keep(journal: Journal, start: Start) -> None:
    """Write a start into a journal."""
    parts = {"u": start.u, "score": start.score, "passed": start.passed}
    known = {name: part for name, part in parts.items() if part is not None}
    journal.put(BLOB, pack(known), {"began at": start.said})


def kept(journal: Journal, strength: float) -> Start | None:
    """Return the start that a journal keeps, None where it keeps none."""
    blob = journal.blob(BLOB)
    found: dict[str, Any] = {} if blob is None else unpack(blob)
    return None if blob is None else Start(strength=strength, **found)


def named(facts: dict[str, Any], at: Any, first: Start | None) -> dict[str, Any]:
    """Return the facts of a run with what it began at."""
    if first is None:
        return facts
    if isinstance(at, (str, Path)):
        return facts | {"start": str(at)}
    return facts | {"start": first.said, "objects": (*facts["objects"], "start")}
