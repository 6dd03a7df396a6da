"""The law of norms beside a law of points: what it draws, where it is clipped, and what it learns."""

from __future__ import annotations

import math

import pytest
import torch

from zmax.core.priors import shell
from zmax.core.rng import Rng, stream
from zmax.core.space import Block, Space
from zmax.kit.norms import Norms, drawn_norms, fresh_norms, learned_norms, placed

SPACE = Space((Block("a", (16,)), Block("b", (64,)), Block("small", (3,))))
LOW, HIGH = shell(64, 0.5)


def law(centre, width, r):
    return Norms(*(torch.tensor(value, dtype=torch.float64) for value in (centre, width, r)))


def test_it_begins_at_the_weighted_mean_of_the_norms():
    u = SPACE.retract(SPACE.sample(4, stream(0)).double())
    w = torch.tensor([0.5, 0.25, 0.25, 0.0])
    norms = fresh_norms(SPACE, u, w)
    expected = w.double() @ torch.stack([part.norm(dim=1) for part in SPACE.split(u)], dim=1)
    torch.testing.assert_close(norms.centre, expected)


def test_draws_are_as_wide_as_one_coordinate_of_the_law_and_clipped_to_the_shell():
    """Of a mean twice as far out as the centre and a variance of 0.01 a coordinate: a width of 0.1 / 2."""
    space, n = Space.of((64,)), 20_000
    mean = torch.ones(64).double() * 2
    fresh = law([8.0], [math.inf], [[8.0]])
    norms, _ = drawn_norms(fresh, space, mean, torch.full((64,), 0.01), n, Rng.of(stream(1)))
    r = norms.r[:-1, 0]
    assert float(norms.width) == pytest.approx(0.1 * 8 / 16)
    assert float(r.mean()) == pytest.approx(8.0, abs=4 * 0.05 / n**0.5)
    assert float(r.std()) == pytest.approx(0.05, rel=0.03)
    assert float(norms.r[-1]) == 8.0
    wide, _ = drawn_norms(fresh, space, mean, torch.full((64,), 4.0), n, Rng.of(stream(1)))
    assert (float(wide.r.min()), float(wide.r.max())) == pytest.approx((LOW, HIGH))
    narrow, _ = drawn_norms(law([8.0], [0.01], [[8.0]]), space, mean, torch.full((64,), 4.0), n, Rng.of(stream(1)))
    assert float(narrow.width) == pytest.approx(0.01)


def test_points_keep_their_directions_and_small_blocks_their_norms():
    u = 3 * SPACE.sample(2, stream(2)).double()
    r = torch.tensor([[4.0, 8.0, 9.0], [3.9, 7.9, 9.0]]).double()
    there = SPACE.split(placed(SPACE, u, r))
    for block, part in enumerate(SPACE.split(u)[:2]):
        torch.testing.assert_close(there[block].norm(dim=1), r[:, block])
        torch.testing.assert_close(torch.cosine_similarity(there[block], part), torch.ones(2).double())
    assert torch.equal(there[2], SPACE.blocks[2].prior.retract(SPACE.split(u)[2], 0.5))


def test_it_moves_to_the_norms_of_the_parents_and_narrows_where_they_agree():
    r = [[7.9], [8.0], [8.3], [7.7], [8.0]]
    norms = learned_norms(law([8.0], [0.2], r), torch.tensor([0.5, 0.5, 0.0, 0.0]))
    assert float(norms.centre) == pytest.approx(7.95)
    squares = torch.tensor([0.25, 0.0, 2.25, 2.25])
    grown = float(torch.tensor([0.25, 0.25, -0.25, -0.25]) @ squares)
    assert float(norms.width) == pytest.approx(0.2 * math.exp(0.3 * grown))
    wider = learned_norms(law([8.0], [0.2], r), torch.tensor([0.0, 0.0, 0.5, 0.5]))
    assert float(wider.width) > 0.2
