"""Runs with several goals: a front in place of a best, whatever the method, and the same after any interruption."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import zmax
from tests.run.toys import identity
from zmax.core.errors import CapabilityError, InputError
from zmax.core.goals import hypervolume, nondominated
from zmax.report import export_samples
from zmax.report.page import render
from zmax.store import REFERENCE

A = zmax.score(lambda x: x[:, 0], name="a", differentiable=True)
B = zmax.score(lambda x: x[:, 1], name="b", differentiable=True)
"""On a shell of radius r no sample beats those of the quarter circle a^2 + b^2 = r^2."""


def goals_of(result):
    return np.stack([result.history.parts[name] for name in result.spec.goals], 1)


@pytest.fixture(scope="module")
def found():
    return zmax.maximize(identity(16), [A, B], "gradient", 400, seed=1)


def test_the_front_is_all_that_no_other_sample_beats(found):
    values = goals_of(found)
    rows = nondominated(torch.from_numpy(values)).nonzero().flatten().tolist()
    assert sorted(entry.id for entry in found.front) == [int(found.history.id[i]) for i in rows]
    for entry in found.front:
        assert entry.parts == {
            "a": pytest.approx(float(A(entry.sample[None]))),
            "b": pytest.approx(float(B(entry.sample[None]))),
        }
    assert [e.parts["a"] for e in found.front] == sorted((e.parts["a"] for e in found.front), reverse=True)
    assert len(found.front) > 16


def test_the_gradient_reaches_the_known_front_from_end_to_end(found):
    r = float(identity(16).space.retract(100 * torch.ones(1, 16)).norm())
    angles = sorted(math.atan2(e.parts["b"], e.parts["a"]) for e in found.front)
    assert np.median([math.hypot(e.parts["a"], e.parts["b"]) for e in found.front]) > 0.97 * r
    assert angles[0] < 0.1
    assert angles[-1] > math.pi / 2 - 0.1
    assert max(np.diff(angles)) < 0.2


def test_the_hypervolume_is_counted_above_the_lowest_random_values_in_their_spreads(found):
    values, first = goals_of(found), found.history.round == REFERENCE
    low, unit = values[first].min(0), values[first].std(0, ddof=1)
    curve = found.history.hypervolume()
    assert curve[-1] == pytest.approx(hypervolume((values - low) / unit, [0, 0]))
    assert curve[first][-1] == pytest.approx(hypervolume((values[first] - low) / unit, [0, 0]))
    assert (np.diff(curve) >= 0).all()
    assert found.hypervolume == curve[-1] == found.history.to_pandas()["hypervolume"].iloc[-1]
    assert found.summary()["hypervolume"] == curve[-1]


def test_the_best_is_the_one_whose_least_goal_is_highest(found):
    values, first = goals_of(found), found.history.round == REFERENCE
    lifted = (values - values[first].min(0)) / values[first].std(0, ddof=1)
    score = lifted.min(1) + 0.05 * lifted.mean(1)
    assert found.best.score == pytest.approx(score.max())
    assert found.history.score == pytest.approx(score)
    assert found.best.id in {entry.id for entry in found.front}


@pytest.mark.parametrize("name", ["cma", "snes", "turbo"])
def test_every_kind_of_method_finds_more_than_random_draws(name):
    result = zmax.maximize(identity(6), [A, B], name, 160)
    drawn = zmax.maximize(identity(6), [A, B], "random", 160)
    assert len(result.front) > 2
    assert result.hypervolume > drawn.hypervolume


def test_the_list_says_how_methods_look_for_a_front():
    words = {m.name: m.goals for m in zmax.methods()}
    assert words["gradient"] == words["dps"] == "each row heads for another part of the front"
    assert words["cma"] == "each turn heads for another part of the front, from the best known there"
    assert words["fk"] == "each turn heads for another part of the front"
    assert words["cma-mega"] == words["random"] == "all alike"
    assert words["direct"] == words["flow"] == ""


@pytest.mark.parametrize("name", ["fk", "dps", "paths", "tds"])
def test_methods_on_a_path_find_a_front(name):
    law = zmax.testing.gaussian_mixture([[-1.5, 0.0], [1.5, 0.5]], 0.2 * torch.eye(2).expand(2, 2, 2), [0.5, 0.5])
    result = zmax.maximize(law.generator(steps=6), [A, B], name, 200)
    assert 1 < len(result.front) <= 200
    assert all(np.isfinite([e.parts["a"], e.parts["b"]]).all() for e in result.front)


class Interrupted:
    """The first goal; the user interrupts it at a call."""

    def __init__(self, at):
        self.left = at

    def __call__(self, x):
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt
        return x[:, 0]


@pytest.mark.parametrize("name", ["gradient", "cma", "turbo"])
def test_a_run_that_is_cut_short_ends_like_one_that_was_not(name, tmp_path):
    G, how = identity(6), {"batch_size": 8, "progress": False}
    whole = zmax.maximize(G, [A, B], name, 140, **how)
    cut = zmax.score(Interrupted(15), name="a", differentiable=True)
    half = zmax.maximize(G, [cut, B], name, 140, out=tmp_path / "cut", **how)
    assert half.stop_reason == "interrupted"
    assert 20 < half.ledger.score_calls < 130
    again = zmax.resume(tmp_path / "cut", G, [A, B], progress=False)
    assert goals_of(again).tobytes() == goals_of(whole).tobytes()
    assert again.history.score.tobytes() == whole.history.score.tobytes()
    assert [e.id for e in again.front] == [e.id for e in whole.front]
    assert all(torch.equal(a.sample, b.sample) for a, b in zip(again.front, whole.front, strict=True))
    assert zmax.load_result(tmp_path / "cut").hypervolume == whole.hypervolume


def test_constraints_go_with_goals():
    first = zmax.score(lambda x: x[:, 0], name="first", differentiable=True)
    for scores in ([A, B.where(first >= 0.5)], [A.where(first >= 0.5), B]):
        result = zmax.maximize(identity(6), scores, "gradient", 300)
        assert all(entry.feasible and entry.sample[0] >= 0.5 for entry in result.front)
        assert result.spec.goals == ("a", "b")
        assert result.meeting.endswith("the best is the best of them")
    values = goals_of(result)[result.history.feasible]
    assert len(result.front) == int(nondominated(torch.from_numpy(values)).sum())


def test_columns_and_dicts_are_goals_of_one_call():
    calls = []

    def both(x):
        calls.append(len(x))
        return {"a": A(x), "b": B(x), "other": x[:, 0]}

    table = lambda x: torch.stack([A(x), B(x)], 1)  # noqa: E731
    one = zmax.maximize(identity(6), zmax.score(both, goals=["a", "b"], differentiable=True), "gradient", 120)
    other = zmax.maximize(identity(6), zmax.score(table, goals=["a", "b"], differentiable=True), "gradient", 120)
    lists = zmax.maximize(identity(6), [A, B], "gradient", 120)
    assert np.allclose(goals_of(one), goals_of(lists))
    assert np.allclose(goals_of(other), goals_of(lists))
    assert one.spec.goals == ("a", "b")
    assert sum(calls) <= 120 + 20


def test_one_sample_at_a_time_may_give_several_goals():
    calls = []

    def judged(text):
        calls.append(text)
        return {"length": len(text), "vowels": -sum(c in "aeiou" for c in text)}

    words = zmax.generator(
        lambda z: ["".join("abcdefgh"[int(v) % 8] for v in row[: 3 + int(row[0].abs() * 3)].abs() * 5) for row in z],
        shape=(12,),
        differentiable=False,
    )
    result = zmax.maximize(words, zmax.score(judged, goals=["length", "vowels"], per_sample=True), "random", 60)
    assert {e.parts["length"] for e in result.front} == {float(len(e.sample)) for e in result.front}
    assert len(calls) <= 70


def test_a_goal_without_a_value_makes_a_sample_fail():
    odd = zmax.score(lambda x: torch.where(x[:, 0] > 1, math.nan, x[:, 1]), name="odd")
    result = zmax.maximize(identity(6), [A, odd], "random", 100)
    assert set(result.history.failures.values()) == {"the score 'odd' is nan"}
    assert all(entry.sample[0] <= 1 for entry in result.front)


def test_three_goals_have_a_front_and_a_page():
    C = zmax.score(lambda x: -x[:, 0].abs(), name="c")
    result = zmax.maximize(identity(6), [A, B, C], "cma", 200)
    assert result.spec.goals == ("a", "b", "c")
    assert result.hypervolume > result.history.hypervolume()[15]
    page = render(result)
    assert "share of its range on the front" in page
    assert result.front_in_words in page


def test_page_print_and_summary_say_what_is_on_the_front(found):
    page = render(found)
    words = found.front_in_words
    ends = [e.parts["a"] for e in found.front]
    assert words.startswith(
        f"{len(found.front)} samples are beaten by no other: a from {min(ends):.4g} to {max(ends):.4g}, b"
    )
    assert words.endswith(f"hypervolume {found.hypervolume:.4g}")
    assert words in page
    assert words in repr(found)
    assert 'id="front"' in page
    assert page.count("On the front ") >= 16
    assert len(found.summary()["front"]) == len(found.front)


@pytest.mark.parametrize("scores", [[A, zmax.score(lambda x: x[:, 0], name="a")], [], [[A, B], B]])
def test_goals_that_are_none_are_refused(scores):
    with pytest.raises(InputError):
        zmax.maximize(identity(), scores, "random", 40)


def test_other_verbs_and_arithmetic_want_one_number():
    both, C = zmax.score(lambda x: x[:, :2], goals=["a", "b"]), zmax.score(lambda x: x[:, 0], name="c")
    with pytest.raises(CapabilityError, match=r"zmax\.maximize\(G, \[A, B\]\) finds their front"):
        zmax.sample(identity(), [A, B], temperature=1.0, budget=40)
    with pytest.raises(CapabilityError, match="goals"):
        zmax.run.finetune(identity(), [A, B], budget=40)
    with pytest.raises(InputError, match="a list of goals"):
        both + C
    with pytest.raises(CapabilityError, match="held-out score"):
        zmax.maximize(identity(), A, "random", 40, held_out=both)


def test_messages_about_columns_and_dicts_lead_to_goals():
    for fn in (lambda x: x[:, :2], lambda x: {"a": x[:, 0], "b": x[:, 1]}, lambda x: (x[:, 0], x[:, 1])):
        with pytest.raises(InputError, match=r"goals=\[\.\.\.\]"):
            zmax.score(fn)(torch.zeros(3, 4))
    with pytest.raises(InputError, match="a dict by these names"):
        zmax.score(lambda x: {"a": x[:, 0]}, goals=["a", "b"])(torch.zeros(3, 4))


def test_a_search_begins_at_a_front_and_not_at_scores_that_say_nothing_of_goals(found, tmp_path):
    near = zmax.maximize(identity(16), [A, B], "gradient", 120, start=found)
    values, first = goals_of(near), near.history.round == 0
    assert int(first.sum()) == len(found.front)
    assert sorted(values[first].tolist()) == sorted([e.parts["a"], e.parts["b"]] for e in found.front)
    with pytest.raises(InputError, match="beside several goals"):
        zmax.maximize(identity(16), [A, B], "gradient", 120, start=found.history.to_pandas())


def test_the_samples_of_the_front_are_exported(found, tmp_path):
    file = export_samples(found, tmp_path)[0]
    assert file.read_text().count("# ") == len(found.front)


def test_patience_waits_for_the_hypervolume():
    result = zmax.maximize(identity(6), [A, B], "gradient", 400, patience=6)
    looks = result._journal.get("best at looks")
    assert looks[-1] == pytest.approx(result.hypervolume, rel=0.05)
    assert looks == sorted(looks)
    flat, other = (zmax.score(lambda x, i=i: x[:, i].sign(), name=f"flat {i}") for i in range(2))
    ended = zmax.maximize(identity(6), [flat, other], "random", 400, patience=3)
    assert ended.stop_reason == "plateau"


def test_what_a_judge_said_stays_with_the_front():
    said = zmax.score(lambda x: f"{float(x[0]):.6f}, said", per_sample=True, parse=lambda s: float(s.split(",")[0]))
    G = zmax.generator(torch.nn.Identity(), shape=(3,), modality="vector")
    result = zmax.maximize(G, [said, zmax.score(lambda x: x[:, 1], name="b")], "random", 200, keep=2, progress=False)
    assert len(result.front) > 2
    assert all(entry.why == f"{float(entry.sample[0]):.6f}, said" for entry in result.front)
