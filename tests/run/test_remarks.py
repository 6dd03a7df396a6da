"""What is said of G and S is in the terminal, in the result and on the page, whatever road it is."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import zmax
from tests.run.toys import identity
from zmax.core.errors import ZmaxWarning

WRITES = "writes into the samples it is given"


class Late:
    """The first coordinate; after so many calls it writes into its input."""

    def __init__(self, after: int) -> None:
        self.calls, self.after = 0, after

    def __call__(self, x):
        self.calls += 1
        value = x[:, 0].clone()
        return x.add_(0)[:, 0] if self.calls > self.after else value


def finetune(score, out, **options):
    G = zmax.generator(nn.Linear(2, 2), shape=(2,), modality="vector")
    return zmax.finetune(G, zmax.score(score, differentiable=True, name="late"), "direct", 200, out=out, **options)


def condition(score, out, **options):
    law = zmax.testing.gaussian_mixture([[0.0, 0.0]], torch.eye(2)[None], [1.0])
    options |= {"params": {"steps": 10}}
    return zmax.condition(zmax.testing.trained(law), zmax.score(score, name="late"), budget=100, out=out, **options)


def maximize(score, out, **options):
    return zmax.maximize(identity(), zmax.score(score, name="late"), "random", 200, out=out, **options)


@pytest.mark.parametrize("road", [maximize, finetune, condition])
def test_what_is_said_after_the_opening_is_said_once_and_is_in_the_result_and_on_the_page(road, tmp_path):
    score = Late(after=6)
    with pytest.warns(ZmaxWarning, match=WRITES) as caught:
        r = road(score, tmp_path / "run")
    assert r.warnings == zmax.load_result(tmp_path / "run").warnings == (str(caught[0].message),)
    assert len(caught) == 1
    assert WRITES in r.report().read_text()
    assert score.calls > score.after


@pytest.mark.parametrize("road", [maximize, finetune, condition])
def test_what_is_said_in_the_opening_stays_beside_it(road, tmp_path):
    with pytest.warns(ZmaxWarning, match=WRITES) as caught:
        r = road(Late(after=0), tmp_path / "run")
    assert r.warnings == tuple(dict.fromkeys(str(w.message) for w in caught))
    assert sum(WRITES in line for line in r.warnings) == len(caught) == 1


def test_what_is_said_is_written_down_before_the_run_ends(tmp_path):
    class Look(zmax.run.progress.Silent):
        def updated(self, snapshot):
            seen.append(zmax.load_result(tmp_path / "run").warnings)

    seen: list[tuple[str, ...]] = []
    with pytest.warns(ZmaxWarning, match=WRITES):
        r = maximize(Late(after=6), tmp_path / "run", progress=Look())
    assert seen[0] == ()
    assert seen[-1] == r.warnings != ()
