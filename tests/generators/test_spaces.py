"""W, W+ and subspaces: what they decode to is what the whole generator decodes to, and typical stays typical."""

from __future__ import annotations

import pytest
import torch

import zmax
from zmax.core.empirical import Empirical
from zmax.core.errors import InputError, ShapeError
from zmax.core.rng import stream
from zmax.core.space import Block, Space
from zmax.generators import style_generator, subspace
from zmax.generators.zoo import load
from zmax.testing import GeneratorConformance, linear_gaussian, quadratic_score


class TestGANInWPlus(GeneratorConformance):
    def make(self):
        return zmax.load_generator("avatars-gan:w+")


class TestSubspace(GeneratorConformance):
    def make(self):
        return subspace(zmax.load_generator("avatars-vae"), 6)


def test_the_same_w_in_every_layer_is_the_picture_of_w():
    network, in_w, in_w_plus = load("avatars-gan"), *(zmax.load_generator(f"avatars-gan:{s}") for s in ("w", "w+"))
    u = in_w.space.sample(4, stream(0))
    once = in_w.decode(in_w.space.latents(u))
    everywhere = in_w_plus.decode(in_w_plus.space.latents(u.repeat(1, network.layers)))
    torch.testing.assert_close(once, everywhere)
    mapped = network.mapping(torch.randn(4, 128, generator=stream(1)))
    torch.testing.assert_close(in_w.decode(mapped), network.synthesis(mapped))


def test_w_plus_watches_each_layer_for_itself():
    space = zmax.load_generator("avatars-gan:w+").space
    u = space.retract(space.sample(8, stream(0)))
    off = u.clone()
    off[:, -128:] *= 3
    assert float(space.plausibility(u).min()) > 0.5
    assert float(space.plausibility(off).max()) < 1e-6


def test_unknown_spaces_are_refused_with_those_there_are():
    with pytest.raises(InputError, match=r"z, w, w\+"):
        zmax.load_generator("avatars-gan:v")
    with pytest.raises(InputError, match="expected: z, w\n"):
        style_generator(torch.nn.Tanh(), torch.nn.Tanh(), latent=4, space="w+")


def test_a_subspace_holds_the_directions_and_stays_typical():
    G = zmax.generator(torch.nn.Identity(), shape=(60,), modality="vector")
    rows = torch.randn(3, 60, generator=stream(0))
    few = subspace(G, directions=rows, seed=1)
    v = few.space.sample(2000, stream(2))
    u = few.decode(few.space.latents(v))
    left = rows - (rows @ few.basis) @ few.basis.T
    assert float(left.abs().max()) < 1e-5
    torch.testing.assert_close(few.basis.T @ few.basis, torch.eye(3), atol=1e-5, rtol=0)
    assert abs(float(u.square().sum(1).mean()) - 60) < 4 * (2 * 3 / 2000) ** 0.5
    assert float(G.space.plausibility(u).median()) > 0.5


def test_the_smallest_subspace_is_a_line():
    line = subspace(linear_gaussian(torch.eye(20)).generator(), 1)
    u = line.decode(torch.tensor([[-1.0], [0.0], [2.0]])).detach()
    torch.testing.assert_close(u[2] - u[1], 2 * (u[1] - u[0]), atol=1e-5, rtol=0)
    assert float((u[1] - u[0]).norm()) == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("size", [1e-6, 1.0, 1e6])
def test_the_origin_is_moved_to_the_shell_whatever_its_size(size):
    G = zmax.generator(torch.nn.Identity(), shape=(20,), modality="vector")
    origin = torch.zeros(20)
    origin[5] = size
    few = subspace(G, directions=torch.eye(20)[:4], origin=origin)
    expected = torch.zeros(20)
    expected[5] = 16**0.5
    torch.testing.assert_close(few.origin, expected)


def test_the_best_of_a_subspace_is_the_projection_of_the_best():
    """On u = c + B v a linear score a^T u is highest, on the shell of v, along B^T a."""
    law, slope = linear_gaussian(torch.eye(40)), torch.randn(40, generator=stream(3)).double()
    few = subspace(law.generator(), 8)
    best = zmax.maximize(few, quadratic_score(b=slope), "gradient", budget=600).best
    along = few.basis.double().T @ slope
    assert float(torch.cosine_similarity(best.u.double(), along, dim=0)) > 0.99


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({}, InputError),
        ({"dim": 40}, InputError),
        ({"dim": 0}, InputError),
        ({"directions": torch.ones(2, 40)}, InputError),
        ({"directions": torch.eye(39)[:3]}, ShapeError),
        ({"dim": 3, "origin": torch.zeros(4)}, ShapeError),
    ],
)
def test_what_cannot_be_a_subspace_is_refused(arguments, error):
    with pytest.raises(error):
        subspace(linear_gaussian(torch.eye(40)).generator(), **arguments)


def test_an_embedding_is_a_block_with_the_law_of_its_table():
    """A class-conditional decoder searched over z and over the span of its class embeddings at once."""
    table = torch.randn(500, 6, generator=stream(4)) @ torch.randn(6, 6, generator=stream(5)) + 2
    space = Space((Block("z", (10,)), Block("class", (6,), Empirical.fit(table))))
    G = zmax.generator(lambda z: torch.cat([z["z"], z["class"]], dim=1), space=space, modality="vector")
    drawn = G.decode(space.latents(space.sample(20_000, stream(6))))[:, 10:]
    torch.testing.assert_close(drawn.mean(0), table.mean(0), atol=0.1, rtol=0)
    torch.testing.assert_close(drawn.T.cov(), table.T.cov(), atol=0.3, rtol=0.1)
    r = zmax.maximize(G, lambda x: x[:, 0] + x[:, 10], "gradient", budget=300)
    assert set(r.best.z) == {"z", "class"}
    assert r.best.score > max(e.score for e in r.reference)
