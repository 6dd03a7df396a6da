"""The steering benchmark runs any method, charges it fairly, and its page shows what was measured."""

from __future__ import annotations

import json

import pytest

from benchmarks import steering, steering_flow
from zmax.core.methods import registry


def test_any_registered_method_runs_in_any_part_asked_for() -> None:
    assert steering.chosen(["flow", "hmc"]) == [("flow", "hmc")]
    assert steering.chosen(["ring", "quarter", "hmc", "fk"]) == [
        (part, name) for part in ("ring", "quarter") for name in ("hmc", "fk")
    ]


def test_a_method_runs_where_it_is_listed_unless_a_part_is_asked_for() -> None:
    assert steering.chosen(["lgdmc"]) == [("grid", "lgdmc"), ("roll", "lgdmc"), ("flow", "lgdmc")]
    assert {part for part, _ in steering.chosen([])} == set(steering.PARTS)


@pytest.mark.parametrize("asked", [["flow", "no-such-method"], ["grid", "gradient, one chain"], ["hmc"]])
def test_what_no_part_has_is_an_error(asked: list[str]) -> None:
    with pytest.raises(SystemExit, match=asked[-1]):
        steering.chosen(asked)


def test_variants_are_of_registered_methods() -> None:
    assert not set(steering_flow.VARIANTS) & set(registry)
    assert {method for method, _, _ in steering_flow.VARIANTS.values()} <= set(registry)


@pytest.mark.parametrize("name", ["fk", "gradient, one chain, all noises"])
def test_no_run_gets_more_network_evaluations_than_its_budget(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steering_flow, "SEEDS", 1)
    row = steering_flow.on_flow(name, 100)
    assert ("compressibility" in row) == (name == "fk")
    for by in row.values():
        assert max(by["nfe"]) <= 100
        assert len(by["best"]) == 1


def test_the_page_shows_what_was_measured() -> None:
    page = steering.PAGE.read_text()
    for part, table in steering.tables(json.loads(steering.RESULT.read_text())).items():
        assert f"<!-- {part} -->\n{table}\n<!-- end -->" in page


def test_every_result_of_avatars_flow_has_its_seeds_and_keeps_its_budget() -> None:
    results = json.loads(steering.RESULT.read_text())
    for part, nfe in steering_flow.BUDGETS.items():
        for name, row in results[part].items():
            for score, r in row.items():  # a sample that has begun is finished
                assert len(r["best"]) == steering_flow.SEEDS, (part, name, score)
                assert max(r["nfe"]) < nfe + steering_flow.STEPS, (part, name, score)
