"""Names of scores, and arithmetic that has a score in it."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch

from zmax.core.errors import InputError
from zmax.core.score import Score, combine, maximum, minimum


class Total(Score):
    def __call__(self, samples):
        return samples.flatten(1).sum(1)


class Half(Total):
    def __call__(self, samples):
        return super().__call__(samples) / 2


@dataclass
class Scaled(Total):
    name: str
    scale: float


def test_a_score_is_called_as_its_class_unless_it_says_otherwise():
    assert (Total().name, Half().name, Scaled("mine", 2.0).name) == ("Total", "Half", "mine")
    both = Total() - Half()
    assert both.name == "Total - Half"
    assert both(torch.ones(1, 4)).tolist() == [2.0]


@pytest.mark.parametrize("join", [minimum, maximum, lambda a, b: combine(" + ", torch.add, a, b)])
def test_two_numbers_are_no_score(join):
    with pytest.raises(InputError, match="at least one side"):
        join(1.0, 2.0)


def test_numbers_are_named_exactly():
    score = Total()
    assert (0.123456789 * score).name != (0.123457 * score).name
    names = [(factor * score).name for factor in (2, 2.0, 0.5, -1.0, 0.123456789)]
    assert names == ["2*Total", "2*Total", "0.5*Total", "-1*Total", "0.123456789*Total"]
