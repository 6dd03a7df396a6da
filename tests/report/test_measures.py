"""What the figures and the verdict are computed from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

import zmax
from zmax.report import measures, verdict
from zmax.results import Result
from zmax.store import REFERENCE, Chunk, Entry

INF = float("inf")


def _entry(i: int, score: float, **more: Any) -> Entry:
    u = torch.full((3,), float(i))
    return Entry(**{"id": i, "score": score, "plausibility": 0.5, "u": u, "z": u, "sample": "s", **more})


def _chunk(round_: int, first: int, scores: list[float], calls: int, **more: Any) -> Chunk:
    n = len(scores)
    data = {"u": torch.zeros(n, 3), "score": torch.tensor(scores), "plausibility": torch.linspace(0, 1, n), **more}
    return Chunk(round=round_, offset=0, first_id=first, ledger=zmax.Ledger(score_calls=calls), **data)


@pytest.fixture
def uneven(make: Callable[..., Result]) -> Result:
    """A reference batch of two, then batches of three and one; the second failed once and cost a call more."""
    parts = [{"a": torch.tensor(v)} for v in ([10.0, 20.0], [30.0, 40.0, 50.0], [60.0])]
    chunks = [
        _chunk(REFERENCE, 0, [1.0, 0.0], 2, parts=parts[0]),
        _chunk(0, 2, [-INF, 3.0, 2.0], 8, parts=parts[1]),
        _chunk(1, 5, [4.0], 9, parts=parts[2]),
    ]
    return make([_entry(5, 4.0, parts={"a": 60.0})], [_entry(0, 1.0), _entry(1, 0.0)], chunks)


def test_calls_grow_evenly_within_a_batch_and_end_where_the_ledger_does(uneven: Result) -> None:
    assert measures.call_numbers(uneven.history).tolist() == [1, 2, 4, 6, 8, 9]


def test_the_best_curve_is_the_running_maximum_over_what_has_a_score(uneven: Result) -> None:
    curve = measures.best_curve(uneven)
    assert curve is not None
    assert curve.calls.tolist() == [1, 2, 6, 8, 9]
    assert curve.best.tolist() == [1, 1, 3, 3, 4]
    assert curve.best[-1] == uneven.best.score
    assert curve.reference_mean == 0.5


def test_parts_are_those_of_the_sample_that_leads(uneven: Result) -> None:
    assert {k: v.tolist() for k, (_, v) in measures.part_curves(uneven).items()} == {"a": [10, 10, 40, 40, 60]}


def test_a_sample_that_is_not_final_lends_no_parts(make: Callable[..., Result]) -> None:
    chunks = [
        _chunk(REFERENCE, 0, [1.0, 0.0], 2, parts={"a": torch.tensor([10.0, 20.0])}),
        _chunk(
            0,
            2,
            [9.0],
            3,
            parts={"a": torch.tensor([30.0])},
            u=None,
            digest=torch.zeros(1, 8).byte(),
            plausibility=None,
        ),
        _chunk(1, 3, [1.0, 2.0], 5, parts={"a": torch.tensor([40.0, 50.0])}),
    ]
    ((calls, value),) = measures.part_curves(make((), (), chunks)).values()
    assert (calls.tolist(), value.tolist()) == ([1, 2, 4, 5], [10, 10, 10, 50])


def test_the_curve_ends_with_the_ledger_of_the_run(uneven: Result) -> None:
    curve = measures.best_curve(uneven)
    assert curve is not None
    assert curve.end == 9
    uneven.ledger.score_calls = 12
    longer = measures.best_curve(uneven)
    assert longer is not None
    assert longer.end == 12


def test_held_out_points_are_those_with_a_value(make: Callable[..., Result]) -> None:
    leaders = [_entry(0, 5.0, held_out=0.5), _entry(1, 4.0, held_out=float("nan")), _entry(2, 3.0)]
    points = measures.held_out_points(make(leaders, [_entry(3, 1.0, held_out=0.25)]))
    assert points is not None
    assert [column.tolist() for column in points.leaders] == [[5.0], [0.5]]
    assert [column.tolist() for column in points.reference] == [[1.0], [0.25]]
    assert measures.held_out_points(make(leaders[1:], leaders[1:])) is None
    assert measures.held_out_points(make(leaders[:1])) is not None
    assert measures.held_out_points(make((), leaders[:1])) is not None


def test_looks_are_a_curve_from_the_second_on(make: Callable[..., Result]) -> None:
    assert measures.watched_curves(make(watched=[(5, 1.0, 2.0)])) is None
    curves = measures.watched_curves(make(watched=[(5, 1.0, 2.0), (9, 3.0, 4.0)]))
    assert curves is not None
    assert [column.tolist() for column in curves] == [[5, 9], [1, 3], [2, 4]]


def test_means_and_quantiles_are_of_what_is_finite() -> None:
    values = [1.0, float("nan"), 2.0, INF, 6.0]
    assert (measures.mean(values), measures.quantile(values, 0.5)) == (3.0, 2.0)
    assert (measures.mean([INF]), measures.quantile([], 0.5)) == (None, None)


def test_random_samples_are_not_drawn_twice(uneven: Result) -> None:
    points = measures.plausibility_points(uneven)
    assert points is not None
    assert points.all[1].tolist() == [3, 2, 4]
    assert points.reference[1].tolist() == [1, 0]


@pytest.mark.parametrize("n", [0, 1, 2999, 3000, 3001, 10_000])
def test_thinning_keeps_order_and_bounds_the_number(n: int) -> None:
    x = np.arange(float(n))
    a, b = measures.thin(x, -x)
    assert len(a) <= 3000
    assert np.array_equal(a, -b)
    assert len(np.unique(np.diff(a))) <= 1
    assert n > 3000 or len(a) == n
    assert n <= 3000 or len(a) > 1500


def _judged(make: Callable[..., Result], best: list[float], random: list[float], plausibility: float = 0.5) -> Result:
    leaders = [_entry(i, 9.0, held_out=v, plausibility=plausibility) for i, v in enumerate(best)]
    reference = [_entry(100 + i, 0.0, held_out=v) for i, v in enumerate(random)]
    return make(leaders, reference, held_out="judge")


RANDOM = [0.0, 1.0, 2.0, 3.0, 4.0]  # median 2, upper quartile 3


@pytest.mark.parametrize(
    ("best", "random", "status"),
    [
        ([3.5, 4.0, 5.0], RANDOM, "ok"),
        ([3.0], RANDOM, "ok"),
        ([2.9], RANDOM, "warn"),
        ([0.0, 0.0, 9.0], RANDOM, "warn"),
        ([1.0] * 4, [1.0] * 4, "warn"),
        ([9.0], RANDOM[:3], "unknown"),
        ([float("nan")], RANDOM, "unknown"),
        ([float("nan"), 9.0], RANDOM, "ok"),
    ],
)
def test_the_held_out_rule(make: Callable[..., Result], best: list[float], random: list[float], status: str) -> None:
    result = _judged(make, best, random)
    assert verdict.confirmed(result).status == status
    words = {"ok": "agrees", "warn": "does not confirm", "unknown": "too few"}
    assert words[status] in verdict.agreement(result)


@pytest.mark.parametrize(("plausibility", "status"), [(0.05, "ok"), (0.0499, "warn"), (0.0, "warn")])
def test_the_plausibility_rule(make: Callable[..., Result], plausibility: float, status: str) -> None:
    result = _judged(make, [5.0] * 3, RANDOM, plausibility)
    assert verdict.plausible(result).status == status
    assert verdict.judge(result).status == status


def test_the_plausibility_rule_counts_who_is_below(make: Callable[..., Result]) -> None:
    leaders = [_entry(i, 5.0 - i, plausibility=p) for i, p in enumerate([0.04, 0.05, 0.2, 0.01, 0.5])]
    assert verdict.plausible(make(leaders)).found == "They are 0.04 and 0.05; 2 of 5 are below 0.05."
    assert verdict.plausible(make(leaders)).status == "warn"  # the best sample, not only the median
    assert verdict.plausible(make()).status == "unknown"


@pytest.mark.parametrize(
    ("realism", "status"), [([0.5, 0.01, 0.6], "ok"), ([0.01, 0.5, 0.6], "warn"), ([0.5, 0.01, 0.02], "warn")]
)
def test_the_realism_rule(make: Callable[..., Result], realism: list[float], status: str) -> None:
    result = make([replace(_entry(i, 5.0 - i), realism=p) for i, p in enumerate(realism)])
    result.leaders = tuple(replace(e, realism=p) for e, p in zip(result.leaders, realism, strict=True))
    assert verdict.natural(result).status == status
    assert verdict.natural(result) in verdict.judge(result).checks


def test_realism_that_was_not_measured_is_no_check_but_is_said(make: Callable[..., Result]) -> None:
    checks = verdict.judge(make([_entry(0, 1.0)], modality="image")).checks
    assert not any("realism of" in check.rule for check in checks)
    assert "zmax.realism(G)" in checks[0].found


def test_the_held_out_rule_counts_who_is_above_the_quartile(make: Callable[..., Result]) -> None:
    found = verdict.confirmed(_judged(make, [3.0, 3.5, 5.0], RANDOM)).found
    assert found.startswith(
        "The median of the best is 3.5; the random samples have median 2 and upper quartile 3. 2 of 3"
    )


GOOD = [(10, 1.0, 4.0), (20, 2.0, 8.0)]  # the random samples have a mean of 4, so the held-out score has risen by 4


@pytest.mark.parametrize(
    ("later", "status"),
    [
        ((30, 3.0, 9.0), "ok"),  # it still rises
        ((30, 3.0, 7.0), "ok"),  # a quarter of the rise is lost, no more
        ((30, 3.0, 6.9), "warn"),
        ((30, 2.0, 0.0), "ok"),  # the score did not rise on the way down, so nobody was fooled
        ((30, 1.5, 0.0), "ok"),
    ],
)
def test_the_lasting_rule(make: Callable[..., Result], later: tuple[float, float, float], status: str) -> None:
    random = [_entry(100 + i, 0.0, held_out=v) for i, v in enumerate([3.0, 5.0])]
    result = make([_entry(0, 9.0, held_out=9.0)], random, watched=[*GOOD, later], held_out="judge")
    assert verdict.lasting(result).status == status
    assert len(verdict.judge(result).checks) == 3
    assert (verdict.judge(result).status == "warn") == (status == "warn")


def test_a_held_out_score_that_never_rose_lasts_only_if_it_does_not_fall(make: Callable[..., Result]) -> None:
    random = [_entry(100, 0.0, held_out=9.0)]
    assert verdict.lasting(make((), random, watched=[(1, 1.0, 4.0), (2, 2.0, 3.9)])).status == "warn"
    assert verdict.lasting(make((), random, watched=[(1, 1.0, 4.0), (2, 2.0, 4.0)])).status == "ok"


def test_the_lasting_rule_says_when_it_peaked(make: Callable[..., Result]) -> None:
    random = [_entry(100, 0.0, held_out=4.0)]
    found = verdict.lasting(make((), random, watched=[*GOOD, (1500, 3.0, 5.0)])).found
    assert found == "It peaked at 8 after 20 score calls, and ended at 5; random samples have 4."
    assert verdict.lasting(make((), (), watched=GOOD)).status == "unknown"


def test_without_looks_the_lasting_rule_is_not_asked(make: Callable[..., Result]) -> None:
    assert len(verdict.judge(make(watched=GOOD[:1])).checks) == 2


def test_the_agreement_says_both_means(make: Callable[..., Result]) -> None:
    assert "its mean went from 2 (random) to 5 (best)" in verdict.agreement(_judged(make, [4.0, 6.0], RANDOM))


def test_the_held_out_rule_is_blind_to_units(make: Callable[..., Result]) -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        best, random = rng.normal(0.7, 1, 7), rng.normal(0, 1, 9)
        plain, scaled = (_judged(make, list(a * best + b), list(a * random + b)) for a, b in ((1, 0), (250.0, -3.0)))
        assert verdict.confirmed(plain).status == verdict.confirmed(scaled).status


def test_without_a_held_out_score_nothing_is_claimed(make: Callable[..., Result]) -> None:
    result = make([_entry(0, 1.0)], [_entry(1, 0.0)])
    assert verdict.judge(result).status == "unknown"
    assert verdict.agreement(result) == ""
