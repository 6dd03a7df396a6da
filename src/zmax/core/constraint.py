"""What samples have to be beside scoring high: comparisons of a score with a number."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from jaxtyping import Float
from torch import Tensor

from zmax.core.errors import InputError

AT_LEAST, AT_MOST = SYMBOLS = (">=", "<=")


@dataclass(frozen=True, eq=False)
class Constraint:
    """That a score be at least, or at most, a number.

    Attributes:
        judge: the score B, of samples or of latents.
        symbol: ">=" or "<=".
        bound: the number.
    """

    judge: Comparable
    symbol: str
    bound: float

    @property
    def name(self) -> str:
        """How it is told and asked for."""
        return f"{self.judge.name} {self.symbol} {self.bound:g}"

    def slack(self, value: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """Return by how much values of the judge meet it, negative where they do not."""
        return value - self.bound if self.symbol == AT_LEAST else self.bound - value

    def __bool__(self) -> bool:
        raise InputError(
            f"the constraint {self.name!r} taken for true or false",
            expected="score.where(constraint)",
            remedy="of two bounds make two constraints: S.where(B >= 0.2, B <= 0.8)",
        )


class Comparable:
    """What makes a constraint when it is compared with a number, or with another such.

    Attributes:
        name: how it is told.
        latents: whether it judges latents z, as the generator takes them, in place of samples.
    """

    name: str
    latents: bool = False

    def __ge__(self, bound: Any) -> Constraint:
        return _compared(self, AT_LEAST, bound)

    def __le__(self, bound: Any) -> Constraint:
        return _compared(self, AT_MOST, bound)

    def __gt__(self, bound: Any) -> Constraint:
        raise InputError(f"{self.name!r} > ...", expected=">= or <=", remedy="numbers that are equal meet a constraint")

    def __lt__(self, bound: Any) -> Constraint:
        raise InputError(f"{self.name!r} < ...", expected=">= or <=", remedy="numbers that are equal meet a constraint")


def constraints_of(given: tuple[object, ...]) -> tuple[Constraint, ...]:
    """Return what was given as constraints.

    Raises:
        InputError: there is none, or something else among them.
    """
    for one in given or (None,):
        if not isinstance(one, Constraint):
            equal = "== compares objects; for a value near t: B >= t - 0.01, B <= t + 0.01"
            remedy = equal if isinstance(one, bool) else ""
            raise InputError("where()", expected="comparisons such as B >= 0.5", got=repr(one), remedy=remedy)
    return cast(tuple[Constraint, ...], given)


def slacks(constraints: tuple[Constraint, ...], values: Mapping[str, Tensor]) -> list[Float[Tensor, " n"]]:
    """Return by how much each constraint is met, from values of the judges by name."""
    return [constraint.slack(values[constraint.judge.name]) for constraint in constraints]


def _compared(judge: Comparable, symbol: str, bound: Any) -> Constraint:
    if isinstance(bound, Comparable):
        difference = cast(Any, judge) - bound
        return Constraint(difference, symbol, 0.0)
    if isinstance(bound, bool) or not isinstance(bound, (int, float)) or not math.isfinite(bound):
        raise InputError(f"{judge.name!r} {symbol} ...", expected="a number or a score", got=repr(bound))
    return Constraint(judge, symbol, float(bound))
