"""Statistics of pictures: values known by counting, and what must not change them."""

from __future__ import annotations

import math

import pytest
import torch

from zmax.core.rng import stream
from zmax.natural.statistics import statistics

PICTURES = torch.rand(5, 3, 8, 12, generator=stream(0))
NAMES = ["dark", "edges", "colours", "norm"]


def half(left, right):
    """One picture whose halves have these colours."""
    return torch.cat([torch.tensor(c)[None, :, None, None].expand(1, 3, 4, 2) for c in (left, right)], 3)


def test_a_picture_of_two_halves():
    found = statistics(half([0.0, 0.0, 0.0], [1.0, 0.5, 0.3]))
    assert list(found) == NAMES
    assert found["dark"].item() == 0.5
    # one of three steps to the right and none of those down, of 12 + 12 a channel
    assert found["edges"].item() == pytest.approx(4 * 1.8 / (3 * 24))
    assert found["colours"].item() == pytest.approx(math.log(2))
    assert found["norm"].item() == pytest.approx(math.sqrt(8 * (1 + 0.25 + 0.09)))


def test_one_colour_has_no_entropy_and_no_edges():
    found = statistics(torch.full((2, 3, 9, 9), 0.7))
    assert found["colours"].tolist() == found["edges"].tolist() == found["dark"].tolist() == [0.0, 0.0]


def test_all_colours_have_the_entropy_of_64():
    grid = torch.cartesian_prod(*[torch.tensor([0.1, 0.3, 0.6, 0.9])] * 3)
    found = statistics(grid.T.reshape(1, 3, 8, 8))
    assert found["colours"].item() == pytest.approx(math.log(64))


def test_channels_are_told_apart():
    found = statistics(torch.cat([half([1.0, 0.0, 0.0], [0.0, 1.0, 0.0]), half([0.0, 1.0, 0.0], [0.0, 0.0, 1.0])]))
    assert found["colours"].tolist() == pytest.approx([math.log(2)] * 2)


def test_edges_are_of_both_directions():
    rows = (torch.arange(8) % 2).float().expand(1, 3, 8, 8)
    for x in (rows, rows.transpose(2, 3)):
        assert statistics(x)["edges"].item() == pytest.approx(0.5)


def test_values_beyond_the_range_count_with_its_ends():
    inside, beyond = half([0.0, 0.0, 0.0], [1.0, 1.0, 1.0]), half([-3.0, -1.0, -9.0], [1.5, 7.0, 40.0])
    assert statistics(beyond)["colours"].item() == statistics(inside)["colours"].item()


def test_a_picture_counts_by_itself():
    together = statistics(PICTURES)
    for i in range(5):
        alone = statistics(PICTURES[i : i + 1])
        assert all(alone[name].item() == pytest.approx(together[name][i].item()) for name in NAMES)


def test_mirroring_changes_nothing():
    one, other = statistics(PICTURES), statistics(PICTURES.flip(3).flip(2))
    for name in NAMES:
        torch.testing.assert_close(one[name], other[name])


def test_grey_pictures_have_the_statistics_of_their_colour_copies():
    grey = PICTURES[:, :1]
    one, other = statistics(grey), statistics(grey.expand(-1, 3, -1, -1))
    for name in ["dark", "edges", "colours"]:
        torch.testing.assert_close(one[name], other[name])


def test_vectors_have_a_norm_alone():
    found = statistics(torch.tensor([[3.0, 4.0], [0.0, 2.0]]))
    assert {name: value.tolist() for name, value in found.items()} == {"norm": [5.0, 2.0]}


def test_what_is_no_tensor_has_none():
    assert statistics(["CCO", "C"]) == {}


def test_no_samples_have_empty_statistics():
    assert {len(value) for value in statistics(PICTURES[:0]).values()} == {0}
