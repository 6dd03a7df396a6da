"""Fronts and the volumes under them, against counting and against what is known."""

import numpy as np
import pytest
import torch

from zmax.core.goals import Goals, hypervolume, hypervolumes, nondominated


def beaten(rows, i):
    return any(all(b >= a for a, b in zip(rows[i], row, strict=True)) and row != rows[i] for row in rows)


@pytest.mark.parametrize("m", [2, 3])
@pytest.mark.parametrize("n", [1, 40, 700])
def test_the_front_is_what_nothing_beats(n, m):
    values = torch.randint(0, 12, (n, m), generator=torch.Generator().manual_seed(n)).double()
    rows = [tuple(row) for row in values.tolist()]
    front = {row for i, row in enumerate(rows) if not beaten(rows, i)}
    kept = nondominated(values)
    chosen = [rows[i] for i in kept.nonzero().flatten().tolist()]
    assert set(chosen) == front
    assert len(chosen) == len(front)
    assert all(rows.index(row) == i for i, row in zip(kept.nonzero().flatten().tolist(), chosen, strict=True))


@pytest.mark.parametrize("m", [1, 2, 3, 4])
def test_volumes_are_those_that_are_counted(m):
    rng = np.random.default_rng(m)
    cells = rng.integers(1, 6, (12, m))
    grid = np.stack(np.meshgrid(*[np.arange(6)] * m), -1).reshape(-1, m)
    dominated = np.zeros(len(grid), dtype=bool)
    steps = []
    for row in cells:
        dominated |= (grid < row).all(1)
        steps.append(int(dominated.sum()))
    assert hypervolume(cells, np.zeros(m)) == steps[-1]
    assert hypervolumes(cells, np.zeros(m)).tolist() == steps
    assert hypervolume(cells + 3, np.full(m, 3)) == steps[-1]


def test_what_lies_below_the_reference_point_has_no_volume():
    assert hypervolume([[2.0, -1.0], [1.0, 1.0]], [0.0, 0.0]) == 1.0
    assert hypervolumes([[np.nan, 2.0], [-1.0, 5.0], [2.0, 2.0]], [0.0, 0.0]).tolist() == [0.0, 0.0, 4.0]


def test_units_and_reference_point_come_from_the_samples_that_have_a_score():
    goals = Goals(("a", "b"))
    values = {"a": torch.tensor([1.0, 3.0, 99.0]), "b": torch.tensor([10.0, 30.0, 99.0])}
    goals.settle(values, torch.tensor([True, True, False]))
    assert goals.low.tolist() == [1.0, 10.0]
    assert goals.unit.tolist() == pytest.approx([2**0.5, 20 / 2**0.5])
    lifted = goals.lifted(values)
    assert lifted[0].tolist() == [0.0, 0.0]
    assert lifted[1].tolist() == pytest.approx([2**0.5, 2**0.5])


def test_the_best_of_any_weights_is_on_the_front_and_all_of_a_concave_front_is_found():
    angle = torch.linspace(0, torch.pi / 2, 50, dtype=torch.float64)
    front = torch.stack([angle.cos(), angle.sin()], 1) ** 2.5  # no weighted sum finds its middle
    inside = 0.9 * front
    values = torch.cat([front, inside])
    goals = Goals(("a", "b"))
    weights = (front / front.max(1, keepdim=True).values).clamp_min(1e-9)
    columns = {"a": values[:, 0], "b": values[:, 1]}
    best = {int(goals.total(columns, w.expand(100, -1)).argmax()) for w in weights}
    assert max(best) < 50
    assert len(best) > 40
