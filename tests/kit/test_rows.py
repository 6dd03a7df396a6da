"""Rows of states: what is marked moves together, whatever it is nested in, and nothing else moves."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest
import torch
from torch import Tensor

from zmax.core.samples import spread
from zmax.core.state import ROW
from zmax.kit.rows import join, take, where


@dataclass(frozen=True)
class Inner:
    """Two rows of pictures, or of nothing."""

    x: Tensor = field(metadata=ROW)
    past: Tensor | None = field(default=None, metadata=ROW)


@dataclass(frozen=True)
class Outer:
    """Rows of their own and an inner state's; a shared vector, a number, and an inner state that keeps its rows."""

    score: Tensor = field(metadata=ROW)
    inner: Inner = field(metadata=ROW)
    shared: Tensor
    round: int
    kept: Inner


def outer(n: int, first: float = 0.0, past: bool = True) -> Outer:
    x = first + torch.arange(6.0 * n).reshape(n, 2, 3)
    inner = Inner(x, x[:, 0] if past else None)
    return Outer(x[:, 0, 0].double(), inner, torch.full((n,), first), int(first), Inner(x))


def equal(a: Outer, b: Outer) -> bool:
    parts = [(s.score, s.inner.x, s.inner.past, s.shared, s.round, s.kept.x, s.kept.past) for s in (a, b)]
    return all(torch.equal(p, q) if isinstance(p, Tensor) else p == q for p, q in zip(*parts, strict=True))


@pytest.mark.parametrize("rows", [torch.tensor([2, 2, 0]), torch.arange(0), torch.arange(4) % 3 == 0])
@pytest.mark.parametrize("past", [True, False])
def test_taking_rows_takes_all_that_is_marked_and_nothing_else(rows, past):
    state = outer(4, past=past)
    taken = take(state, rows)
    assert torch.equal(taken.score, state.score[rows])
    assert torch.equal(taken.inner.x, state.inner.x[rows])
    assert torch.equal(taken.inner.past, state.inner.past[rows]) if past else taken.inner.past is None
    assert equal(replace(state, score=taken.score, inner=taken.inner), taken)


@pytest.mark.parametrize("past", [True, False])
def test_what_is_split_and_joined_is_whole_again(past):
    state = outer(5, past=past)
    head, tail = (take(state, part) for part in torch.arange(5).split(2)[:2])
    rest = replace(take(state, torch.tensor([4])), shared=torch.zeros(0), round=7, kept=Inner(torch.zeros(0)))
    assert equal(join(join(head, tail), rest), state)


@pytest.mark.parametrize("past", [True, False])
def test_rows_from_one_state_or_the_other(past):
    a, b = outer(4, 100.0, past), outer(4, 7.0, past)
    rows = torch.tensor([True, False, False, True])
    mixed = where(rows, a, b)
    assert equal(take(mixed, rows), replace(take(a, rows), shared=b.shared, round=b.round, kept=b.kept))
    assert equal(take(mixed, ~rows), take(b, ~rows))
    assert equal(where(rows, b, b), b)


@pytest.mark.parametrize("state", [replace(outer(4), score=torch.zeros(3)), replace(outer(4), inner=outer(3).inner)])
def test_a_state_whose_marked_fields_have_not_the_same_rows_is_refused(state):
    with pytest.raises(AssertionError, match="the rows of a Outer must be as many in every field"):
        take(state, torch.tensor([0]))


@pytest.mark.parametrize("shape", [(2,), (2, 3), (2, 3, 4, 5)])
def test_a_value_a_row_multiplies_that_row_alone(shape):
    like, value = torch.ones(shape), torch.tensor([2.0, 3.0])
    assert [float(row.unique()) for row in spread(value, like) * like] == [2.0, 3.0]
    assert spread(value.reshape(2, 1), torch.ones(2, 3, 4)).shape == (2, 1, 1)
