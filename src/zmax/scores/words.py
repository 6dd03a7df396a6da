"""Answers in words: the number that they give, and why."""

from __future__ import annotations

import copy
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from zmax.core.errors import USERS, InputError, ShapeError, reason
from zmax.core.samples import Samples, count, describe
from zmax.core.score import Answer, Score
from zmax.core.serve import number
from zmax.scores.batch import CallableScore

Parse = Callable[[Any], Any] | str | int
"""A function of an answer that gives its number, or a pair (number, why); or where the number is: a key, or a place."""

NUMBER = r"[-+]?(?:\d+(?:\.\d+)?|\.\d+)(?:[eE][-+]?\d+)?"

ALONE = re.compile(rf"\s*({NUMBER})\s*(?:/\s*\d+(?:\.\d+)?)?[.\s]*")
"""A number, perhaps "of" another: "4/5" is 4."""

FENCE = re.compile(r"```(?:json)?\s*(.*?)```", re.DOTALL)
"""What models put around JSON."""

LONGEST = 2000
"""Characters that are kept of why."""


@dataclass(frozen=True)
class Reader:
    """Reads answers of a score.

    Args:
        parse: see :func:`~zmax.scores.score`.
        name: the score, for messages.

    Example:
        >>> Reader("score", "judge")("The hat is red. Score: 4/5")
        (4.0, 'The hat is red. Score: 4/5')
        >>> Reader("score", "judge")({"score": "4", "reason": "too dark"})
        (4.0, 'too dark')
        >>> Reader(0, "judge")((4, "too dark")), Reader(float, "judge")("4")
        ((4.0, 'too dark'), (4.0, ''))
    """

    parse: Parse
    name: str

    def __call__(self, answer: Any) -> tuple[float, str]:
        """Return the number of an answer, NaN where that is None, and why.

        Raises:
            InputError: there is no number, or more than one.
        """
        key = self.parse
        value, why = self._of_function(answer, key) if callable(key) else self._at_key(answer, key)
        return value, why if len(why) <= LONGEST else f"{why[:LONGEST]} …"

    def answer(self, row: int, said: Any, running: int = 0) -> Answer:
        """Return what was said of one sample as its answer, a failure where that cannot be read."""
        try:
            value, why = self(said)
        except USERS as error:
            return Answer(row, math.nan, " ".join(reason(error).split()), running)
        if math.isnan(value):
            return Answer(row, value, why and f"no number: {why}", running)
        return Answer(row, value, running=running, why=why)

    def _of_function(self, answer: Any, parse: Callable[[Any], Any]) -> tuple[float, str]:
        found = parse(answer)
        if isinstance(found, (tuple, list)) and len(found) == 2 and isinstance(found[1], str):
            return self._number(found[0], answer), found[1]
        return self._number(found, answer), _rest(answer, None)

    def _at_key(self, answer: Any, key: str | int) -> tuple[float, str]:
        if isinstance(answer, str):
            parts = _of_json(answer)
            if parts is None:
                return self._in_text(answer)
            answer = parts
        if not isinstance(answer, (Mapping, list, tuple)):
            answer = getattr(answer, "__dict__", answer)
        try:
            return self._number(answer[key], answer), _rest(answer, key)
        except (KeyError, IndexError, TypeError) as error:
            raise self._wrong(answer) from error

    def _in_text(self, text: str) -> tuple[float, str]:
        """Return the number that follows the key in a text."""
        found = re.findall(rf"\b{re.escape(str(self.parse))}\b\W*?({NUMBER})", text, re.IGNORECASE)
        if len({float(one) for one in found}) != 1:
            raise self._wrong(text, ", ".join(found))
        return float(found[0]), text.strip()

    def _number(self, value: Any, answer: Any) -> float:
        alone = ALONE.fullmatch(value) if isinstance(value, str) else None
        try:
            return number(value if alone is None else float(alone[1]))
        except (TypeError, ValueError) as error:
            raise self._wrong(answer) from error

    def _wrong(self, answer: Any, several: str = "") -> InputError:
        where = "its parse= to give a number" if callable(self.parse) else f"one number at {self.parse!r}"
        said = repr(answer)
        got = f"{several} in " if several else ""
        got += said if len(said) < 200 else f"{said[:150]} ... {said[-50:]}"
        return InputError(f"an answer of the score {self.name!r} cannot be read", expected=where, got=got)


