"""A function of a batch as a score."""

from __future__ import annotations

import copy
import functools
import threading
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from zmax.core.defaults import theirs
from zmax.core.errors import InputError, ZmaxError
from zmax.core.samples import Samples, count
from zmax.core.score import Score
from zmax.scores.values import as_values

Judge = Callable[..., Any]


class ScoreTimeoutError(ZmaxError):
    """A score that did not answer in time."""

    exit_code: ClassVar[int] = 3


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
        values = as_values(self.raw(samples), len(samples), self.name)
        return values.to(samples.device) if isinstance(samples, Tensor) else values

    def raw(self, samples: Samples) -> Any:
        """Call the function, and return what it does.

        Raises:
            ScoreTimeoutError: it takes longer than the time-out.
            InputError: it asks for prompts, and was told none.
        """
        n = count(samples, what=f"samples for the score {self.name!r}")
        if isinstance(samples, Tensor) and (self._numpy or self.differentiable is False):
            samples = samples.detach()
        handed = samples.cpu().numpy().copy() if isinstance(samples, Tensor) and self._numpy else samples
        call = functools.partial(self._fn, handed, *self._prompts(n), *self._times(samples, n))
        with theirs():
            return call() if self._timeout is None else in_time(call, self._timeout, self.name)

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


def in_time(call: Callable[[], Any], seconds: float, name: str) -> Any:
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
