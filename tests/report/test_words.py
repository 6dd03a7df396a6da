"""Numbers, settings and the ledger as a reader meets them."""

from __future__ import annotations

import math

import pytest

import zmax
from zmax.core.budget import Ledger
from zmax.report import sentences
from zmax.report.measures import probability
from zmax.results.spec import RunSpec

NAN, INF = float("nan"), float("inf")
SPEC = RunSpec("g", "s", "random", zmax.Budget(score_calls=100))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (12.34567, "12.35"),
        (-0.5, "−0.5"),
        (None, "–"),
        (NAN, "–"),
        (INF, "∞"),
        (-INF, "−∞"),
        (999.94, "999.9"),
        (1000.0, "1,000"),
        (-123456.4, "−123,456"),
        (1e9, "1e+09"),
        (-0.0, "0"),
        (1e-7, "1e−07"),
    ],
)
def test_a_number_in_four_digits(value, text):
    assert sentences.figure(value) == text


def test_a_number_has_as_many_digits_as_asked_for():
    assert (sentences.figure(12.34567, 2), sentences.figure(2.0 / 3, 6)) == ("12", "0.666667")


@pytest.mark.parametrize(
    ("value", "text"), [(9.8134, "9.81"), (0.1, "0.1"), (0.1234, "0.123"), (0.09876, "0.099"), (None, "–")]
)
def test_a_brief_number_has_three_digits_and_a_small_one_two(value, text):
    assert sentences.brief(value) == text


@pytest.mark.parametrize(
    ("share", "digits", "text"),
    [
        (0.5, 1, "50.0%"),
        (1.0, 1, ">99.9%"),
        (0.9991, 1, ">99.9%"),
        (0.9989, 1, "99.9%"),
        (0.001, 1, "0.1%"),
        (0.0009, 1, "<0.1%"),
        (0.0, 0, "<1%"),
        (0.991, 0, ">99%"),
        (0.25, 0, "25%"),
        (None, 1, "–"),
        (NAN, 1, "–"),
    ],
)
def test_a_share_is_never_rounded_to_certainty(share, digits, text):
    assert sentences.percent(share, digits) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0.0 s"),
        (59.94, "59.9 s"),
        (60.0, "1 min 0 s"),
        (75.4, "1 min 15 s"),
        (3599.0, "59 min 59 s"),
        (3600.0, "1 h 0 min"),
        (7260.0, "2 h 1 min"),
    ],
)
def test_a_time_span(seconds, text):
    assert sentences.duration(seconds) == text


@pytest.mark.parametrize(
    ("reason", "text"),
    [
        ("nfe", "it had made the network evaluations it was allowed"),
        ("failed: 60% of the last 64\n  got: no", "too many evaluations failed (60% of the last 64)"),
        ("failed: ", "too many evaluations failed"),
        ("failed", "too many evaluations failed"),
        ("something of mine", "something of mine"),
    ],
)
def test_why_a_run_stopped(reason, text):
    assert sentences.stop_words(reason) == text


def test_every_entry_of_the_ledger_has_a_row():
    ledger = Ledger(score_calls=12345, seconds=75.0, peak_memory=3 * 2**30)
    rows = {row.title: row.value for row in sentences.ledger_rows(ledger)}
    assert len(rows) == len(vars(ledger))
    assert (rows["Score calls"], rows["Time"], rows["Peak memory"]) == ("12,345", "1 min 15 s", "3,072 MiB")


def test_reasons_of_failures_come_most_frequent_first_and_the_rest_together():
    failures = dict(enumerate(["a"] * 3 + ["b"] * 1200 + ["c", "d"]))
    shown = [(row.title, row.value) for row in sentences.failure_rows(failures, most=2)]
    assert shown == [("b", "1,200"), ("a", "3"), ("2 other reasons", "2")]
    assert [row.title for row in sentences.failure_rows({0: "a"})] == ["a"]
    many = {i: f"reason {i}" for i in range(9)}
    assert [row.title for row in sentences.failure_rows(many)][-1] == "1 other reasons"
    assert len(sentences.failure_rows(many)) == 9


def test_settings_say_what_was_asked():
    def values(**settings):
        spec = RunSpec("g", "s", "random", **{"budget": SPEC.budget, **settings})
        return {row.title: (row.value, row.meaning) for row in sentences.setting_rows(spec)}

    plain = values()
    assert plain["Its parameters"][0] == "defaults"
    assert (plain["Held out"][0], plain["Patience"][0]) == ("none", "none")
    assert plain["Max failures"][0] == "0.5"
    assert plain["Score S"][1] == "Higher is better."
    other = values(params={"a": 1, "b": 2.5}, held_out="h", patience=3, unit="kB", guard="report")
    assert other["Its parameters"][0] == "a=1, b=2.5"
    assert (other["Held out"][0], other["Patience"][0]) == ("h", "3")
    assert other["Score S"] == ("s", "In kB; higher is better.")
    assert other["Guard"][0] == "report"


def test_a_method_that_is_known_is_explained_and_another_is_not():
    def meaning(method):
        rows = sentences.setting_rows(RunSpec("g", "s", method, SPEC.budget))
        return next(row.meaning for row in rows if row.title == "Method")

    assert meaning("cma") == next(m.summary for m in zmax.methods() if m.name == "cma")
    assert meaning("mine:Method") == ""


def test_limits_in_words():
    budget = zmax.Budget(score_calls=2000, nfe=30000, score_grads=7, seconds=1.5)
    assert sentences.budget_words(budget) == "2,000 score calls, 30,000 network evaluations, 7 gradients, 1.5 s"
    assert sentences.budget_words(zmax.Budget(seconds=60)) == "60 s"


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({}, "zmax.maximize(G, S, method='random', budget=100, seed=0, batch_size=32)"),
        (
            {"budget": zmax.Budget(nfe=9)},
            "zmax.maximize(G, S, method='random', budget=zmax.Budget(nfe=9), seed=0, batch_size=32)",
        ),
        (
            {"budget": zmax.Budget(score_calls=5, seconds=2.5), "seed": 3, "batch_size": 4},
            "zmax.maximize(G, S, method='random', budget=zmax.Budget(score_calls=5, seconds=2.5), seed=3, "
            "batch_size=4)",
        ),
        (
            {"verb": "sample", "params": {"temperature": 0.5, "chains": 2}},
            "zmax.sample(G, S, method='random', temperature=0.5, params={'chains': 2}, budget=100, seed=0, "
            "batch_size=32)",
        ),
        (
            {"max_failures": 0.25, "guard": "report", "patience": 2, "keep": 3, "held_out": "h"},
            "zmax.maximize(G, S, method='random', budget=100, seed=0, batch_size=32, held_out=H, "
            "max_failures=0.25, guard='report', patience=2, keep=3)",
        ),
    ],
)
def test_the_python_line_says_what_is_no_default(settings, line):
    assert sentences.python_line(RunSpec("g", "s", "random", **{"budget": SPEC.budget, **settings})) == line


def test_log_odds_are_probabilities():
    assert probability(0.0) == 0.5
    assert probability(2.0) == pytest.approx(1 / (1 + math.exp(-2)))
    assert (probability(-1000.0), probability(1000.0)) == (0.0, 1.0)
