"""Rows and spheres: lengths, cuts and turns in numbers."""

from __future__ import annotations

import math

import torch

from zmax.core.rng import stream
from zmax.core.space import Block, Space
from zmax.kit.rows import as_long_as, cut, length, take, unit
from zmax.kit.spheres import geodesic, on_spheres, tangent_to_spheres
from zmax.kit.walk import Walk
from zmax.testing import gaussian_mixture


def test_each_row_is_cut_and_stretched_by_its_own_length():
    x = torch.tensor([[3.0, 4.0], [0.3, 0.4], [0.0, 0.0]])
    torch.testing.assert_close(length(x)[:2], torch.tensor([[5.0], [0.5]]).double(), rtol=1e-6, atol=0)
    torch.testing.assert_close(
        cut(x, 1.0), torch.tensor([[0.6, 0.8], [0.3, 0.4], [0.0, 0.0]]).double(), rtol=1e-6, atol=0
    )
    torch.testing.assert_close(unit(x), torch.tensor([[0.6, 0.8], [0.6, 0.8], [0.0, 0.0]]).double(), rtol=1e-6, atol=0)
    model = torch.tensor([[0.0, 2.0], [7.0, 0.0], [1.0, 1.0]])
    torch.testing.assert_close(as_long_as(model, x), torch.tensor([[1.2, 1.6], [4.2, 5.6], [0.0, 0.0]]))


def test_every_block_has_a_sphere_of_its_own():
    space = Space((Block("a", (16,)), Block("b", (25,))))
    u = on_spheres(space, 7 * space.sample(3, stream(0)).double())
    torch.testing.assert_close(u[:, :16].norm(dim=1), torch.full((3,), 4.0).double())
    torch.testing.assert_close(u[:, 16:].norm(dim=1), torch.full((3,), 5.0).double())


def test_a_small_block_has_no_sphere_and_moves_on_lines():
    space, u = Space((Block("a", (16,)), Block("b", (2,)))), torch.zeros(1, 18).double()
    u[0, 0], u[0, 16] = 4.0, 0.1
    move = torch.zeros(1, 18).double()
    move[0, 0] = move[0, 16] = 1.0
    assert torch.equal(on_spheres(space, u), u)
    assert tangent_to_spheres(space, u, move)[0, [0, 16]].tolist() == [0, 1]
    assert geodesic(space, u, move)[0, 16] == 1.1
    assert 0.05 < float(Space.of((2,)).plausibility(geodesic(space, u, 50 * move)[:, 16:])) < 0.052


def test_a_turn_of_any_length_ends_at_its_angle():
    """From 2 e_1 along the second axis: an arc of 2 theta ends at 2 (cos theta, sin theta, 0, ...)."""
    space, e = Space.of((12,)), torch.eye(12).double()
    for theta in (0.3, 1.0, 2.5):
        end = geodesic(space, 2 * e[:1], 2 * theta * e[1:2])
        torch.testing.assert_close(end, 2 * (math.cos(theta) * e[:1] + math.sin(theta) * e[1:2]))


def test_a_walk_decodes_to_where_it_came_and_asks_ahead_only_where_it_scores():
    """The noises that a walk keeps are those that brought it there, also after setting out again from the middle."""
    G = gaussian_mixture([[1.0, -1.0]], [torch.eye(2).tolist()], [1.0]).generator(steps=5, eta=1.0)
    space, path, rng = G.space, G.space.path, stream(1)

    def walked(walk):
        while not walk.at_end(space):
            x_0 = G.denoise(walk.x, path.times[walk.step].expand(len(walk.x)))
            walk = walk.onward(space, x_0, torch.randn(len(walk.x), 2, generator=rng))
        return walk, G.finish(G.denoise(walk.x, path.times[walk.step].expand(len(walk.x))))

    first, sample = walked(Walk.begin(space, 3, rng, recorded=True))
    torch.testing.assert_close(G.decode(space.latents(first.u)), sample, rtol=0, atol=1e-5)
    for step in range(5):
        again = Walk.again(space, first.u, first.passed, step, torch.randn(3, 2, generator=rng))
        torch.testing.assert_close(again.passed[:, :step], first.passed[:, :step])
        end, sample = walked(again)
        torch.testing.assert_close(G.decode(space.latents(end.u)), sample, rtol=0, atol=1e-5)
        assert len(end.passed[0]) == 5
        torch.testing.assert_close(again.before, first.passed[:, step, 1])
    asked = Walk.begin(space, 3, rng)
    assert [asked.preview(space, scored=s, ahead=2).at.ahead for s in (True, False)] == [2, 0]
    assert first.preview(space, scored=False, ahead=2).at.ahead == 0


def test_points_that_are_chosen_take_what_they_showed_along():
    """A step of order 2 goes on from two previews, so a point that is copied decodes only with its own last one."""
    G = gaussian_mixture([[1.0, -1.0], [-2.0, 0.0]], [torch.eye(2).tolist()] * 2, [0.5, 0.5]).generator(steps=6)
    space, path, rng = G.space, G.space.path, stream(2)
    walk = Walk.begin(space, 3, rng)
    while not walk.at_end(space):
        x_0 = G.denoise(walk.x, path.times[walk.step].expand(3))
        walk = walk.onward(space, x_0, torch.randn(3, 2, generator=rng))
        torch.testing.assert_close(walk.before, x_0)
        walk = take(walk, torch.tensor([2, 0, 0]))
    sample = G.finish(G.denoise(walk.x, path.times[walk.step].expand(3)))
    torch.testing.assert_close(G.decode(space.latents(walk.u)), sample, rtol=0, atol=1e-5)
