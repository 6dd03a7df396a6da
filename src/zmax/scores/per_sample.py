"""A function of one sample as a score: each sample is timed, caught and told of by itself."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from zmax.core.errors import USERS, InputError, reason
from zmax.core.samples import Samples, count, row
from zmax.core.score import Answer, Score
from zmax.scores.words import Reader, values_of
from zmax.scores.workers import Workers


class PerSampleScore(Score):
    """A function of one sample as a score; see :func:`~zmax.scores.score`.

    Args:
        fn: the function, for other processes.
        judge: calls it in this one, in time, and makes a tensor () of what it returns, unless there is a reader.
        name, differentiable, timeout, numpy: as in `score`.

    Attributes:
        differentiable: what the user said about gradients, or a run has found out since; None if nothing is known.
    """

    each = True

    def __init__(
        self,
        fn: Callable[[Any], Any],
        judge: Callable[..., Any],
        *,
        name: str,
        differentiable: bool | None = None,
        timeout: float | None = None,
        numpy: bool = False,
    ) -> None:
        self.name = name
        self._reader: Reader | None = None
        self.differentiable = differentiable
        self._fn, self._judge = fn, judge
        self._timeout = timeout
        self._numpy = numpy
        self._pool: Workers | None = None
        self._prompt: tuple[str, ...] = ()

    def reads(self, reader: Reader | None, workers: int | None) -> PerSampleScore:
        """Read answers in words by that reader, and hire workers, where there are any; return itself.

        Raises:
            InputError: the function cannot be handed to another process.
        """
        self._reader = reader
        if workers is not None:
            self.hire(workers)
        return self

    def hire(self, workers: int) -> None:
        """Let so many processes score, one sample each at a time.

        Raises:
            InputError: the function cannot be handed to another process.
        """
        if isinstance(workers, bool) or not isinstance(workers, int) or workers < 1:
            raise InputError("workers", expected="a positive int", got=repr(workers))
        if self.prompted:
            raise InputError(f"workers for the score {self.name!r}, which asks for prompts", remedy="leave them out")
        self.close()
        read = None if self._reader is None else self._reader.answer
        self._pool = Workers(self._fn, workers, self._timeout, self.name, read=read)
        self.workers, self.differentiable = workers, False

    def close(self) -> None:
        """End the processes that judge, if there are any; they come back when they are needed."""
        if self._pool is not None:
            self._pool.close()

    def told(self, prompt: str) -> PerSampleScore:
        """Return the score for samples made of that prompt."""
        made = copy.copy(self)
        made._prompt = (prompt,) if self.prompted else ()
        return made

    def __call__(self, samples: Samples) -> Float[Tensor, " n"]:
        """Score one sample after another.

        Raises:
            Exception: what the function raises of one of them.
        """
        if self._pool is not None or self._reader is not None:
            return values_of(self.answers(samples), samples, self.name)
        handed = self._handed(samples)
        judged = [self._judged(handed[i]) for i in range(len(handed))]
        values = torch.stack(judged) if judged else torch.zeros(0)
        return values.to(samples.device) if isinstance(samples, Tensor) else values

    def answers(self, samples: Samples) -> Iterator[Answer]:
        """Yield the answer of each sample as it comes."""
        handed = self._handed(samples)
        if self._pool is not None:
            yield from self._pool.answers(row(handed, i) for i in range(len(handed)))
            return
        for i in range(len(handed)):
            try:
                said = self._judged(handed[i])
                answer = Answer(i, said) if self._reader is None else self._reader.answer(i, said)
            except USERS as error:
                answer = Answer(i, math.nan, reason(error))
            yield answer

    def _judged(self, sample: Any) -> Any:
        """Return what the function says of one sample.

        Raises:
            InputError: it asks for prompts, and was told none.
        """
        if self.prompted and not self._prompt:
            raise InputError(f"the score {self.name!r} asks for prompts", remedy='tell it one: score.told("a red hat")')
        return self._judge(sample, *self._prompt)

    def _handed(self, samples: Samples) -> Samples:
        """Return the samples as the function gets them."""
        count(samples, what=f"samples for the score {self.name!r}")
        if isinstance(samples, Tensor) and (self._numpy or self.differentiable is False):
            samples = samples.detach()
        return samples.cpu().numpy().copy() if isinstance(samples, Tensor) and self._numpy else samples
