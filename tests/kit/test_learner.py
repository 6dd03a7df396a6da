"""Which rows of a lesson are learned from."""

import pytest
import torch

from zmax.condition import Flow
from zmax.core.errors import InputError
from zmax.core.rng import stream
from zmax.kit.ranks import by_rank

N = 200_000


def shares(score, sharpness):
    drawn = Flow(sharpness=sharpness)._drawn(score, N, stream(0))
    return drawn.bincount(minlength=len(score)) / N


def test_rows_are_drawn_alike_or_by_the_weights_of_their_ranks():
    score = torch.tensor([[3.0], [1.0], [2.0], [7.0]])
    torch.testing.assert_close(shares(score, None), torch.full((4,), 0.25), atol=0.005, rtol=0)
    wanted = by_rank(score[:, 0], 0.1)
    torch.testing.assert_close(shares(score, 0.1).double(), wanted / wanted.sum(), atol=0.005, rtol=0)


def test_of_several_scores_ranks_add_up_whatever_their_units():
    score = torch.tensor([[1.0, 1000.0], [2.0, 2000.0], [3.0, 3000.0]])
    torch.testing.assert_close(shares(score, 0.1), shares(score[:, :1], 0.1))
    against = torch.tensor([[1.0, 3000.0], [2.0, 2000.0], [3.0, 1000.0]])
    torch.testing.assert_close(shares(against, 0.1), torch.full((3,), 1 / 3), atol=0.005, rtol=0)


def test_a_sharpness_that_is_no_positive_number_is_refused():
    with pytest.raises(InputError, match="sharpness"):
        Flow(sharpness=0.0)
