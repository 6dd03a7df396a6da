"""What arguments are let through, and how errors read."""

from __future__ import annotations

import inspect

import pytest

from zmax.core import checks
from zmax.core.errors import FailedRunError, InputError, MissingExtraError, StoreError, UnknownNameError, ZmaxError

POSITIVE, WHOLE, SHARE = (inspect.unwrap(check) for check in (checks.positive, checks.whole, checks.share))
"""The checks without the suite's own check of types."""

INF, NAN = float("inf"), float("nan")


@pytest.mark.parametrize("value", [1, 0.5, 1e-300, 1e300, None])
def test_positive_numbers_pass(value):
    POSITIVE("m", step=value)


@pytest.mark.parametrize("value", [0, 0.0, -1, -0.5, INF, -INF, NAN, True, "1", [1]])
def test_no_others_are_positive(value):
    with pytest.raises(InputError, match=r"m\(step=...\)"):
        POSITIVE("m", other=1.0, step=value)


@pytest.mark.parametrize(("value", "least"), [(1, 1), (7, 1), (0, 0), (3, 3), (None, 1)])
def test_whole_numbers_pass_from_the_least_on(value, least):
    WHOLE("m", least=least, n=value)


@pytest.mark.parametrize(("value", "least"), [(0, 1), (-1, 0), (2, 3), (1.0, 1), (True, 1), ("1", 1)])
def test_no_others_are_whole(value, least):
    with pytest.raises(InputError, match=f"at least {least}"):
        WHOLE("m", least=least, n=value)


def test_one_is_the_least_unless_told():
    with pytest.raises(InputError):
        WHOLE("m", n=0)


@pytest.mark.parametrize("value", [1, 1.0, 1e-9, 0.5])
def test_shares_pass(value):
    SHARE("m", part=value)


@pytest.mark.parametrize("value", [0, 0.0, 1.0001, -0.5, NAN, True, "0.5", None])
def test_no_others_are_shares(value):
    with pytest.raises(InputError, match="above 0 and at most 1"):
        SHARE("m", part=value)


def test_an_error_names_thing_expected_got_and_remedy_and_leaves_out_what_it_does_not_know():
    full = ZmaxError("x is odd", expected=2, got=0, remedy="add one")
    assert str(full) == "x is odd\n  expected: 2\n  got:      0\n  remedy:   add one"
    assert str(ZmaxError("x is odd")) == "x is odd"


def test_exit_codes_tell_bad_input_from_a_run_that_failed():
    codes = {kind: kind.exit_code for kind in (InputError, FailedRunError, StoreError)}
    assert codes == {InputError: 2, FailedRunError: 3, StoreError: 3}
    assert str(MissingExtraError("pandas", "qd", "this")) == (
        "this needs the package 'pandas'\n  remedy:   pip install 'zmax[qd]'"
    )


def test_the_three_nearest_names_are_offered_and_else_the_remedy():
    names = ["cma", "cmb", "cmc", "cmd", "zebra"]
    offered = str(UnknownNameError("method", "cme", names))
    assert sum(f"{name!r}" in offered.splitlines()[2] for name in names[:4]) == 3
    assert "expected: cma, cmb, cmc, cmd, zebra" in offered
    assert "see `zmax list`" in str(UnknownNameError("method", "qqqqqq", names))
    assert "look it up" in str(UnknownNameError("method", "qqqqqq", names, remedy="look it up"))
    assert "none known" in str(UnknownNameError("method", "cme", []))
