"""The verb `condition`: train G(x | S(x)), then ask for the score that is wanted."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from zmax.condition.scratch import fitted, scratch
from zmax.core.budget import DEFAULT_CALLS, Budget, Ledger
from zmax.core.errors import InputError
from zmax.core.generator import Generator
from zmax.core.rng import stream
from zmax.core.samples import describe
from zmax.core.score import Score
from zmax.core.settings import AND, ConditionSettings, among
from zmax.core.tuner import Tuner, conditioners
from zmax.diagnose import choose_conditioner
from zmax.results.conditioning import ConditionResult
from zmax.results.spec import ConditionSpec
from zmax.run import resolve
from zmax.run.evaluator import Evaluator
from zmax.run.given import Given, given
from zmax.run.learning import Course
from zmax.run.progress import Listener, as_listener
from zmax.run.reference import kept_first, tried
from zmax.run.start import named, opening_facts
from zmax.run.surroundings import at_work
from zmax.store import Journal, begun


def condition(
    generator: Generator | str | None,
    score: Any,
    method: str | Tuner[Any] = "auto",
    budget: int | Budget = DEFAULT_CALLS,
    *,
    data: Any = None,
    held_out: Any = None,
    seed: int = 0,
    batch_size: int = 32,
    out: str | Path | None = None,
    params: Mapping[str, object] | None = None,
    draws: int | None = None,
    checked: int | None = None,
    guidances: str = "0,1",
    rate: float | None = None,
    precision: str = "float32",
    looks: int = 4,
    fresh: int | None = None,
    max_failures: float = 0.5,
    progress: bool | Listener | None = None,
) -> ConditionResult:
    r"""Learn G(x | s), a generator of samples whose score is s, from scored samples of G.

    .. math:: p(x \mid S(x) = s)

    The result is an ordinary generator with one more latent block, "score", in the units of S; `.at(score=s)` holds
    it. At the end it is asked for scores all over the law of the data, and what came is compared with that.

    Args:
        generator: G, a Generator or what `load_generator` understands; it is never changed. None with `data` for a
            small flow model that is trained from scratch.
        score: S, a Score, a callable samples -> (n,) values, or what `load_score` understands; or a list of them, of
            which any can be asked for.
        method: the name of a method (see `zmax.methods()`), an instance, or "auto".
        budget: score calls, or a `Budget`.
        data: samples to learn from instead of the generator's own: an array, a pair of samples and scores, a torch
            Dataset, or a folder of images with a CSV or Parquet file of file names and scores. Scores that it brings
            are not charged; without them `draws` of the samples are scored.
        held_out: a second score that no method sees; it judges the winners at the end.
        seed: seed of all randomness; the same seed gives the same run.
        batch_size: samples decoded and scored together; lower it if memory runs out.
        out: folder of the run, which then survives a crash; in memory when None.
        params: arguments for the method's constructor when it is given by name.
        draws: samples of the generator scored first, to learn from; three quarters of the score calls if not given.
        checked: samples by which achieved scores are compared with requested ones at the end; an eighth of the score
            calls if not given.
        guidances: weights of guidance at which that is done, separated by commas; decoders know 0 alone.
        rate: learning rate of AdamW.
        precision: of the networks while they are trained: float32 or bfloat16.
        looks: how often fresh samples are looked at, at equal shares of training.
        fresh: fresh samples scored at each look; a 64th of the score calls, from 16 to 64, if not given.
        max_failures: share of failing evaluations above which the run stops.
        progress: a listener, True or False for a progress bar, None for one where a person watches.

    Returns:
        The result; `result.generator.at(score=s)`, `result.sample(n, score=s)`, `result.calibration`.

    Raises:
        InputError: something named does not exist, does not fit, or fails on the first samples.
        CapabilityError: the method needs what the generator cannot give.
        FailedRunError: too many evaluations failed on the way; what was scored is kept in `out`.

    Example:
        >>> import torch, zmax
        >>> law = zmax.testing.gaussian_mixture([[0.0, 0.0]], torch.eye(2)[None], [1.0])
        >>> S = zmax.score(lambda x: x[:, 0], name="first")
        >>> c = zmax.condition(zmax.testing.trained(law), S, budget=1000, params={"steps": 300})
        >>> c.sample(4, score=1.0).shape
        torch.Size([4, 2])
    """
    words, began, limits, (s, names) = locals(), time.monotonic(), Budget.of(budget), plain(score)
    watch = as_listener(progress)
    brought = None if data is None else given(data, names)
    asked = among(ConditionSettings, words | {"data": _said(data, brought)})
    with begun(out) as folder:
        g, brought = _generator(generator, brought)
        s, h = resolve.told(s, g), None if held_out is None else resolve.told(resolve.as_score(held_out), g)
        (tuner, g, reason), ledger = _chosen(method, dict(params or {}), g), Ledger()
        with at_work(g, s, h):
            with kept_first(Evaluator(g, s, ledger, limits, h), folder) as first:
                tried(first, seed, None if brought is None else brought.x)
                ledger.seconds = time.monotonic() - began
                facts = vars(asked) | named(g, s, h, resolve.method_source(method, tuner), tuner)
                facts["objects"] += ("data",) if brought and not isinstance(data, (str, Path)) else ()
                spec = ConditionSpec(verb="condition", budget=limits, reason=reason, **facts)
                journal = Journal.create(folder, opening_facts(spec, first), brought.keep if brought else None)
            return Course(spec, g, s, h, tuner, journal, ledger, names, brought, first.remarks).learn_on(watch)


def _said(data: Any, brought: Given | None) -> str | None:
    """Return how data are spoken of: by their path, or by what they are."""
    return None if brought is None else str(data if isinstance(data, (str, Path)) else brought)


def _generator(asked: Generator | str | None, brought: Given | None) -> tuple[Generator, Given | None]:
    """Return the generator that is asked for, or one to be trained from scratch, and data of the shape of its samples.

    Raises:
        InputError: there is neither a generator nor data, or they have samples of different shapes.
    """
    if brought is None:
        if asked is None:
            raise InputError("a generator", expected="one, or data=...", got="neither")
        return resolve.as_generator(asked), None
    made = scratch(brought.x.shape[1:]) if asked is None else resolve.as_generator(asked)
    with torch.no_grad():
        own = made.decode(made.space.latents(made.space.sample(1, stream(0, "given"))))
    brought = brought.like(own)
    if not isinstance(own, Tensor) or own.shape[1:] != brought.x.shape[1:]:
        raise InputError(
            "samples of data=", expected=f"those of {made.name!r}, {describe(own)}", got=describe(brought.x)
        )
    fitted(made, brought.x)
    return made, brought


def _chosen(method: str | Tuner[Any], params: dict[str, Any], g: Generator) -> tuple[Tuner[Any], Generator, str]:
    """Return the method, the generator as it uses it, and why it was chosen."""
    name, reason = choose_conditioner(g) if method == resolve.AUTO else (method, "")
    tuner = resolve.as_tuner(name, params, conditioners)
    return tuner, resolve.steered(tuner, g), reason


def plain(given: Any) -> tuple[Score, tuple[str, ...]]:
    """Return what :func:`scores` does.

    Raises:
        CapabilityError: they have constraints.
    """
    score, names = scores(given)
    return resolve.plain_one(score, "a score of all samples, of which any value may be asked"), names


def scores(given: Any) -> tuple[Score, tuple[str, ...]]:
    """Return one score that evaluates all that are given, and their names.

    Raises:
        InputError: two have one name, or there is none.
    """
    if isinstance(given, str) and AND in given:
        given = given.split(AND)
    if not isinstance(given, Sequence) or isinstance(given, str):
        one = resolve.as_score(given)
        return one, (one.name,)
    every = [resolve.as_score(part) for part in given]
    names = tuple(one.name for one in every)
    if not every or len(set(names)) < len(names) or any(one.terms for one in every):
        raise InputError("scores to condition on", expected="one or more plain ones, each of its own name", got=names)
    if len(every) == 1:
        return every[0], names
    joined = reduce(add, every)
    joined.name, joined.source = AND.join(names), AND.join(one.source for one in every if one.source)
    joined.source = joined.source if all(one.source for one in every) else ""
    return joined, names
