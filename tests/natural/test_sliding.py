"""The sliding Fréchet distance: that of the data where samples are the data, and as far as they are moved."""

import pytest
import torch

from zmax.core.rng import stream
from zmax.natural.diversity import frechet
from zmax.natural.sliding import LEVELS, sliding

SCORE = torch.rand(4000, generator=stream(0))


def law(score, rng):
    """Points (2 s, noise)."""
    return torch.stack([2 * score, torch.randn(len(score), generator=rng)], 1)


DATA, SAME = law(SCORE, stream(1)), law(SCORE, stream(2))


def test_samples_of_the_law_are_no_further_than_the_data_are_from_themselves():
    found = sliding(DATA, SCORE, SAME, SCORE)
    assert [round(level.asked, 1) for level in found] == [i / 10 for i in range(1, LEVELS + 1)]
    for level in found:
        assert level.frechet < level.frechet_data + 0.03
        assert level.distance / level.distance_data == pytest.approx(1.0, abs=0.15)


def test_what_is_moved_at_one_level_is_found_there():
    moved = torch.where(SCORE[:, None] > 0.75, SAME + torch.tensor([0.0, 2.0]), SAME)
    found = sliding(DATA, SCORE, moved, SCORE)
    assert max(level.frechet for level in found[:5]) < 0.1
    assert found[-1].frechet == pytest.approx(4.0, abs=0.4)


def test_samples_that_all_are_alike_have_no_diversity_and_the_variance_of_the_data_as_distance():
    alike = torch.stack([2 * SCORE, torch.zeros(len(SCORE))], 1)
    level = sliding(DATA, SCORE, alike, SCORE)[4]
    assert level.distance < 0.3 * level.distance_data
    assert level.frechet == pytest.approx(1.0, abs=0.15)


def test_it_is_the_mean_distance_to_two_halves_of_the_nearest_data():
    rng = stream(3)
    x, y = torch.randn(80, 3, generator=rng), torch.randn(40, 3, generator=rng)
    label, asked = torch.arange(80.0), 2 * torch.arange(40.0)
    for level in sliding(x, label, y, asked):
        order, near = ((values - level.asked).abs().argsort(stable=True) for values in (label, asked))
        halves, came = [x[order[0:16:2]], x[order[1:16:2]]], y[near[:8]]
        assert level.frechet == pytest.approx(sum(frechet(half, came) for half in halves) / 2, rel=1e-6)
        assert level.frechet_data == pytest.approx(frechet(*halves), rel=1e-6)


def test_of_too_few_there_is_none_and_many_values_are_seen_in_their_principal_components():
    assert sliding(DATA[:15], SCORE[:15], SAME, SCORE) == []
    assert sliding(DATA, SCORE, SAME[:7], SCORE[:7]) == []
    wide = torch.cat([DATA, torch.zeros(len(DATA), 100)], 1)
    few, many = (sliding(x, SCORE, x.flip(0), SCORE.flip(0))[4].frechet for x in (DATA, wide))
    assert many == pytest.approx(few, abs=1e-6)
