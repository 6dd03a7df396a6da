"""Any callable as a score."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

from torch import nn

from zmax.core.defaults import theirs
from zmax.core.errors import InputError
from zmax.core.networks import as_network
from zmax.core.score import Score
from zmax.scores.batch import CallableScore, Judge, in_time
from zmax.scores.latents import LatentScore
from zmax.scores.per_sample import PerSampleScore
from zmax.scores.several import columns
from zmax.scores.values import as_values, stack_values
from zmax.scores.words import Parse, Reader, WordsScore


def score(
    fn: Judge | Score,
    *,
    differentiable: bool | None = None,
    name: str | None = None,
    noisy: bool = False,
    bounds: tuple[float, float] = (-math.inf, math.inf),
    unit: str = "",
    timeout: float | None = None,
    per_sample: bool = False,
    numpy: bool = False,
    timed: bool = False,
    prompted: bool = False,
    workers: int | None = None,
    latents: bool = False,
    goals: Sequence[str] | None = None,
    parse: Parse | None = None,
) -> Score:
    r"""Wrap a callable as a score :math:`S(x) \in \mathbb{R}^n`, higher is better.

    Args:
        fn: samples -> n values, as a tensor, an array or a list of floats of shape (n,); NaN or None marks a sample
            that cannot be judged. A module is put in evaluation mode and stays on its device.
        differentiable: whether autograd can follow `fn`; None finds out by a probe before the run. False hands `fn`
            samples without a graph.
        name: how reports call it; the function's own name if not given.
        noisy: whether a second call on the same sample may give another value.
        bounds: lowest and highest possible value.
        unit: unit of the values, "" if none.
        timeout: seconds one call of `fn` may take; a late call goes on in the background, its answer is dropped. A
            worker that is late is ended.
        per_sample: `fn` takes one sample and returns one float. Each sample then fails, or is late, by itself, and
            its score is kept as soon as it is known, whatever happens to the rest of the batch.
        numpy: hand `fn` numpy arrays instead of tensors (not differentiable).
        timed: `fn` takes (samples, t), t (n,) being the times that previews on a diffusion path belong to, from 1
            (noise) to 0 (data, and all samples that are no previews): for scores that were trained on noisy samples.
        prompted: `fn` takes (samples, prompts), the n texts that a generator with prompts made them of; with
            `per_sample` one sample and its prompt; with `timed` the times come last.
        workers: with per_sample, processes that score at the same time, one sample each. `fn` has to stand at the top
            of a module or a file, samples are handed over on the CPU, and no gradient comes back.
        latents: `fn` takes latents z in place of samples, as the generator does: (n, *shape), or a dict of blocks. Such
            a score is for constraints: `S.where(zmax.score(lambda z: z[:, 0], latents=True) >= 0)`.
        goals: names of what `fn` gives at once, as m columns (n, m), a tuple of m values, or a dict by these names: the
            goals of one run, each high by itself.
        parse: where the number is in an answer in words: a function of what `fn` says of one sample, giving a number or
            a pair (number, why); or a key, of a dict, of JSON in a text, or before a number in a text ("Score: 4/5" is
            4 at "score"), or the place in a pair. `fn` then returns a list of n answers, or one with `per_sample`. An
            answer without a number fails by itself, and what else is said is kept: `entry.why`.

    Returns:
        The score; a Score passes through unchanged.

    Raises:
        InputError: not a callable, or arguments that contradict each other.

    Example:
        >>> import torch
        >>> S = score(lambda x: 1 - x.square().sum(1), name="near zero")
        >>> S(torch.tensor([[1.0, 2.0], [0.0, 0.0]])).tolist()
        [-4.0, 1.0]
        >>> score(len, per_sample=True)(["a", "abc"]).tolist()
        [1.0, 3.0]
        >>> score(lambda x: "Score: 4/5", per_sample=True, parse="score")(["a"]).tolist()
        [4.0]
    """
    if isinstance(fn, Score):
        return fn
    _check(fn, differentiable, bounds, timeout, numpy)
    _check_together(timed, per_sample, workers, prompted, differentiable)
    called, fn = name or named(fn), as_network(fn)
    reader = None if parse is None else _reader(parse, called, differentiable, timed)
    known = False if numpy or reader else differentiable
    if goals is not None:
        return _of_goals(fn, goals, known, noisy, per_sample, numpy, timeout, timed, prompted, workers, latents, parse)
    if latents:
        return _of_latents(fn, called, known, per_sample, numpy, timed, prompted, noisy, parse is not None)
    if per_sample:
        judge = functools.partial(_judged, fn, timeout, called, reader is None)
        single = PerSampleScore(fn, judge, name=called, differentiable=known, timeout=timeout, numpy=numpy)
        wrapped: Score = single.reads(reader, workers)
    else:
        whole = CallableScore(fn, differentiable=known, timeout=timeout, numpy=numpy, timed=timed)
        whole.name, whole.prompted = called, prompted
        wrapped = whole if reader is None else WordsScore(whole, reader)
    wrapped.name, wrapped.noisy, wrapped.prompted, wrapped.bounds, wrapped.unit = called, noisy, prompted, bounds, unit
    wrapped.networks = (fn,) if isinstance(fn, nn.Module) else ()
    return wrapped


def _check(
    fn: object, differentiable: bool | None, bounds: tuple[float, float], timeout: float | None, numpy: bool
) -> None:
    if not callable(fn):
        raise InputError("a score", expected="a callable: samples -> n values", got=type(fn).__name__)
    if isinstance(fn, type):
        raise InputError("a score", expected="an instance", got=f"the class {fn.__name__}", remedy=f"{fn.__name__}()")
    if numpy and differentiable:
        raise InputError("numpy=True with differentiable=True", remedy="autograd cannot follow numpy: leave one out")
    if timeout is not None and not timeout > 0:
        raise InputError("timeout", expected="seconds > 0", got=timeout)
    low, high = bounds
    if not low <= high:
        raise InputError("bounds", expected="(lowest, highest)", got=bounds)


def _check_together(
    timed: bool, per_sample: bool, workers: int | None, prompted: bool, differentiable: bool | None
) -> None:
    if timed and per_sample:
        raise InputError("timed=True with per_sample=True", remedy="leave one out")
    if workers is None:
        return
    if not per_sample:
        raise InputError("workers= beside a function of a whole batch", remedy="per_sample=True, and one sample in fn")
    if prompted:
        raise InputError("workers= with prompted=True", remedy="leave one out")
    if differentiable:
        raise InputError("workers= with differentiable=True", remedy="no gradient comes from other processes")


def _reader(parse: Parse, name: str, differentiable: bool | None, timed: bool) -> Reader:
    if isinstance(parse, bool) or not (callable(parse) or isinstance(parse, (str, int))):
        raise InputError("parse", expected="a function of an answer, or a key", got=repr(parse))
    if differentiable or timed:
        given = "differentiable=True" if differentiable else "timed=True"
        raise InputError(f"parse= with {given}", remedy="leave one out")
    return Reader(parse, name)


def _of_goals(
    fn: Judge, names: Sequence[str], known: bool | None, noisy: bool, per_sample: bool, numpy: bool, *others: Any
) -> Score:
    if any(other is not None and other is not False for other in others):
        words = "timeout, timed, prompted, workers, latents and parse"
        raise InputError("goals=[...]", expected=f"none of {words}", remedy="leave them out, or a score a goal")
    return columns(fn, names, differentiable=known, noisy=noisy, per_sample=per_sample, numpy=numpy)


def _of_latents(fn: Judge, name: str, differentiable: bool | None, *others: bool) -> LatentScore:
    if any(others):
        words = "per_sample, numpy, timed, prompted, noisy and parse"
        raise InputError("latents=True", expected=f"none of {words}", remedy="leave them out")
    return LatentScore(fn, name=name, differentiable=differentiable)


def named(fn: Any) -> str:
    """Return what a function is called."""
    while isinstance(fn, functools.partial):
        fn = fn.func
    name = str(getattr(fn, "__name__", type(fn).__name__))
    return "lambda" if name == "<lambda>" else name


def _judged(fn: Judge, timeout: float | None, name: str, plain: bool, sample: Any, *prompt: str) -> Any:
    """Return what a function of one sample says of it, as a tensor () where it is plainly a number."""
    call = functools.partial(fn, sample, *prompt)
    with theirs():
        raw = call() if timeout is None else in_time(call, timeout, name)
    return as_values(stack_values([raw]), 1, name)[0] if plain else raw
