"""Names of scores, and arithmetic that has a score in it."""

from __future__ import annotations

import contextlib
import random
from dataclasses import dataclass
from operator import add, mul, sub, truediv

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


class Column(Score):
    """One coordinate of a sample, called by a letter."""

    def __init__(self, name, place):
        self.name, self.place = name, place

    def __call__(self, samples):
        return samples[:, self.place]


LETTERS = [Column(name, place) for place, name in enumerate("abcd")]
VALUES = torch.tensor([[2.0, 3.0, 5.0, 7.0]], dtype=torch.float64)
KNOWN = {"a": 2.0, "b": 3.0, "c": 5.0, "d": 7.0, "min": min, "max": max}


def grown(chance, depth):
    """A random expression of scores and numbers."""
    if depth == 0 or chance.random() < 0.3:
        return chance.choice(LETTERS)
    operation = chance.choice([add, sub, mul, truediv, minimum, maximum])
    sides = [grown(chance, depth - 1), grown(chance, depth - 1)]
    if operation is not truediv and chance.random() < 0.5:
        sides[chance.randrange(2)] = chance.choice([2, 0.5, 10])
    return operation(*sides)


def test_the_name_of_a_score_read_as_arithmetic_gives_its_value():
    chance = random.Random(0)
    for _ in range(150):
        tree = grown(chance, 4)
        with contextlib.suppress(ZeroDivisionError):  # such a tree has no value to compare
            assert float(tree(VALUES)[0]) == pytest.approx(eval(tree.name, {}, KNOWN), rel=1e-9)


def test_names_have_no_parentheses_that_they_can_do_without():
    a, b, c, _ = LETTERS
    for tree, name in [
        (a + (b + c), "a + b + c"),
        (a - (b + c), "a - (b + c)"),
        ((a - b) - c, "a - b - c"),
        ((a + b) * c, "(a + b)*c"),
        (a * b * c, "a*b*c"),
        (a * (b * c), "a*b*c"),
        (a / (b * c), "a/(b*c)"),
        (a * b / c, "a*b/c"),
        (a * (b / c), "a*b/c"),
        (a + b * c, "a + b*c"),
        (minimum(a + b, c) * 2, "min(a + b, c)*2"),
        (-a, "-1*a"),
    ]:
        assert tree.name == name


def test_what_is_joined_is_noisy_if_one_term_is_and_differentiable_if_all_are():
    def made(name, **what):
        column = Column(name, 0)
        vars(column).update(what)
        return column

    calm, wild = made("calm", differentiable=True), made("wild", noisy=True)
    assert ((calm + wild).noisy, (calm + 1.0).noisy) == (True, False)
    assert ((calm + wild).differentiable, (calm + 1.0).differentiable) == (False, True)


def test_each_term_is_evaluated_once_and_two_of_one_name_are_refused():
    class Counting(Column):
        calls = 0

        def __call__(self, samples):
            self.calls += 1
            return super().__call__(samples)

    a = Counting("a", 0)
    assert float((a * a + a)(VALUES)[0]) == 6.0
    assert a.calls == 1
    with pytest.raises(InputError, match="two different scores are called 'a'"):
        a + Column("a", 1)
