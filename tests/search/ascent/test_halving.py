"""Halving: survivors are the best, they climb as if nothing had happened, and the method begins again."""

from __future__ import annotations

import pytest
import torch

from zmax.core.errors import InputError
from zmax.core.rng import stream
from zmax.core.space import Space
from zmax.search import Gradient
from zmax.search.ascent.halving import FIRST_STEP, Halving
from zmax.search.ascent.lbfgs import LBFGS


def waves(u):
    return u @ torch.linspace(-1, 2, u.shape[1], dtype=u.dtype) + 3 * torch.sin(2 * u).sum(1)


@pytest.mark.parametrize("climb", FIRST_STEP)
def test_the_survivors_are_the_best(bench, climb):
    method = Halving(starts=16, keep=2, rounds=3, climb=climb)
    state = method.init(Space.of((24,)), stream(0))
    best = torch.full((16,), -float("inf"))
    who = torch.arange(16)
    for round_ in range(9):
        u = method.ask(state).u
        evaluation = bench.evaluate(method, waves, u)
        best[who] = best[who].maximum(evaluation.score.float())
        state = method.tell(state, evaluation)
        if round_ % 3 == 2:
            who = who[best[who].argsort(descending=True)[: len(who) // 2].sort().values]
            kept = state.chains.best if climb == "gradient" else state.chains.score
            assert torch.allclose(kept.float(), best[who])
    assert len(who) == 2


@pytest.mark.parametrize(
    ("climb", "plain"), [("gradient", Gradient(batch=8, step=1.0, patience=4)), ("lbfgs", LBFGS(batch=8))]
)
def test_a_survivor_climbs_as_a_chain_alone_does(bench, climb, plain):
    """Halving takes chains away and touches nothing else."""
    method = Halving(starts=8, keep=1, rounds=2, climb=climb)
    halved = method.init(Space.of((24,)), stream(0))
    chains = halved.chains
    for _ in range(12):
        here = plain.ask(chains).u
        distance = torch.cdist(method.ask(halved).u, here).min(1).values
        assert float(distance.max()) < 1e-4
        chains = plain.tell(chains, bench.evaluate(plain, waves, here))
        halved = method.tell(halved, bench.evaluate(method, waves, method.ask(halved).u))


def test_rounds_shrink_and_begin_again(bench):
    """A linear score is climbed to its end soon; then 8 fresh chains are drawn."""
    method = Halving(starts=8, keep=2, rounds=2, climb="lbfgs")
    run = bench.climb(method, lambda u: u.sum(1), dim=12, calls=400)
    sizes = [len(u) for u in run.path]
    assert sizes[:4] == [8, 8, 4, 4]
    again = sizes.index(8, 4)
    assert set(sizes[4:again]) <= {1, 2}
    assert not torch.allclose(run.path[0], run.path[again])


@pytest.mark.parametrize("bad", [{"starts": 0}, {"keep": 0}, {"rounds": 0}, {"climb": "cma"}, {"step": -1.0}])
def test_bad_arguments_are_refused_by_name(bad):
    with pytest.raises(InputError, match=f"Halving\\({next(iter(bad))}="):
        Halving(**bad)
