"""Boxes and simplices: their laws, bounds that are reached, and that nothing is held at a norm."""

import pytest
import torch
from scipy import stats

import zmax
from zmax.core.errors import InputError, ShapeError
from zmax.core.priors import FAR, Uniform
from zmax.core.simplex import Simplex
from zmax.core.space import Block, Space
from zmax.kit.spheres import has_sphere

LOW, HIGH = (0.0, -5.0, 2.0), (1.0, 5.0, 2.5)


def draws(n, k, seed=0):
    return torch.randn(n, k, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_each_coordinate_of_a_box_is_uniform_between_its_own_bounds():
    z = Uniform(LOW, HIGH).to_latent(draws(20_000, 3))
    for column, low, high in zip(z.T, LOW, HIGH, strict=True):
        assert stats.kstest(column.numpy(), stats.uniform(low, high - low).cdf).pvalue > 1e-3


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_bounds_of_a_box_are_reached_and_found_again(dtype):
    law = Uniform(LOW, HIGH)
    low, high = torch.tensor([LOW], dtype=dtype), torch.tensor([HIGH], dtype=dtype)
    for u in (FAR, FAR + 3):
        assert torch.equal(law.to_latent(torch.full((1, 3), u, dtype=dtype)), high)
        assert torch.equal(law.to_latent(torch.full((1, 3), -u, dtype=dtype)), low)
    assert torch.equal(law.to_white(torch.cat([low, high])), torch.tensor([[-FAR] * 3, [FAR] * 3], dtype=dtype))


def test_a_gradient_leads_away_from_a_bound_again():
    u = torch.tensor([[-FAR, FAR]], requires_grad=True)
    (grad,) = torch.autograd.grad(Uniform().to_latent(u).sum(), u)
    assert bool((grad > 1e-7).all())


def test_one_bound_may_be_for_all_coordinates():
    assert Uniform(0.0, HIGH[::2]).size == 2
    assert Uniform().size is None
    assert Uniform(0.0, (1.0, 4.0)).to_latent(torch.zeros(1, 2)).tolist() == [[0.5, 2.0]]


@pytest.mark.parametrize("k", [2, 3, 7])
def test_weights_of_a_simplex_are_those_of_a_flat_dirichlet_law(k):
    w = Simplex(k).to_latent(draws(10_000, 2 * k)).unflatten(1, (2, k))
    torch.testing.assert_close(w.sum(2), torch.ones(10_000, 2, dtype=torch.float64))
    for column in w.flatten(1).T:
        assert stats.kstest(column.numpy(), stats.beta(1, k - 1).cdf).pvalue > 1e-4
    correlation = torch.corrcoef(w[:, 0].T)[0, 1]
    assert float(correlation) == pytest.approx(-1 / (k - 1), abs=0.05)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_corners_faces_and_the_middle_of_a_simplex_are_reached(dtype):
    law = Simplex(4)
    w = torch.tensor([[1, 0, 0, 0], [0, 0.5, 0.5, 0], [0.25] * 4, [0.7, 0.2, 0.1, 0]], dtype=dtype)
    again = law.to_latent(law.to_white(w))
    torch.testing.assert_close(again, w, atol=1e-6, rtol=1e-6)
    assert torch.equal(again == 0, w == 0)
    assert torch.equal(law.to_latent(torch.full((1, 4), -9.0, dtype=dtype)), w[2:3])


def test_a_simplex_is_differentiable_where_mass_lies():
    u = draws(3, 6).requires_grad_()
    assert torch.autograd.gradcheck(Simplex(3).to_latent, (u,))


@pytest.mark.parametrize("law", [Uniform(), Simplex(4)])
def test_a_corner_is_as_plausible_as_the_middle_and_nothing_is_held_at_a_norm(law):
    space = Space.of((12,), law)
    u = torch.cat([torch.full((1, 12), FAR), torch.zeros(1, 12), -torch.full((1, 12), FAR)])
    assert space.plausibility(u).tolist() == [1, 1, 1]
    assert torch.equal(space.retract(u), u)
    assert not bool(space.at_rim(u).any())
    assert space.shell() == (0.0, pytest.approx(FAR * 12**0.5))
    assert not has_sphere(space.blocks[0])
    assert has_sphere(Space.of((12,)).blocks[0])


def test_the_other_blocks_of_a_mixed_space_keep_their_shell():
    space = Space((Block("z", (64,)), Block("box", (2,), Uniform())))
    low, high = Space.of((64,)).shell()
    assert space.shell() == (pytest.approx(low), pytest.approx((high**2 + 50) ** 0.5))


@pytest.mark.parametrize(
    ("make", "kind", "words"),
    [
        (lambda: Simplex(1), InputError, "whole number from 2 on"),
        (lambda: Block("w", (5,), Simplex(3)), ShapeError, "a multiple of 3"),
        (lambda: Uniform((0.0, 1.0), (1.0, 2.0, 3.0)), ShapeError, "as many low as high"),
        (lambda: Uniform((0.0, 1.0), 1.0), InputError, "high - low"),
        (lambda: Block("z", (2,), Uniform(LOW, HIGH)), ShapeError, "2 coordinates"),
    ],
)
def test_what_cannot_be_meant_is_refused(make, kind, words):
    with pytest.raises(kind, match=words):
        make()


SUMS = [(8, 320, m) for m in ("spsa", "lbfgs")] + [(8, 500, "es"), (30, 300, "trust"), (30, 1000, "sphere-cma")]
SUMS += [(30, 500, m) for m in ("gradient", "cma", "snes", "sphere")]


@pytest.mark.parametrize(("dim", "calls", "method"), SUMS)
def test_the_corner_of_a_box_is_reached(dim, calls, method):
    G = zmax.generator(torch.nn.Identity(), shape=(dim,), prior="uniform", modality="vector")
    best = zmax.maximize(G, lambda x: x.sum(1), method, budget=calls).best
    assert best.score >= 0.99 * dim
    assert best.plausibility == 1.0


@pytest.mark.parametrize("method", ["gradient", "cma", "snes", "trust"])
def test_the_best_corner_of_a_simplex_is_reached(method):
    G = zmax.generator(torch.nn.Identity(), shape=(2, 6), prior=zmax.Simplex(6), modality="vector")
    wanted = torch.arange(6) / 5
    best = zmax.maximize(G, lambda x: (x * wanted).sum((1, 2)), method, budget=500).best
    assert best.score >= 0.99 * 2
    assert best.plausibility == 1.0
