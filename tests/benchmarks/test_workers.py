"""The benchmark of workers, in small."""

from __future__ import annotations

from benchmarks.workers import measured


def test_a_killed_worker_costs_its_sample_and_no_sample_is_scored_twice() -> None:
    found = measured(4, 1, calls=60, seconds=0.1)
    assert found["score_calls"] == found["begun"] == len(found["values"]) == 60
    assert found["begun_twice"] == 0
    assert len(found["failures"]) == found["values"].count(float("-inf")) == 1
    assert "signal 9" in found["failures"][0]
    assert found["seconds"] < 60 * 0.1
