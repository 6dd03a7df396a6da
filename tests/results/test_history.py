"""A run's evaluations as columns, in the order in which they were done."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import zmax
from zmax.results import History
from zmax.store import REFERENCE, Chunk

INF = float("inf")


NOWHERE = {"u": None, "plausibility": None, "digest": torch.zeros(1, 8).byte()}
"""What has no coordinates."""


def chunk(round_: int, first_id: int, score: list[float], calls: int, **more) -> Chunk:
    n = len(score)
    ledger = zmax.Ledger(score_calls=calls, seconds=calls / 2)
    typical = torch.arange(first_id, first_id + n) / 10
    where = {"u": torch.zeros(n, 2), "plausibility": typical, **more}
    return Chunk(round_, 0, first_id, torch.tensor(score), ledger=ledger, **where)


@pytest.fixture
def history() -> History:
    return History.of(
        [
            chunk(REFERENCE, 0, [1.0, 0.0], 2, parts={"a": torch.tensor([5.0, 6.0])}),
            chunk(0, 2, [-INF, 3.0, 2.0], 6, parts={"a": torch.ones(3)}, failures={0: "no"}),
            chunk(1, 5, [9.0], 7, parts={"a": torch.zeros(1)}, **NOWHERE),
            chunk(2, 6, [2.5], 8, parts={"a": torch.tensor([8.0])}),
        ]
    )


def test_each_column_holds_one_value_an_evaluation(history):
    assert len(history) == 7
    assert history.id.tolist() == [0, 1, 2, 3, 4, 5, 6]
    assert history.round.tolist() == [-1, -1, 0, 0, 0, 1, 2]
    assert history.score.tolist() == [1, 0, -INF, 3, 2, 9, 2.5]
    expected = [0.0, 0.1, 0.2, 0.3, 0.4, np.nan, 0.6]
    assert np.allclose(history.plausibility, expected, equal_nan=True)
    assert history.score_calls.tolist() == [2, 2, 6, 6, 6, 7, 8]
    assert history.seconds.tolist() == [1, 1, 3, 3, 3, 3.5, 4]
    assert history.final.tolist() == [True] * 5 + [False, True]
    assert history.parts["a"].tolist() == [5, 6, 1, 1, 1, 0, 8]


def test_failures_are_known_by_the_id_of_their_evaluation(history):
    assert history.failures == {2: "no"}


def test_the_best_so_far_takes_no_account_of_what_is_not_final(history):
    assert history.best_so_far().tolist() == [1, 1, 1, 3, 3, 3, 3]


def test_no_evaluations_make_empty_columns():
    empty = History.of([])
    assert len(empty) == 0
    assert empty.best_so_far().tolist() == []
    assert empty.final.dtype == bool


def test_a_data_frame_holds_the_columns_by_name(history):
    frame = history.to_pandas()
    names = [
        "id",
        "round",
        "score",
        "plausibility",
        "score_calls",
        "seconds",
        "final",
        "feasible",
        "violation",
        "a",
        "failure",
    ]
    assert list(frame.columns) == names
    assert frame["failure"].tolist() == ["", "", "no", "", "", "", ""]
    assert frame["a"].tolist() == history.parts["a"].tolist()
    assert math.isinf(frame["score"][2])
