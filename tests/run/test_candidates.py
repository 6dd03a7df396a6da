"""Candidates for a request: a ranking of the data chooses, the score is not called, and the answer says so."""

import warnings

import pytest
import torch

import zmax
from tests.run.test_condition import SCORES, condition, model, same
from zmax.core.errors import CapabilityError
from zmax.run.asked import draw

CALLS = []


def second(x):
    CALLS.append(len(x))
    return 2 * x[:, 1].double()


S = zmax.score(second, differentiable=False, name="second")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return condition(tmp_path_factory.mktemp("made") / "run", S)


def quiet(made, *arguments, **settings):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return made.sample(*arguments, **settings)


def test_candidates_come_nearer_within_the_data_and_higher_beyond_it(made):
    before = len(CALLS)
    one, best = (2 * quiet(made, 40, score=0.3, of=k)[:, 1] for k in (1, 8))
    assert float((best - 0.3).abs().mean()) < float((one - 0.3).abs().mean()) / 2
    high = made.calibration.highest + 1.0
    one, best = (2 * quiet(made, 40, score=high, of=k)[:, 1] for k in (1, 8))
    assert float(best.mean()) > float(one.mean()) + 0.5 * made.calibration.spread
    assert len(CALLS) == before
    many = quiet(made, 40 * 8, score=high)
    assert torch.equal(quiet(made, 40, score=high, of=8), many[made.best_of(many, high, 40)])


def test_the_answer_says_how_far_outside_the_request_is_and_what_chose(made):
    one = made.calibration
    above = made.outside(one.highest + 2 * one.spread, 8)[0]
    assert "2.0 standard deviations above every score in the data" in above
    assert f"the best of 8 candidates each are kept, by a ranking that orders {made.ordered['second']:.0%}" in above
    assert "1.5 standard deviations below every" in made.outside(one.lowest - 1.5 * one.spread)[0]
    assert "of=8 keeps the best" in made.outside(one.highest + 1.0)[0]
    with pytest.warns(UserWarning, match="the best of 2 candidates"):
        made.sample(2, score=one.highest + 1.0, of=2)
    assert made.summary()["ordered"] == made.ordered
    assert 0.8 < made.ordered["second"] <= 1


def test_what_is_kept_loads_and_is_the_same_after_a_resume(made):
    loaded = zmax.load_result(made.folder)
    again = zmax.resume(made.folder, model(), S, progress=False)
    assert same(again, made)
    for other in (loaded, again):
        assert other.ordered == made.ordered
        assert all(torch.equal(value, other.ranker.tensors()[name]) for name, value in made.ranker.tensors().items())


def test_only_what_is_kept_is_scored_when_candidates_are_drawn(tmp_path):
    quick = {"params": {"steps": 20, "batch": 8}, "looks": 1, "fresh": 8, "progress": False}
    c = zmax.condition("avatars-gan", "brightness", "noise-map", 150, out=tmp_path / "run", **quick)
    found = draw(c, 3, 0.9, of=4, seed=2)
    assert found.ledger.score_calls == 3
    assert found.ledger.decodes == 3 * 4 + 3
    assert found.outside == tuple(c.outside(0.9, 4))
    x = quiet(c, 3, score=0.9, of=4, seed=2)
    assert torch.allclose(torch.stack([entry.sample for entry in found.entries]), x, atol=1e-6)


def test_of_several_scores_each_has_its_ranking():
    c = condition(None, SCORES)
    assert set(c.ordered) == {"first", "second"}
    assert quiet(c, 4, score={"first": 0.2}, of=2).shape == (4, 2)


def test_samples_that_are_no_tensors_are_not_ranked():
    G = zmax.generator(lambda z: [f"{row:.2f}" for row in z[:, 0]], shape=(2,), modality="text")
    words = zmax.score(lambda words: torch.tensor([float(word) for word in words]), name="number")
    c = zmax.condition(G, words, "noise-map", 60, params={"steps": 5}, looks=1, fresh=4, progress=False)
    assert c.ranker is None
    with pytest.raises(CapabilityError, match="no tensors"):
        quiet(c, 2, score=0.5, of=2)
