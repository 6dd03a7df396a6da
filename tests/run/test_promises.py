"""How large the reference is, what the watch looks at, when a run gives up: each stated as a number."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import zmax
from tests.run.toys import first, identity, sphere
from zmax.core.errors import FailedRunError
from zmax.run.progress import Silent
from zmax.testing import gaussian_mixture, quadratic_score

STEEP = zmax.score(lambda x: 10 * x[:, 0], differentiable=True, name="steep")


def costly(each: int) -> zmax.Generator:
    """x = u, at so many network evaluations a sample."""
    net = nn.Identity()
    return zmax.generator(lambda z: [net(z) for _ in range(each)][-1], shape=(4,), networks=[net])


@pytest.mark.parametrize(
    ("budget", "each", "size"),
    [
        (zmax.Budget(score_calls=20), 1, 2),  # two at least
        (zmax.Budget(score_calls=100), 1, 5),  # a twentieth
        (zmax.Budget(score_calls=1000), 1, 16),  # sixteen at most
        (zmax.Budget(nfe=200), 1, 10),
        (zmax.Budget(nfe=800), 10, 4),
        (zmax.Budget(nfe=100), 10, 2),
        (zmax.Budget(nfe=900, score_calls=80), 1, 4),
        (zmax.Budget(nfe=80, score_calls=900), 1, 4),
    ],
)
def test_the_reference_takes_a_twentieth_of_the_budget(budget, each, size):
    assert len(zmax.maximize(costly(each), first, "random", budget).reference) == size


class Failing:
    """Fails from one call on; the two after the reference, of the opening, are in no history."""

    def __init__(self, start: int) -> None:
        self.start, self.calls = start, 0

    def __call__(self, x):
        numbers = torch.arange(self.calls, self.calls + len(x))
        self.calls += len(x)
        return torch.where(numbers >= self.start, float("nan"), sphere(x))


@pytest.mark.parametrize(
    ("start", "share", "failures"),
    [
        (338, 0.5, 40),  # 32 of the last 64 are half, no more; the next batch of 8 makes it more
        (338, 0.25, 24),
        (16, 0.5, 16),  # right after the reference: sixteen evaluations must be known
        (16 + 2 + 8, 0.7, 24),  # 16 of 24 are less than 70 %, 24 of 32 are more
    ],
)
def test_a_run_gives_up_by_the_share_of_failures_among_the_last_sixty_four(start, share, failures):
    score = zmax.score(Failing(start), differentiable=False)
    with pytest.raises(FailedRunError) as caught:
        zmax.maximize(identity(), score, "random", 2000, batch_size=8, max_failures=share)
    assert len(caught.value.result.history.failures) == failures


def test_the_watch_looks_at_the_top_four_at_every_twentieth():
    r = zmax.maximize(identity(), sphere, "random", 400, held_out=first, batch_size=4)
    calls = [look["calls"] for look in r.watched]
    assert len(calls) == 20
    assert all(0 <= made - 20 * (i + 1) < 4 for i, made in enumerate(calls))
    assert r.watched[-1]["score"] == pytest.approx(np.mean([e.score for e in r.top(4)]))
    assert r.watched[-1]["held_out"] == pytest.approx(np.mean([e.held_out for e in r.top(4)]))


@pytest.mark.parametrize("patience", [1, 3])
def test_a_run_stops_after_so_many_looks_without_a_better_held_out_score(patience):
    r = zmax.maximize(
        identity(20), STEEP, "gradient", 1000, held_out=lambda x: -(x[:, 0] - 1.5).abs(), patience=patience
    )
    assert r.stop_reason == "held_out"
    judged = [look["held_out"] for look in r.watched]
    assert len(judged) - 1 - int(np.argmax(judged)) == patience


def test_a_score_that_does_not_rise_fools_nobody():
    """From some look on nothing better is found, and a judge that then stays the same stops nothing."""
    r = zmax.maximize(identity(2), lambda x: x[:, 0].clamp(max=0.5), "random", 400, held_out=first, patience=2)
    assert r.stop_reason == "score_calls"


class Interrupt(Silent):
    """Presses Ctrl-C after so many score calls."""

    def __init__(self, after: int) -> None:
        self.after = after

    def updated(self, snapshot):
        if snapshot.ledger.score_calls >= self.after:
            raise KeyboardInterrupt


@pytest.mark.parametrize("patience", [None, 4])
def test_the_watch_goes_on_where_it_was_interrupted(patience, tmp_path):
    ask = {"held_out": lambda x: -(x[:, 0] - 1.5).abs()}
    settings = {**ask, "method": "gradient", "budget": 1000, "patience": patience}
    whole = zmax.maximize(identity(20), STEEP, **settings)
    zmax.maximize(identity(20), STEEP, **settings, out=tmp_path / "run", progress=Interrupt(300))
    resumed = zmax.resume(tmp_path / "run", identity(20), STEEP, **ask)
    assert resumed.watched == whole.watched
    assert (resumed.stop_reason, len(resumed.history)) == (whole.stop_reason, len(whole.history))


def test_each_point_is_drawn_as_often_as_its_weight_says_up_to_rounding():
    law = gaussian_mixture(torch.tensor([[-2.0, 0.0], [2.0, 0.0]]), torch.eye(2).repeat(2, 1, 1), torch.ones(2) / 2)
    score = quadratic_score(None, torch.tensor([2.0, 0.0]))
    r = zmax.sample(law.generator(steps=8), score, 1.0, "fk", 600, keep=50)
    share = r.population.log_weight.exp()
    assert float(share.max()) > 3 * float(share.min())
    for point, wanted in zip(r.population.u, 50 * share, strict=True):
        drawn = sum(torch.equal(entry.u, point) for entry in r.draws)
        same = sum(torch.equal(other, point) for other in r.population.u)
        assert same > 1 or float(wanted) - 1 < drawn < float(wanted) + 1
