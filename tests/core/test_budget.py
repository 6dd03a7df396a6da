from __future__ import annotations

import inspect

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zmax.core.budget import Budget, Ledger
from zmax.core.errors import InputError


def test_an_int_is_score_calls():
    assert Budget.of(7) == Budget(score_calls=7)
    assert Budget.of(Budget(nfe=3)) == Budget(nfe=3)


@pytest.mark.parametrize("bad", [0, -1, True, 2.5, "many", None])
def test_bad_budgets_are_refused(bad):
    with pytest.raises(InputError, match="budget"):
        Budget.of(bad)


@pytest.mark.parametrize("bad", [{}, {"seconds": 0.0}, {"seconds": float("inf")}, {"nfe": -5}])
def test_bad_limits_are_refused(bad):
    with pytest.raises(InputError):
        Budget(**bad)


def test_the_first_limit_reached_is_named():
    budget = Budget(score_calls=10, nfe=100)
    assert budget.reached(Ledger(score_calls=9, nfe=99)) is None
    assert budget.reached(Ledger(score_calls=9, nfe=100)) == "nfe"


@given(calls=st.integers(1, 100), spent=st.integers(0, 150), wanted=st.integers(0, 50), each=st.integers(1, 9))
def test_room_never_exceeds_a_limit(calls, spent, wanted, each):
    ledger = Ledger(score_calls=spent, decodes=spent, nfe=each * spent)
    room = Budget(score_calls=calls, nfe=each * calls).room(ledger, wanted)
    assert 0 <= room <= wanted
    assert room == min(wanted, max(0, calls - spent))


@given(calls=st.integers(1, 100), seconds=st.floats(0.1, 100))
def test_share_is_that_of_the_tightest_limit(calls, seconds):
    share = Budget(score_calls=100, seconds=100.0).share(Ledger(score_calls=calls, seconds=seconds))
    assert share == pytest.approx(max(calls, seconds) / 100)


def unchecked(**limits):
    """Make a Budget without the run-time type check."""
    inspect.unwrap(Budget.__init__)(Budget.__new__(Budget), **limits)


@pytest.mark.parametrize("limit", ["score_calls", "nfe", "score_grads", "seconds"])
@pytest.mark.parametrize("bad", ["50", True, [5], float("nan")])
def test_limits_of_another_type_are_refused(limit, bad):
    with pytest.raises(InputError, match=f"budget {limit}"):
        unchecked(**{limit: bad})


def test_only_seconds_may_be_broken():
    assert Budget(seconds=60) == Budget(seconds=60.0)
    assert Budget(seconds=0.5).seconds == 0.5
    with pytest.raises(InputError, match="a positive int"):
        unchecked(score_calls=50.5)


def test_rows_that_cost_several_gradients_fit_as_often_as_these_do():
    spent = Ledger(score_calls=3, score_grads=4)
    assert Budget(score_calls=100, score_grads=11).room(spent, 50, calls=1, grads=3) == 2
    assert Budget(score_calls=10).room(spent, 50, calls=2, grads=3) == 3
