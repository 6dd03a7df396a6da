"""Several scores as the goals of one run, each by its name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from torch import Tensor, nn

from zmax.core.defaults import theirs
from zmax.core.errors import InputError, ShapeError
from zmax.core.goals import Goals
from zmax.core.samples import Samples, count, describe
from zmax.core.score import Combined, Score, rule_of, united
from zmax.core.settings import AND
from zmax.scores.expression import WHERE
from zmax.scores.values import as_values, stack_values


def several(scores: Sequence[Score]) -> Score:
    """Return scores as goals of one run, with the constraints of all of them; a single one as it is.

    Its own value is that of :class:`~zmax.core.goals.Goals`, by which methods and leaders are told better from worse.

    Raises:
        InputError: there is none, two have one name, or one has goals of its own or judges latents.

    Example:
        >>> import torch
        >>> from zmax.scores import score
        >>> S = several([score(lambda x: x[:, 0], name="a"), score(lambda x: x[:, 1], name="b")])
        >>> S.name, S.goals.names, S(torch.tensor([[1.0, 3.0]])).tolist()
        ('a & b', ('a', 'b'), [1.100000023841858])
    """
    if len(scores) == 1:
        return scores[0]
    names = tuple(one.name.partition(f" {WHERE} ")[0] for one in scores)
    odd = next((one for one in scores if one.goals is not None or one.latents), None)
    if len(set(names)) < max(2, len(names)) or odd is not None:
        expected = "two scores or more, each of its own name"
        got = ", ".join(map(repr, names)) or "none"
        got = got if odd is None else f"{odd.name!r}, which has goals of its own, or judges latents"
        raise InputError("goals", expected=expected, got=got, remedy="name them: zmax.score(fn, name=...)")
    made = _joined(names, tuple(united(*scores).values()), dict(zip(names, map(rule_of, scores), strict=True)))
    for one in scores:
        made.constraints += one.constraints
        made.judges = {**made.judges, **(one.judges if isinstance(one, Combined) else {})}
    made.name += f" {WHERE} {', '.join(one.name for one in made.constraints)}" if made.constraints else ""
    made.source = AND.join(one.source for one in scores) if all(one.source for one in scores) else ""
    return made


def columns(
    fn: Callable[[Any], Any],
    names: Sequence[str],
    *,
    differentiable: bool | None = None,
    noisy: bool = False,
    per_sample: bool = False,
    numpy: bool = False,
) -> Combined:
    """Return the goals that one function gives together, as columns or by name; see :func:`~zmax.scores.score`.

    Raises:
        InputError: the names are not two or more.
    """
    named = not isinstance(names, str) and all(isinstance(name, str) for name in names)
    if not named or len(set(names)) < max(2, len(names)):
        raise InputError("goals=", expected="two names or more, one each", got=repr(names))
    table = _Table(fn, tuple(names), per_sample, numpy)
    terms: list[Score] = []
    for name in names:
        terms.append(_Column(table, name))
        terms[-1].differentiable, terms[-1].noisy = False if numpy else differentiable, noisy
        terms[-1].networks = (fn,) if isinstance(fn, nn.Module) else ()
    return _joined(tuple(names), tuple(terms), {term.name: rule_of(term) for term in terms})


def _joined(names: tuple[str, ...], terms: tuple[Score, ...], rules: Mapping[str, Callable[..., Tensor]]) -> Combined:
    goals = Goals(names)
    made = Combined(AND.join(names), terms, lambda v: goals.total({name: rules[name](v) for name in names}))
    made.goals, made.judges = goals, rules
    return made


class _Table:
    """A function that gives the values of several goals at once: one call serves all columns of a batch."""

    def __init__(self, fn: Callable[[Any], Any], names: tuple[str, ...], per_sample: bool, numpy: bool) -> None:
        self.names = names
        self._fn, self._per_sample, self._numpy = fn, per_sample, numpy
        self._asked: Samples = ()
        self._left: dict[str, Any] = {}

    def column(self, name: str, samples: Samples) -> Any:
        """Return the values of one goal."""
        if name not in self._left or not _same(samples, self._asked):
            handed = samples.cpu().numpy().copy() if isinstance(samples, Tensor) and self._numpy else samples
            self._asked, self._left = samples, dict(zip(self.names, self._columns(handed), strict=True))
        found = self._left.pop(name)
        self._asked = self._asked if self._left else ()
        return found

    def _columns(self, samples: Samples) -> list[Any]:
        with theirs():
            if not self._per_sample:
                return self._split(self._fn(samples), len(samples))
            rows = [self._split(self._fn(samples[i]), 1) for i in range(len(samples))]
        return [stack_values(list(column)) for column in zip(*rows, strict=True)]

    def _split(self, raw: Any, n: int) -> list[Any]:
        """Return what the function gave, goal by goal.

        Raises:
            ShapeError: it is neither a dict of the names, nor a tuple of so many, nor columns.
        """
        m = len(self.names)
        if isinstance(raw, Mapping) and all(name in raw for name in self.names):
            return [raw[name] for name in self.names]
        if isinstance(raw, tuple) and len(raw) == m:
            return list(raw)
        shape = tuple(getattr(raw, "shape", ()))
        if shape == (n, m) or (self._per_sample and shape == (m,)):
            return [raw[..., i] for i in range(m)]
        if self._per_sample and isinstance(raw, list) and len(raw) == m:
            return raw
        got = f"a dict of {', '.join(map(repr, raw))}" if isinstance(raw, Mapping) else describe(raw)
        shapes = f"({m},)" if self._per_sample else f"({n}, {m})"
        raise ShapeError(
            f"what the score of {', '.join(map(repr, self.names))} returned",
            expected=f"columns {shapes}, a tuple of {m}, or a dict by these names",
            got=got,
        )


class _Column(Score):
    """One goal of a function that gives several."""

    def __init__(self, table: _Table, name: str) -> None:
        self.name, self._table = name, table

    def __call__(self, samples: Samples) -> Float[Tensor, " n"]:
        """Return the values of this goal.

        Raises:
            ShapeError: the function gives no such column, or not one value a sample.
        """
        n = count(samples, what=f"samples for the score {self.name!r}")
        handed = samples.detach() if isinstance(samples, Tensor) and self.differentiable is False else samples
        values = as_values(self._table.column(self.name, handed), n, self.name)
        return values.to(samples.device) if isinstance(samples, Tensor) else values


def _same(one: Samples, other: Samples) -> bool:
    """Say whether two batches hold the same objects."""
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        shape = one.data_ptr() == other.data_ptr() and one.shape == other.shape and one._version == other._version
        return shape and one.requires_grad == other.requires_grad
    if isinstance(one, (Tensor, np.ndarray)) or isinstance(other, (Tensor, np.ndarray)):
        return one is other
    return len(one) == len(other) and all(a is b for a, b in zip(one, other, strict=True))
