"""Any callable as a score."""

from __future__ import annotations

import copy
import functools
import math
import threading
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from zmax.core.defaults import theirs
from zmax.core.errors import InputError, ZmaxError
from zmax.core.samples import Samples, count
from zmax.core.score import Score
from zmax.scores.latents import LatentScore
from zmax.scores.per_sample import PerSampleScore
from zmax.scores.several import columns
from zmax.scores.values import as_values, stack_values

Judge = Callable[..., Any]


class ScoreTimeoutError(ZmaxError):
    """A score that did not answer in time."""

    exit_code: ClassVar[int] = 3


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

    Returns:
        The score; a Score passes through unchanged.

    Raises:
        InputError: not a callable, or arguments that contradict each other.

    Example:
        >>> S = score(lambda x: 1 - x.square().sum(1), name="near zero")
        >>> S(torch.tensor([[1.0, 2.0], [0.0, 0.0]])).tolist()
        [-4.0, 1.0]
        >>> score(len, per_sample=True)(["a", "abc"]).tolist()
        [1.0, 3.0]
    """
    if isinstance(fn, Score):
        return fn
    _check(fn, differentiable, bounds, timeout, numpy)
    _check_together(timed, per_sample, workers, prompted, differentiable)
    known, called = False if numpy else differentiable, name or named(fn)
    if goals is not None:
        return _of_goals(fn, goals, known, noisy, per_sample, numpy, timeout, timed, prompted, workers, latents)
    if latents:
        return _of_latents(
            LatentScore(fn, name=called, differentiable=known), per_sample, numpy, timed, prompted, noisy
        )
    wrapped: CallableScore | PerSampleScore
    if per_sample:
        judge = functools.partial(_judged, fn, timeout, called)
        wrapped = PerSampleScore(
            fn, judge, name=called, differentiable=known, timeout=timeout, numpy=numpy, workers=workers
        )
    else:
        wrapped = CallableScore(fn, differentiable=known, timeout=timeout, numpy=numpy, timed=timed)
    wrapped.name = called
    wrapped.noisy, wrapped.bounds, wrapped.unit, wrapped.prompted = noisy, bounds, unit, prompted
    wrapped.networks = (fn.eval(),) if isinstance(fn, nn.Module) else ()
    return wrapped


class CallableScore(Score):
    """A callable as a score; see :func:`score`.

    Attributes:
        differentiable: what the user said about gradients, or a run has found out since; None if nothing is known.
    """

    def __init__(
        self, fn: Judge, *, differentiable: bool | None, timeout: float | None, numpy: bool, timed: bool = False
    ) -> None:
        self.differentiable = differentiable
        self._fn = fn
        self._timeout = timeout
        self._numpy = numpy
        self._timed = timed
        self._t: Tensor | None = None
        self._prompt: str | None = None

    def at(self, t: Float[Tensor, " n"]) -> CallableScore:
        """Return the score at these times."""
        if not self._timed:
            return self
        made = copy.copy(self)
        made._t = t
        return made

    def told(self, prompt: str) -> CallableScore:
        """Return the score for samples made of that prompt."""
        made = copy.copy(self)
        made._prompt = prompt
        return made

    def __call__(self, samples: Samples) -> Float[Tensor, " n"]:
        """Call the function and check that it gives one value a sample.

        Raises:
            ShapeError: it does not.
            ScoreTimeoutError: it takes longer than the time-out.
            InputError: it asks for prompts, and was told none.
        """
        n = count(samples, what=f"samples for the score {self.name!r}")
        if isinstance(samples, Tensor) and (self._numpy or self.differentiable is False):
            samples = samples.detach()
        handed = samples.cpu().numpy().copy() if isinstance(samples, Tensor) and self._numpy else samples
        call = functools.partial(self._fn, handed, *self._prompts(n), *self._times(samples, n))
        with theirs():
            raw = call() if self._timeout is None else _in_time(call, self._timeout, self.name)
        values = as_values(raw, n, self.name)
        return values.to(samples.device) if isinstance(samples, Tensor) else values

    def _prompts(self, n: int) -> tuple[list[str], ...]:
        """Return the prompt of each sample, nothing unless it is asked for."""
        if self.prompted and self._prompt is None:
            raise InputError(f"the score {self.name!r} asks for prompts", remedy='tell it one: score.told("a red hat")')
        return () if self._prompt is None or not self.prompted else ([self._prompt] * n,)

    def _times(self, samples: Samples, n: int) -> tuple[Any, ...]:
        """Return the times, as what the samples are handed as, where they are; nothing unless they are asked for."""
        if not self._timed:
            return ()
        t = torch.zeros(n) if self._t is None else self._t
        if self._numpy:
            return (t.cpu().numpy(),)
        return (t.to(samples.device) if isinstance(samples, Tensor) else t,)


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


def _of_goals(
    fn: Judge, names: Sequence[str], known: bool | None, noisy: bool, per_sample: bool, numpy: bool, *others: Any
) -> Score:
    if any(others):
        words = "timeout, timed, prompted, workers and latents"
        raise InputError("goals=[...]", expected=f"none of {words}", remedy="leave them out, or a score a goal")
    return columns(fn, names, differentiable=known, noisy=noisy, per_sample=per_sample, numpy=numpy)


def _of_latents(made: LatentScore, *others: bool) -> LatentScore:
    if any(others):
        words = "per_sample, numpy, timed, prompted and noisy"
        raise InputError("latents=True", expected=f"none of {words}", remedy="leave them out")
    return made


def named(fn: Any) -> str:
    """Return what a function is called."""
    while isinstance(fn, functools.partial):
        fn = fn.func
    name = str(getattr(fn, "__name__", type(fn).__name__))
    return "lambda" if name == "<lambda>" else name


def _judged(fn: Judge, timeout: float | None, name: str, sample: Any, *prompt: str) -> Float[Tensor, ""]:
    """Return what a function of one sample says of it."""
    call = functools.partial(fn, sample, *prompt)
    with theirs():
        raw = call() if timeout is None else _in_time(call, timeout, name)
    return as_values(stack_values([raw]), 1, name)[0]


def _in_time(call: Callable[[], Any], seconds: float, name: str) -> Any:
    """Run `call` in a daemon thread with the caller's gradient mode, which torch keeps per thread."""
    answer: list[Any] = []
    failure: list[BaseException] = []
    grad, inference = torch.is_grad_enabled(), torch.is_inference_mode_enabled()

    def work() -> None:
        try:
            with torch.inference_mode(inference), torch.set_grad_enabled(grad):
                answer.append(call())
        except BaseException as error:  # noqa: BLE001 - handed to the caller below
            failure.append(error)

    thread = threading.Thread(target=work, daemon=True, name=f"score {name}")
    thread.start()
    thread.join(seconds)
    if failure:
        raise failure[0]
    if not answer:
        raise ScoreTimeoutError(
            f"the score {name!r} did not answer in time",
            expected=f"an answer within {seconds:g} s",
            remedy="raise timeout=, or lower the batch size",
        )
    return answer[0]
