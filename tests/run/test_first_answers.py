"""What was paid for before a run begins is found when it is begun again."""

from __future__ import annotations

import signal

import pytest
from torch import nn

import zmax
from tests.run.test_deaths import Logged, in_child
from tests.run.toys import Oracle, identity, same, single
from zmax.core.errors import InputError, ZmaxWarning

CALLS = 120


def begin(score, folder, **options):
    return zmax.maximize(identity(), score, "random", CALLS, out=folder, guard="report", **options)


@pytest.mark.parametrize("at", [3, 7])
def test_an_interrupted_opening_is_begun_again_without_paying_twice(at, tmp_path):
    oracle, first, again = Oracle(), Oracle({at: KeyboardInterrupt()}), Oracle()
    whole = begin(single(oracle), None)
    with pytest.warns(ZmaxWarning, match=f"before it began; {at} scores"), pytest.raises(KeyboardInterrupt):
        begin(single(first), tmp_path / "run")
    with pytest.raises(InputError, match="cut short before it began"):
        zmax.resume(tmp_path / "run", identity(), single(again))
    assert same(begin(single(again), tmp_path / "run"), whole)
    assert first.asked[:at] + again.asked[1:] == oracle.asked, "the first one again, to see that S is what it was"
    assert again.asked[0] == oracle.asked[0]
    assert not list((tmp_path / "run").glob("opening*"))


def test_a_killed_opening_too_with_its_judge(tmp_path):
    folder, log, judged = tmp_path / "run", tmp_path / "log", Oracle()

    def go(score, out):
        return begin(score, out, held_out=zmax.score(lambda x: -judged(x), per_sample=True, name="judge"))

    assert in_child(lambda: go(single(Logged(log, at=6)), folder)) == -signal.SIGKILL
    whole, r = go(single(Oracle()), None), go(single(Logged(log)), folder)
    assert same(r, whole)
    assert r.best.held_out == -r.best.score
    assert len(Logged(log).asked()) == CALLS + 2, "the one that was running, and the first again"


def test_answers_of_another_score_are_forgotten(tmp_path):
    with pytest.warns(ZmaxWarning), pytest.raises(KeyboardInterrupt):
        begin(single(Oracle({5: KeyboardInterrupt()})), tmp_path / "run")
    asked = Oracle()
    r = begin(single(lambda x: -asked(x)), tmp_path / "run")
    assert r.history.score[:6].tolist() == [-value for value in asked.asked[1:7]]


def test_failures_of_an_opening_are_tried_again(tmp_path):
    with pytest.warns(ZmaxWarning), pytest.raises(KeyboardInterrupt):
        begin(single(Oracle({2: ValueError("mend me"), 5: KeyboardInterrupt()})), tmp_path / "run")
    assert not begin(single(Oracle()), tmp_path / "run").history.failures


@pytest.mark.parametrize("road", ["finetune", "condition"])
def test_on_every_road(road, tmp_path):
    def go(oracle, folder):
        if road == "finetune":
            net = nn.Linear(2, 2, bias=False)
            nn.init.eye_(net.weight)
            G = zmax.generator(net, shape=(2,), modality="vector")
            return zmax.finetune(G, single(oracle), budget=100, out=folder)
        return zmax.condition(zmax.testing.trained(law()), single(oracle), budget=100, out=folder, params={"steps": 10})

    again = Oracle()
    with pytest.warns(ZmaxWarning, match="2 scores"), pytest.raises(KeyboardInterrupt):
        go(Oracle({2: KeyboardInterrupt()}), tmp_path / "run")
    go(again, tmp_path / "run")
    assert len(again.asked) <= 100 - 2 + 1


def law():
    return zmax.testing.gaussian_mixture([[0.0, 0.0]], [[[1.0, 0.0], [0.0, 1.0]]], [1.0])
