"""Each cause of a score that does not move has its own line, and a score that moves has none."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from typing import Any

import pytest

from zmax.results import Look
from zmax.results.still import gain, why_still

PARENT = Look(0, 0, 0, 8, 8, 1.0, [0.0, 1.0, 2.0, 3.0], kl=0.0, kl_error=0.0, loss=0.0, slope=0.0, moved=0.0)
MIDDLE = replace(PARENT, look=1, round=50, updates=50, kl=1.0, kl_error=0.1, loss=0.3, slope=0.5, moved=0.01)
LAST = replace(MIDDLE, look=2, round=99, updates=99, kl=2.0)
RECIPE = {"rate": 1e-3, "clip": 1.0}
OK = [["scores differ", True, "standard deviation 1"]]

CAUSES: list[tuple[dict[str, Any], list[list[Any]], str]] = [
    ({"scores": [-math.inf] * 4}, OK, "no fresh sample has a score"),
    ({"scores": [1.0] * 4}, OK, "S cannot tell them apart"),
    ({"updates": 0, "slope": math.nan, "loss": math.nan}, OK, "no update was taken"),
    ({"slope": 0.0, "loss": 0.0}, OK, "advantages of zero"),
    ({"slope": 0.0}, OK, "the gradient is zero"),
    ({}, [["noises differ", False, "two are the same"]], r"failed: noises differ \(two are the same\)"),
    ({"scores": [-1.0, 0.0, 1.0, 2.0]}, OK, "it fell by 1: lower the learning rate, 0.001"),
    ({"updates": 3}, OK, "only 3 updates"),
    ({"moved": 1e-6}, OK, "the weights moved by 1e-06 of their size: raise the learning rate"),
    ({"kl": 1.001}, OK, "the KL to the parent stays at 1"),
    ({"slope": 70.0}, OK, "gradients of norm 70 are cut to 1"),
    ({}, OK, "no more can be told"),
]


@pytest.mark.parametrize(("change", "checks", "words"), CAUSES)
def test_each_cause_is_told(change: dict[str, Any], checks: list[list[Any]], words: str) -> None:
    assert re.search(words, why_still([PARENT, MIDDLE, replace(LAST, **change)], checks, RECIPE))


def test_a_score_that_rises_needs_no_cause() -> None:
    risen = replace(LAST, scores=[1.0, 2.1, 3.0, 4.1], slope=0.0)
    assert why_still([PARENT, MIDDLE, risen], OK, RECIPE) == ""
    assert why_still([PARENT], OK, RECIPE) == why_still([], [], {}) == ""


def test_a_rise_is_told_noise_by_noise() -> None:
    assert gain([0.0, 100.0, -100.0], [1.0, 101.0, -99.0]) == (1.0, 0.0)
    assert gain([0.0, 1.0, math.nan, -math.inf], [1.0, 4.0, 9.0, 9.0]) == pytest.approx((2.0, 1.0))
    assert all(map(math.isnan, gain([1.0], [2.0])))
