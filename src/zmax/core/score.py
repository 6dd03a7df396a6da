"""The score S: samples in, one number each out, higher is better; and arithmetic on scores."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import reduce
from types import MappingProxyType
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from zmax.core.constraint import Comparable, Constraint, constraints_of
from zmax.core.errors import InputError
from zmax.core.goals import Goals
from zmax.core.naming import ClassName
from zmax.core.samples import Samples


@dataclass(frozen=True)
class Answer:
    """What a score says of one sample.

    Attributes:
        row: which sample of the batch.
        value: its score, NaN where it failed.
        failure: why it failed, "" if it did not.
        running: samples that are being scored while this is told.
        why: what is said of it beside the number, "" if nothing is.
    """

    row: int
    value: float | Float[Tensor, ""]
    failure: str = ""
    running: int = 0
    why: str = ""


class Score(Comparable, ABC):
    """A judge of samples. Implement :meth:`__call__`; the rest has defaults that work.

    Attributes:
        name: how reports call it; the class's name unless set.
        differentiable: whether autograd can follow it from samples to values; None until a run has found out.
        noisy: whether a second call on the same sample may give another value.
        bounds: lowest and highest possible value, infinite where unknown.
        unit: unit of the values, "" if none ("log-odds", "kB").
        terms: the scores it is made of, empty for a plain one.
        networks: networks it runs, for device moves.
        source: specification from which another process can load it, "" if it lives in this program only.
        prompted: whether it asks for the prompt that samples are made of.
        each: whether samples are judged one by one: `answers` tells of each as it is known, and each fails alone.
        workers: processes that do so, None for this one.
        latents: whether it judges latents z in place of samples; such a score is for constraints alone.
        constraints: what samples have to meet, see :meth:`where`.
        size: samples of the sets that it judges, 1 where it judges single ones.
        goals: what it is made of, where that is to be high one by one; None for a score that is one number.
    """

    name: str = cast(str, ClassName())
    differentiable: bool | None = False
    noisy: bool = False
    bounds: tuple[float, float] = (float("-inf"), float("inf"))
    unit: str = ""
    terms: tuple[Score, ...] = ()
    networks: tuple[nn.Module, ...] = ()
    source: str = ""
    prompted: bool = False
    each: bool = False
    workers: int | None = None
    constraints: tuple[Constraint, ...] = ()
    goals: Goals | None = None
    size: int = 1

    @abstractmethod
    def __call__(self, samples: Samples) -> Float[Tensor, " n"]:
        """Return one value for each sample, independent of the other samples of the batch."""

    def at(self, t: Float[Tensor, " n"]) -> Score:
        """Return the score for previews of points at these times, from 1 (noise) to 0 (data); most care for none."""
        return self

    def told(self, prompt: str) -> Score:
        """Return the score for samples made of that prompt; most care for none."""
        return self

    def features(self, samples: Samples) -> Float[Tensor, "n f"] | None:
        """Return what it sees of samples, by which sets of them can be compared; None where it has nothing to show."""
        return None

    def answers(self, samples: Samples) -> Iterator[Answer]:
        """Yield one answer a sample, in the order in which they come: all at once unless samples go one by one."""
        yield from (Answer(i, value) for i, value in enumerate(self(samples)))

    def hire(self, workers: int) -> None:
        """Let so many processes score, one sample each at a time, wherever samples are judged one by one.

        Raises:
            InputError: they are not.
        """
        single = [term for term in self.terms if term.each]
        if not single:
            remedy = "zmax.score(fn, per_sample=True), with a function of one sample"
            raise InputError(f"workers beside the score {self.name!r}, which judges whole batches", remedy=remedy)
        for term in single:
            term.hire(workers)
        self.workers = workers

    def close(self) -> None:
        """End the processes that judge, if there are any; they come back when they are needed."""
        for term in self.terms:
            term.close()

    def where(self, *constraints: object) -> Combined:
        """Return this score for samples that meet constraints, comparisons such as `B >= 0.5`, alone.

        Raises:
            InputError: they are no comparisons, or two scores share a name.
        """
        found = constraints_of(constraints)
        judges = [cast(Score, one.judge) for one in found]
        terms = united(self, *(judge for judge in judges if not judge.latents))
        name = f"{self.name}{', ' if self.constraints else ' where '}{', '.join(one.name for one in found)}"
        made = Combined(name, tuple(terms.values()), rule_of(self))
        made.judges = {**(self.judges if isinstance(self, Combined) else {}), **{j.name: rule_of(j) for j in judges}}
        made.constraints, made.unit, made.bounds = (*self.constraints, *found), self.unit, self.bounds
        made.goals = self.goals
        return made

    def __add__(self, other: Score | float) -> Score:
        return combine(" + ", torch.add, self, other)

    def __radd__(self, other: float) -> Score:
        return combine(" + ", torch.add, other, self)

    def __sub__(self, other: Score | float) -> Score:
        return combine(" - ", torch.sub, self, other)

    def __rsub__(self, other: float) -> Score:
        return combine(" - ", torch.sub, other, self)

    def __mul__(self, other: Score | float) -> Score:
        return combine("*", torch.mul, self, other)

    def __rmul__(self, other: float) -> Score:
        return combine("*", torch.mul, other, self)

    def __truediv__(self, other: Score | float) -> Score:
        return combine("/", torch.div, self, other)

    def __neg__(self) -> Score:
        return combine("*", torch.mul, -1.0, self)

    def __pow__(self, exponent: float) -> Score:
        return combine("**", torch.pow, self, exponent)

    def __abs__(self) -> Score:
        return function("abs", torch.abs, self)

    def clip(self, low: float = float("-inf"), high: float = float("inf")) -> Score:
        """Return this score, no lower than one number and no higher than another."""
        return function("clip", lambda value, low, high: value.clamp(low.to(value), high.to(value)), self, low, high)


Operation = Callable[..., Tensor]
Values = Mapping[str, Tensor]


class Combined(Score):
    """Arithmetic over plain scores, each evaluated once per sample however often it appears.

    Attributes:
        shape: "sum", "product" or "call", which decides where the name needs parentheses.
        judges: by name what gives the value of each constraint's score, and of each goal.
    """

    shape: str = "call"
    judges: Mapping[str, Callable[[Values], Tensor]] = MappingProxyType({})

    def __init__(self, name: str, terms: tuple[Score, ...], rule: Callable[[Values], Tensor]) -> None:
        self.name = name
        self.terms = terms
        self.rule = rule
        known = [term.differentiable for term in terms]
        self.differentiable = False if False in known else None if None in known else True
        self.noisy = any(term.noisy for term in terms)
        self.prompted = any(term.prompted for term in terms)
        self.workers = max((term.workers for term in terms if term.workers), default=None)
        self.networks = tuple(network for term in terms for network in term.networks)
        self.size = max((term.size for term in terms), default=1)
        odd = next((term for term in terms if term.size != self.size), None)
        if odd is not None:
            got = f"{odd.name!r}, of {'single ones' if odd.size == 1 else f'{odd.size}'}"
            remedy = "of a score S of samples: zmax.set_score(lambda x: S(x).mean(), size)"
            raise InputError(f"the score {name!r}", expected=f"scores of sets of {self.size}", got=got, remedy=remedy)

    def told(self, prompt: str) -> Combined:
        """Return the same arithmetic over terms that know the prompt."""
        made = Combined(self.name, tuple(term.told(prompt) for term in self.terms), self.rule)
        made.shape, made.source, made.unit, made.bounds = self.shape, self.source, self.unit, self.bounds
        made.constraints, made.judges, made.goals = self.constraints, self.judges, self.goals
        return made

    def __call__(self, samples: Samples) -> Float[Tensor, " n"]:
        """Evaluate every term and apply the rule."""
        return self.rule({term.name: term(samples) for term in self.terms})


def combine(symbol: str, operation: Operation, left: Score | float, right: Score | float) -> Combined:
    """Join two scores, or a score and a number, by a binary operation on values.

    Example:
        >>> from zmax.scores import score
        >>> a, b = score(lambda x: x.sum(1), name="a"), score(lambda x: -x.square().sum(1), name="b")
        >>> both = 0.5 * a + b
        >>> both.name, both(torch.ones(1, 2)).tolist()
        ('0.5*a + b', [-1.0])
    """
    name = f"{_factor(left, symbol, last=False)}{symbol}{_factor(right, symbol, last=True)}"
    joined = _computed(name, operation, left, right)
    joined.shape = "product" if symbol in ("*", "/", "**") else "sum"
    return joined


def minimum(*sides: Score | float) -> Combined:
    """Return the smallest of scores, sample by sample: all must be high.

    Example:
        >>> from zmax.scores import score
        >>> a, b = score(lambda x: x[:, 0], name="a"), score(lambda x: x[:, 1], name="b")
        >>> least = minimum(a, b**2, abs(a - b), a.clip(high=2))
        >>> least.name, least(torch.tensor([[3.0, -2.0], [1.0, 0.5]])).tolist()
        ('min(a, b**2, abs(a - b), clip(a, -inf, 2))', [2.0, 0.25])
    """
    return function("min", lambda *values: reduce(torch.minimum, values), *sides)


def maximum(*sides: Score | float) -> Combined:
    """Return the largest of scores, sample by sample: any may be high."""
    return function("max", lambda *values: reduce(torch.maximum, values), *sides)


def function(word: str, operation: Operation, *sides: Score | float) -> Combined:
    """Return a function of scores and numbers, which stand in its name."""
    return _computed(f"{word}({', '.join(map(_name, sides))})", operation, *sides)


def _computed(name: str, operation: Operation, *sides: Score | float) -> Combined:
    terms = united(*sides)
    for side in sides:
        if isinstance(side, Score) and (side.constraints or side.latents or side.goals):
            remedy = "constraints come last: (A + B).where(C >= 0.5)" if side.constraints else "compare it: >= or <="
            remedy = "a list of goals: zmax.maximize(G, [A + B, C])" if side.goals else remedy
            raise InputError(f"arithmetic on {side.name!r}", remedy=remedy)
    rules = [rule_of(side) for side in sides]
    if not terms:
        got = " and ".join(map(str, sides)) or "nothing"
        raise InputError("arithmetic on scores", expected="a score on at least one side", got=got)
    return Combined(name, tuple(terms.values()), lambda values: operation(*(rule(values) for rule in rules)))


def united(*sides: Score | float) -> dict[str, Score]:
    """Return the terms of scores by name."""
    every = [term for side in sides for term in _terms(side)]
    terms = {term.name: term for term in every}
    for term in every:
        if terms[term.name] is not term:
            raise InputError(f"two different scores are called {term.name!r}", remedy="give each its own name")
    return terms


def _terms(side: Score | float) -> tuple[Score, ...]:
    return (side.terms or (side,)) if isinstance(side, Score) else ()


def rule_of(side: Score | float) -> Callable[[Values], Tensor]:
    """Return what gives the value of a score, or of a number, from those of its terms."""
    if isinstance(side, Combined):
        return side.rule
    if isinstance(side, Score):
        name = side.name
        return lambda values: values[name]
    if not isinstance(side, (int, float)):
        raise InputError("scores combine with scores and numbers", expected="Score or float", got=type(side).__name__)
    return lambda values: torch.tensor(float(side), dtype=torch.float64, device="cpu")


def _factor(side: Score | float, symbol: str, *, last: bool) -> str:
    """Return a side's name, in parentheses where it needs them."""
    shape = side.shape if isinstance(side, Combined) else "call"
    loose = symbol in ("*", "/", "**") or (last and symbol == " - ")
    tight = (last and symbol == "/") or symbol == "**"
    return f"({_name(side)})" if (shape == "sum" and loose) or (shape == "product" and tight) else _name(side)


def _name(side: Score | float) -> str:
    return side.name if isinstance(side, Score) else repr(float(side)).removesuffix(".0")
