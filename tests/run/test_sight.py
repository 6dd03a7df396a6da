"""Samples of a request beside data of that score: seen by the judge's features, by their values where it has none."""

import pytest
import torch

import zmax
from tests.run.test_condition import condition
from zmax.core.rng import stream
from zmax.core.score import Score
from zmax.core.tuner import Lesson
from zmax.natural.sliding import sliding
from zmax.run.study import Sight

S = zmax.score(lambda x: x[:, 0], differentiable=False, name="first")
X = torch.randn(100, 2, generator=stream(0))


class Judge(Score):
    """A held-out score that sees the second coordinate alone."""

    name = "judge"

    def __call__(self, samples):
        return samples[:, 1]

    def features(self, samples):
        return 10 * samples[:, 1:]


def test_a_judges_features_are_seen_and_else_the_values():
    lesson = Lesson(X, X[:, :1].double())
    ok = torch.ones(50, dtype=torch.bool)
    ok[3] = False
    for judge, name, seen in ((Judge(), "judge", 10 * X[:, 1:]), (S, "", X), (None, "", X)):
        sight = Sight(lesson, judge)
        assert sight.name == name
        levels = sight.levels(X[:50], X[:50, :1], ok)[0]
        expected = sliding(seen, X[:, 0].double(), seen[:50][ok], X[:50, 0][ok])
        assert [level["frechet"] for level in levels] == pytest.approx([level.frechet for level in expected])
    assert Sight(Lesson(["a", "b"], X[:2, :1]), Judge()).levels(["c"], X[:1, :1], ok[:1]) == [[]]


def test_every_calibration_has_it_in_result_and_page(tmp_path):
    c = condition(tmp_path / "run", S, held_out=Judge(), guidances="0", params={"steps": 40, "batch": 8})
    one = zmax.load_result(tmp_path / "run").calibration
    assert len(one.levels) == 9
    assert one.seen_by == "judge"
    row = c.summary()["calibrations"][0]
    assert row["frechet"] == pytest.approx(sum(level.frechet for level in one.levels) / 9)
    assert row["frechet_data"] == pytest.approx(sum(level.frechet_data for level in one.levels) / 9)
    assert row["diversity"] == pytest.approx(sum(v.distance / v.distance_data for v in one.levels) / 9)
    page = c.report(tmp_path / "page.html").read_text()
    assert "in the features of judge" in page


def test_the_shipped_judge_shows_what_its_last_layer_reads():
    judge = zmax.load_score("attribute-judge:glasses")
    x = torch.rand(4, 3, 16, 16, generator=stream(1))
    torch.testing.assert_close(judge.features(x), judge.networks[0].features(x))
    assert zmax.load_score("brightness").features(x) is None
