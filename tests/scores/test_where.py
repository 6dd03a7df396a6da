"""Constraints in the name of a score."""

import pytest
import torch

import zmax
from zmax.core.errors import InputError
from zmax.scores.expression import parse

MADE = {name: zmax.score(lambda x, k=k: x[:, k], name=name) for k, name in enumerate("abc")}
X = torch.tensor([[3.0, 8.0, 1.0]])


@pytest.mark.parametrize(
    ("text", "value", "names"),
    [
        ("a where b >= 0.5", 3.0, ["b >= 0.5"]),
        ("2*a - c where b>=-.5, c<=2e3", 5.0, ["b >= -0.5", "c <= 2000"]),
        ("a where b >= 1 where c <= 2", 3.0, ["b >= 1", "c <= 2"]),
        ("a where 0.5 <= b", 3.0, ["b >= 0.5"]),
        ("a where min(b, c) >= a/2", 3.0, ["min(b, c) - a/2 >= 0"]),
        ("'a' where (b + c) <= 1", 3.0, ["b + c <= 1"]),
    ],
)
def test_a_score_with_constraints_is_read(text, value, names):
    S = parse(text, MADE.__getitem__)
    assert S(X).tolist() == [value]
    assert [c.name for c in S.constraints] == names


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a where", "where a score or a number should be"),
        ("a where b", "where >= or <= should be"),
        ("a where b > 1", "'>' has no place"),
        ("a where 1 >= 2", "numbers alone"),
        ("3 where a >= 2", "constraints on a number"),
        ("a where b >= 1 c", "'c' where an operator or the end"),
        ("a + (b where c >= 1)", "where '\\)' should be"),
    ],
)
def test_what_cannot_be_read_is_pointed_at(text, words):
    with pytest.raises(InputError, match=words):
        parse(text, MADE.__getitem__)


def test_a_loaded_score_keeps_its_words():
    S = zmax.load_score("attribute:glasses where brightness <= 0.4")
    assert (S.source, S.name) == ("attribute:glasses where brightness <= 0.4",) * 2
    assert S.differentiable is True
