"""The benchmark of workers, in small."""

from __future__ import annotations

from benchmarks.workers import measured
from zmax.run.opening import PAIR


def test_a_killed_worker_costs_its_sample_and_no_sample_is_scored_twice() -> None:
    found = measured(4, 1, calls=60, seconds=0.1)
    assert found["score_calls"] == found["begun"] == len(found["values"]) + PAIR == 60
    assert found["begun_twice"] == PAIR  # which the opening scores again, alone
    assert len(found["failures"]) == found["values"].count(float("-inf")) == 1
    assert "signal 9" in found["failures"][0]