class WordsScore(Score):
    """A function of a batch that answers in words, one answer a sample; see :func:`~zmax.scores.score`.

    Args:
        inner: asks the function.
        reader: reads its answers.
    """

    each = True
    differentiable = False

    def __init__(self, inner: CallableScore, reader: Reader) -> None:
        self._inner, self._reader = inner, reader

    def told(self, prompt: str) -> WordsScore:
        """Return the score for samples made of that prompt."""
        made = copy.copy(self)
        made._inner = self._inner.told(prompt)
        return made

    def __call__(self, samples: Samples) -> Float[Tensor, " n"]:
        """Return the numbers that the answers give.

        Raises:
            InputError: one of them cannot be read.
        """
        return values_of(self.answers(samples), samples, self.name)

    def answers(self, samples: Samples) -> Iterator[Answer]:
        """Yield the answer of each sample."""
        n = count(samples, what=f"samples for the score {self.name!r}")
        for i, said in enumerate(rows_of(self._inner.raw(samples), n, self.name)):
            yield self._reader.answer(i, said)


def values_of(answers: Iterable[Answer], samples: Samples, name: str) -> Float[Tensor, " n"]:
    """Return the values of answers in the order of the samples.

    Raises:
        InputError: one of them is a failure.
    """
    told = sorted(answers, key=lambda answer: answer.row)
    for answer in told:
        if answer.failure:
            raise InputError(f"the score {name!r} fails on sample {answer.row}", got=answer.failure)
    values = torch.tensor([float(answer.value) for answer in told], dtype=torch.float64, device="cpu")
    return values.to(samples.device) if isinstance(samples, Tensor) else values


def rows_of(said: Any, n: int, name: str) -> list[Any]:
    """Return what was said of each sample: a list has one answer each; a dict, a tuple or a frame may be columns.

    Raises:
        ShapeError: there are not as many as samples.

    Example:
        >>> rows_of(["4", "5"], 2, "judge")
        ['4', '5']
        >>> rows_of({"score": [4, 5], "why": ["dark", "fine"]}, 2, "judge")[0]
        {'score': 4, 'why': 'dark'}
        >>> rows_of(([4, 5], ["dark", "fine"]), 2, "judge")[0]
        (4, 'dark')
    """
    if hasattr(said, "to_dict") and hasattr(said, "columns"):
        said = said.to_dict("records")
    if isinstance(said, Mapping) and said and all(_long(part, n) for part in said.values()):
        return [{key: part[i] for key, part in said.items()} for i in range(n)]
    if isinstance(said, tuple) and said and all(_long(part, n) for part in said):
        return list(zip(*said, strict=True))
    if n == 1 and isinstance(said, (str, Mapping)):
        return [said]
    if isinstance(said, Mapping | str) or not _long(said, n):
        got = describe(said)
        raise ShapeError(f"answers of the score {name!r}", expected=f"a list of {n}, one a sample", got=got)
    return list(said)


def _long(part: Any, n: int) -> bool:
    """Say whether something is a column of n."""
    listed = isinstance(part, (list, tuple)) or (isinstance(part, (Tensor, np.ndarray)) and part.ndim > 0)
    return listed and len(part) == n


def _of_json(text: str) -> Any:
    """Return the JSON object or list that a text is, perhaps between fences; None if it is none."""
    fenced = FENCE.search(text)
    try:
        found = json.loads(fenced[1] if fenced else text)
    except ValueError:
        return None
    return found if isinstance(found, (dict, list)) else None


def _rest(answer: Any, key: str | int | None) -> str:
    """Return what an answer says beside its number."""
    if isinstance(answer, str):
        return "" if ALONE.fullmatch(answer) else answer.strip()
    if isinstance(answer, Mapping):
        parts = {str(name): value for name, value in answer.items() if name != key}
    elif isinstance(answer, (list, tuple)):
        parts = {str(i): value for i, value in enumerate(answer) if i != key}
    else:
        return ""
    if key is None:
        parts = {name: value for name, value in parts.items() if isinstance(value, str)}
    words = [str(value) if isinstance(value, str) else f"{name}: {value}" for name, value in parts.items()]
    return words[0] if len(words) == 1 else "; ".join(f"{n}: {v}" for n, v in parts.items())
