"""Best-of-n of the parent is exact, and looks stand beside it by KL and value."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from zmax.results import Look
from zmax.results.frontier import best_of, frontier, weights

SCORES = [3.0, -1.0, 0.5, 7.0, 2.0, 2.5]
VALUES = [0.3, 2.0, -1.0, 0.1, 5.0, 4.0]


def by_hand(n: int) -> float:
    """The mean, over every set of n draws, of the value of the best by score."""
    sets = list(itertools.combinations(range(len(SCORES)), n))
    return sum(VALUES[max(chosen, key=SCORES.__getitem__)] for chosen in sets) / len(sets)


@pytest.mark.parametrize("n", range(1, len(SCORES)))
def test_best_of_n_is_the_mean_over_all_sets_of_n_draws(n: int) -> None:
    line = best_of(SCORES, VALUES)
    assert line.value[n - 1] == pytest.approx(by_hand(n))
    assert line.kl[n - 1] == pytest.approx(math.log(n) - (n - 1) / n)
    assert len(line.value) == len(SCORES) - 1


@pytest.mark.parametrize("total", [1, 2, 7, 64])
def test_weights_are_chances(total: int) -> None:
    table = weights(total)
    assert (table >= 0).all()
    assert np.allclose(table.sum(1), 1)
    assert table[-1, -1] == 1


def test_draws_of_equal_score_share_their_values_in_any_order() -> None:
    one = best_of([1.0, 1.0, 0.0], [5.0, 7.0, 1.0]).value
    other = best_of([0.0, 1.0, 1.0], [1.0, 7.0, 5.0]).value
    assert np.allclose(one, other)
    assert one[1] == pytest.approx(6.0)


def test_the_best_of_one_is_the_mean_with_its_standard_error() -> None:
    line = best_of(SCORES, VALUES)
    assert line.value[0] == pytest.approx(np.mean(VALUES))
    assert line.error[0] == pytest.approx(np.std(VALUES, ddof=1) / len(VALUES) ** 0.5)


def test_the_standard_error_is_that_of_repeated_draws() -> None:
    rng = np.random.default_rng(0)
    lines = [best_of(x, x) for x in rng.standard_normal((400, 40))]
    spread = np.std([line.value[3] for line in lines])
    assert np.mean([line.error[3] for line in lines]) == pytest.approx(spread, rel=0.1)
    assert np.mean([line.value[3] for line in lines]) == pytest.approx(1.0294, abs=0.03)  # E max of 4 normals


def look(number: int, kl: float, scores: list[float], held_out: list[float]) -> Look:
    return Look(number, number, number, 10, 10, 1.0, scores, held_out, kl=kl, kl_error=0.1)


def test_points_are_held_out_means_where_there_are_any() -> None:
    looks = [look(0, 0.0, [1.0, 2.0, -math.inf], [5.0, 6.0]), look(1, 0.5, [3.0, 3.0, 3.0], [7.0, 8.0, math.nan])]
    found = frontier(looks, 1)
    assert found is not None
    assert found.judged
    assert [(p.kl, p.value) for p in found.points] == [(0.0, 5.5), (0.5, 7.5)]
    assert found.chosen == found.points[1]
    assert found.line.value.tolist() == [5.5]


def test_without_a_judge_points_are_mean_scores() -> None:
    found = frontier([look(0, 0.0, [1.0, 2.0, 6.0], []), look(1, 0.5, [3.0, 3.0, 4.5], [])], 1)
    assert found is not None
    assert not found.judged
    assert [p.value for p in found.points] == [3.0, 3.5]
    assert found.line.value.tolist() == pytest.approx([3.0, 14 / 3])


def test_there_is_no_frontier_without_two_known_divergences() -> None:
    assert frontier([], 0) is None
    assert frontier([look(0, 0.0, [1.0], []), look(1, math.nan, [2.0], [])], 1) is None


def test_the_line_is_known_up_to_its_end() -> None:
    line = best_of([0.0, 1.0, 2.0, 3.0], [0.0, 1.0, 2.0, 3.0])
    assert line.at(0.0) == pytest.approx((1.5, line.error[0]))
    assert line.at(line.end) == pytest.approx((line.value[-1], line.error[-1]))
    assert line.at(line.end + 1e-6) is None
    assert best_of([1.0], [1.0]).at(0.0) is None
