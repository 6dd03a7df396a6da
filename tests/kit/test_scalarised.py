"""One number for several goals: weights of rows and of turns, and where a method begins with each."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import zmax
from tests.run.test_goals import A, B, goals_of
from tests.run.toys import identity
from zmax.core.goals import nondominated
from zmax.core.start import Starts
from zmax.kit.scalarised import TURN, filling, on_simplex
from zmax.search.sampling.random import Random
from zmax.store import REFERENCE


def test_what_a_row_is_told_is_its_own_weighing_however_rows_are_cut():
    result = zmax.maximize(identity(6), [A, B], "gradient", 80, batch_size=5)
    chunks = [c for c in result._journal.chunks() if c.round == 0]
    first = torch.tensor(goals_of(result)[result.history.round == REFERENCE])
    values = torch.cat([torch.stack([c.parts["a"], c.parts["b"]], 1) for c in chunks])
    lifted, n = (values - first.min(0).values) / first.std(0), len(values)
    weights = on_simplex(((torch.arange(n) + 0.5) / n)[:, None].double())
    told = (lifted / weights).min(1).values + 0.05 * lifted.mean(1)
    assert len(chunks) == 4
    assert torch.cat([c.score - c.fine for c in chunks]).tolist() == pytest.approx(told.tolist(), rel=1e-5, abs=1e-6)


def test_weights_fill_the_simplex_and_begin_in_the_middle():
    points = filling(range(200), 2)
    counts, *_ = np.histogram2d(*points.T.numpy(), bins=5, range=[[0, 1], [0, 1]])
    assert points[0].tolist() == [0.5, 0.5]
    assert counts.min() >= 5
    weights = on_simplex(points)
    assert weights.max(1).values.tolist() == [1.0] * 200
    assert float(weights.min()) == 0.02


class Watched(zmax.Strategy):
    """Draws from the prior, and notes at what points it is begun."""

    begins = Starts.LAW

    def __init__(self):
        self.begun = []

    def init(self, space, rng):
        return Random(batch=16).init(space, rng)

    def begin(self, space, rng, start):
        self.begun.append(start)
        return self.init(space, rng)

    def ask(self, state):
        return Random(batch=16).ask(state)

    def tell(self, state, evaluation):
        return Random(batch=16).tell(state, evaluation)


def test_a_turn_ends_after_as_many_points_as_it_says_and_the_next_begins_at_the_best_known():
    method = Watched()
    result = zmax.maximize(identity(6), [A, B], method, 16 + 6 * 48 + 16)
    values = goals_of(result)[16 : 16 + TURN]
    assert len(method.begun) == 3
    rows = nondominated(torch.from_numpy(values))
    assert len(method.begun[0].u) == int(rows.sum())
    weight = on_simplex(filling([1], 1))[0]
    first = goals_of(result)[:16]
    lifted = (values - first.min(0)) / first.std(0, ddof=1)
    told = (lifted / weight.numpy()).min(1) + 0.05 * lifted.mean(1)
    assert float(method.begun[0].score[0]) == pytest.approx(told.max())
    assert method.begun[0].u[0, :2].tolist() == pytest.approx(values[told.argmax()].tolist())
