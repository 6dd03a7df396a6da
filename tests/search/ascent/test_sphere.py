"""Sphere: great circles keep norms, the angle decays as stated, known maximisers on the sphere are reached."""

from __future__ import annotations

import math

import pytest
import torch

from zmax.core.errors import InputError
from zmax.core.rng import stream
from zmax.core.space import Block, Space
from zmax.search.ascent.sphere import Sphere, geodesic, on_spheres, tangent_to_spheres
from zmax.testing import linear_gaussian, quadratic_score


def pulled(u):
    return u @ torch.linspace(-1, 2, u.shape[1], dtype=u.dtype) + torch.sin(2 * u).sum(1)


def test_every_block_keeps_its_norm(bench):
    space, method = Space((Block("a", (20,)), Block("b", (3, 8)))), Sphere(batch=3)
    run = bench.climb(method, pulled, calls=900, state=method.init(space, stream(0)))
    path = torch.cat(run.path).double()
    assert torch.allclose(path[:, :20].norm(dim=1), torch.tensor(20.0).sqrt().double(), rtol=1e-6)
    assert torch.allclose(path[:, 20:].norm(dim=1), torch.tensor(24.0).sqrt().double(), rtol=1e-6)


def test_each_step_turns_by_the_angle_of_its_age(bench):
    method = Sphere(batch=2, angle=0.4, steps=30)
    path = bench.climb(method, pulled, dim=12, calls=2 * 31).path
    for k in range(30):
        cosine = torch.nn.functional.cosine_similarity(path[k].double(), path[k + 1].double())
        assert torch.allclose(cosine.acos(), torch.tensor(0.4 * 0.01 ** (k / 30)).double(), rtol=1e-3)


def test_a_chain_is_drawn_anew_after_its_steps(bench):
    run = bench.climb(Sphere(batch=1, steps=10), pulled, dim=12, calls=12)
    moves = torch.stack([(a - b).norm() for a, b in zip(run.path[1:], run.path, strict=False)])
    assert int(moves.argmax()) == 10
    assert run.state.age.tolist() == [1]


def test_a_geodesic_ends_where_it_should():
    """A quarter turn from e1 along e2 ends at e2; a whole turn ends where it began."""
    space, u, along = Space.of((12,)), 2 * torch.eye(12).double()[:1], torch.eye(12).double()[1:2]
    assert torch.allclose(geodesic(space, u, math.pi * along), 2 * along)
    assert torch.allclose(geodesic(space, u, 4 * math.pi * along), u)


def test_tangents_are_orthogonal_to_every_block():
    space = Space((Block("a", (10,)), Block("b", (15,))))
    u = on_spheres(space, space.sample(6, stream(1)).double())
    tangent = tangent_to_spheres(space, u, space.sample(6, stream(2)).double())
    assert float((tangent * u)[:, :10].sum(1).abs().max()) < 1e-12
    assert float((tangent * u)[:, 10:].sum(1).abs().max()) < 1e-12


@pytest.mark.parametrize("seed", range(3))
def test_the_maximum_of_a_quadratic_on_the_sphere_is_reached(bench, seed):
    rng = stream(seed, "sphere law")
    w, a = torch.randn(16, 24, generator=rng).double() / 5, torch.randn(16, 16, generator=rng).double() / 4
    law, score = linear_gaussian(w), quadratic_score(a @ a.T, torch.randn(16, generator=rng).double())
    decode = law.generator().decode
    top = float(score(decode(law.tilt(score).argmax_on_shell()[None])).detach())
    run = bench.climb(Sphere(batch=4), lambda u: score(decode(u)), dim=24, calls=1200, seed=seed)
    start = float(score(decode(run.path[0])).detach().max())
    assert top - 1e-3 * (top - start) <= run.best <= top + 1e-5 * abs(top)


@pytest.mark.parametrize("factor", [2.0**-40, 2.0**40])
def test_the_scale_of_the_score_does_not_matter(bench, factor):
    plain = bench.climb(Sphere(), pulled, dim=24, calls=800)
    scaled = bench.climb(Sphere(), lambda u: factor * pulled(u), dim=24, calls=800)
    assert all(torch.equal(a, b) for a, b in zip(plain.path, scaled.path, strict=True))


@pytest.mark.parametrize("bad", [{"angle": 0.0}, {"steps": 0}, {"momentum": 1.0}, {"momentum": -0.1}, {"batch": True}])
def test_bad_arguments_are_refused_by_name(bad):
    with pytest.raises(InputError, match=f"Sphere\\({next(iter(bad))}="):
        Sphere(**bad)
