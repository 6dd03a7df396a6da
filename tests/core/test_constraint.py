"""Comparisons of scores as constraints: what they are, and what they refuse to be taken for."""

import math

import pytest
import torch

import zmax
from zmax.core.constraint import Constraint, slacks
from zmax.core.errors import InputError

X = torch.tensor([[1.0, 3.0], [2.0, -1.0]])
NAN = math.nan
A = zmax.score(lambda x: x[:, 0], name="a")
B = zmax.score(lambda x: x[:, 1], name="b", bounds=(-5.0, 5.0))
Z = zmax.score(lambda z: z[:, 0], name="z", latents=True)


@pytest.mark.parametrize(
    ("made", "name", "wanted"),
    [
        (B >= 0.5, "b >= 0.5", [2.5, -1.5]),
        (B <= 0.5, "b <= 0.5", [-2.5, 1.5]),
        (A >= B, "a - b >= 0", [-2.0, 3.0]),
        (2 * B <= 4, "2*b <= 4", [-2.0, 6.0]),
    ],
)
def test_a_comparison_knows_its_name_and_by_how_much_it_is_met(made, name, wanted):
    S = A.where(made)
    values = {made.judge.name: S.judges[made.judge.name]({"a": X[:, 0], "b": X[:, 1]})}
    assert made.name == name
    assert [s.tolist() for s in slacks((made,), values)] == [wanted]


def test_a_number_may_come_first():
    low = 0.5
    assert (low <= B).name == "b >= 0.5"


def test_a_score_with_constraints_is_the_score_itself_and_knows_all_terms():
    S = zmax.score(lambda x: x[:, 0], name="a", unit="kB").where(B >= 0).where(2 * B <= 4, Z >= 1)
    assert S(X).tolist() == [1.0, 2.0]
    assert (S.name, S.unit) == ("a where b >= 0, 2*b <= 4, z >= 1", "kB")
    assert [term.name for term in S.terms] == ["a", "b"]
    assert [c.name for c in S.constraints] == ["b >= 0", "2*b <= 4", "z >= 1"]
    assert S.told("a cat").constraints == S.constraints


def test_gradients_need_every_term():
    blind = zmax.score(lambda x: x[:, 0], name="blind", differentiable=False)
    smooth = zmax.score(lambda x: x[:, 0], name="smooth", differentiable=True)
    assert smooth.where(smooth >= 0).differentiable is True
    assert smooth.where(blind >= 0).differentiable is False


def test_scores_are_still_compared_and_hashed_as_objects():
    assert A != B
    assert len({A, B, A}) == 2
    assert A in [B, A]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: A.where(), "comparisons such as B >= 0.5"),
        (lambda: A.where(B == 0.5), "for a value near t"),
        (lambda: A.where(B), "comparisons"),
        (lambda: bool(B >= 0), "of two bounds make two constraints"),
        (lambda: 0.2 <= B <= 0.8, "of two bounds make two constraints"),
        (lambda: B > 0, "numbers that are equal meet"),
        (lambda: B < 0, "numbers that are equal meet"),
        (lambda: B >= NAN, "a number or a score"),
        (lambda: B >= "0.5", "a number or a score"),
        (lambda: A.where(B >= 0) + B, "constraints come last"),
        (lambda: zmax.minimum(A, A.where(B >= 0)), "constraints come last"),
        (lambda: A + Z, "compare it"),
        (lambda: A.where(zmax.score(lambda x: x[:, 1], name="a") >= 0), "two different scores are called 'a'"),
        (lambda: zmax.score(len, latents=True, per_sample=True), "latents=True"),
    ],
)
def test_what_cannot_be_meant_is_refused(make, words):
    with pytest.raises(InputError, match=words):
        make()


def test_a_constraint_is_no_number():
    assert isinstance(B >= 0, Constraint)
    assert (B >= 0) != (B >= 0)
