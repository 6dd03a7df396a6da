"""Good samples that differ: the least distance among them is within a factor of two of the best choice."""

from __future__ import annotations

import itertools

import pytest
import torch

import zmax
from tests.run.toys import identity
from zmax.core.errors import InputError
from zmax.core.rng import stream
from zmax.results.diverse import dispersed, tanimoto


@pytest.fixture(scope="module")
def result():
    return zmax.maximize(identity(6), lambda x: x[:, 0], "random", 400, keep=40, progress=False)


def least(u):
    return float(torch.pdist(u).min())


@pytest.mark.parametrize("seed", range(5))
def test_the_choice_is_within_a_factor_of_two_of_the_best_one(seed):
    x = torch.randn(9, 2, generator=stream(seed, "points"))
    rows = dispersed(4, 9, lambda i: (x - x[i]).norm(dim=1))
    best = max(least(x[[0, *others]]) for others in itertools.combinations(range(1, 9), 3))
    assert rows[0] == 0
    assert len(set(rows)) == 4
    assert best / 2 <= least(x[rows]) <= best


def test_equal_points_are_each_chosen_once():
    assert sorted(dispersed(5, 3, lambda i: torch.zeros(3))) == [0, 1, 2]


def test_the_chosen_are_good_begin_with_the_best_and_are_farther_apart_than_the_top(result):
    chosen = result.diverse(8)
    middle = (result.best.score + sum(e.score for e in result.reference) / len(result.reference)) / 2
    assert chosen[0].id == result.best.id
    assert min(e.score for e in chosen) >= middle
    assert least(torch.stack([e.u for e in chosen])) > least(torch.stack([e.u for e in result.top(8)]))
    assert len(result.diverse(10**3)) == sum(e.score >= middle for e in {e.id: e for e in kept(result)}.values())


def kept(result):
    return (*result.leaders, *result.reference)


def test_the_bar_can_be_set(result):
    bar = result.top(3)[-1].score
    assert result.diverse(9, least=bar)[0].id == result.best.id
    assert {e.id for e in result.diverse(9, least=bar)} == {e.id for e in result.top(3)}
    assert result.diverse(3, least=10**6) == []


def test_all_that_was_scored_is_to_be_had_with_the_generator(result):
    G = identity(6)
    chosen = result.diverse(5, generator=G, least=-(10**6))
    ids = {e.id for e in kept(result)}
    assert any(e.id not in ids for e in chosen)
    for e in chosen:
        assert torch.equal(e.sample, e.u)
        assert result.history.score[e.id] == e.score
    by_feature = result.diverse(5, lambda x: x[:, 1:2], generator=G, least=-(10**6))
    values = result.history.latents()[:, 1]
    assert {float(values.min()), float(values.max())} <= {float(e.sample[1]) for e in by_feature}


def test_distances_of_samples_and_of_features_agree(result):
    by_pairs = result.diverse(6, lambda a, b: (a[2:4] - b[2:4]).norm())
    by_features = result.diverse(6, lambda x: x[:, 2:4])
    assert [e.id for e in by_pairs] == [e.id for e in by_features]


def test_fingerprints_are_compared_by_tanimoto(result):
    bits = torch.tensor([[1, 1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 1]]).bool()
    assert tanimoto(bits, bits[0]).tolist() == [0.0, 0.5, 1.0]
    chosen = result.diverse(2, lambda x: x > 0)
    assert tanimoto(torch.stack([e.sample > 0 for e in result.leaders]), chosen[0].sample > 0).max() <= tanimoto(
        (chosen[1].sample > 0)[None], chosen[0].sample > 0
    )


def test_what_is_no_distance_is_refused(result):
    with pytest.raises(InputError, match="a function of two samples, or of a batch of samples"):
        result.diverse(3, lambda a, b, c: 0)
    with pytest.raises(InputError, match="features of"):
        result.diverse(3, lambda x: x[:1])
