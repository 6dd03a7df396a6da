"""A surrogate that ranks: it learns the order and no unit, chooses near a request and beyond it, and comes back."""

import pytest
import torch

from zmax.core.rng import stream
from zmax.kit.ranker import Ranker, ordered

X = torch.randn(400, 2, generator=stream(0, "ranker"))
SCORE = (X @ torch.tensor([1.0, -0.5]))[:, None].double()
NONE = float("nan")


@pytest.fixture(scope="module")
def ranker():
    return Ranker.learned(X, SCORE, stream(1))


def test_it_orders_pairs_that_it_has_not_seen(ranker):
    fresh = torch.randn(300, 2, generator=stream(2))
    told = ranker.judge(fresh).detach()
    assert float(ordered(told, (fresh @ torch.tensor([1.0, -0.5]))[:, None])) > 0.97
    assert float(ranker.right) == pytest.approx(
        float(ordered(told, (fresh @ torch.tensor([1.0, -0.5]))[:, None])), abs=0.03
    )


def test_the_loss_is_that_of_all_pairs_and_knows_no_unit():
    made = Ranker((2,), 1)
    made.judge.end.bias.data.fill_(3.0)
    assert float(made.loss(X, SCORE.float()).detach()) == pytest.approx(0.6931, abs=1e-4)  # it tells no two apart
    learned = Ranker.learned(X, SCORE, stream(1))
    again = Ranker.learned(X, SCORE.exp(), stream(1))
    torch.testing.assert_close(learned.judge(X), again.judge(X))


def test_candidates_nearest_to_a_request_come_first_and_beyond_the_data_the_highest(ranker):
    candidates = torch.tensor([[0.0, 0.0], [1.0, 0.0], [2.0, 0.0], [3.0, 0.0], [-3.0, 0.0]])
    for wanted, first in ((1.0, 1), (2.0, 2), (0.1, 0), (100.0, 3), (-100.0, 4)):
        assert int(ranker.order(candidates, torch.tensor([wanted]))[0]) == first
    assert ranker.order(candidates, torch.tensor([100.0])).tolist() == [3, 2, 1, 0, 4]
    assert ranker.order(candidates, torch.tensor([NONE])).tolist() == [0, 1, 2, 3, 4]


def test_of_several_scores_those_that_are_asked_for_count():
    ranker = Ranker.learned(X, X.double(), stream(1))
    candidates = torch.tensor([[1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])
    assert int(ranker.order(candidates, torch.tensor([1.0, 1.0]))[0]) == 1
    assert int(ranker.order(candidates, torch.tensor([NONE, -1.0]))[0]) == 0
    assert int(ranker.order(candidates, torch.tensor([-1.0, NONE]))[0]) == 2


def test_pictures_are_ranked_and_the_tensors_make_it_again():
    pixels = torch.rand(100, 3, 8, 8, generator=stream(3)) * torch.rand(100, 1, 1, 1, generator=stream(4))
    ranker = Ranker.learned(pixels, pixels.mean((1, 2, 3))[:, None], stream(5))
    assert float(ranker.right) > 0.8
    again = Ranker.of(ranker.tensors())
    assert torch.equal(again.order(pixels, torch.tensor([0.4])), ranker.order(pixels, torch.tensor([0.4])))
    assert torch.equal(again.right, ranker.right)
