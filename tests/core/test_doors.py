"""What a space and its priors refuse, and where their numbers live."""

from __future__ import annotations

import inspect
import math

import pytest
import torch

from zmax.core.empirical import Empirical
from zmax.core.errors import InputError, ShapeError
from zmax.core.priors import Normal, Sphere, TruncatedNormal, Uniform, shell
from zmax.core.rng import Rng, stream
from zmax.core.space import Block, Space

K = 5
LAW = Empirical(
    torch.arange(5, dtype=torch.float64), torch.eye(5, dtype=torch.float64) + 0.5 * torch.ones(5, 5).tril(-1)
)
SPACES = {
    "normal": Space.of((K,)),
    "sphere": Space.of((K,), Sphere()),
    "empirical": Space.of((K,), LAW),
    "two blocks": Space((Block("noise", (2, 3)), Block("turn", (4,), Sphere()))),
}


def draws(n=200):
    return torch.randn(n, K, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_blocks_have_their_own_names_and_a_prior_that_fits():
    for blocks in [(), (Block("z", (2,)), Block("z", (3,)))]:
        with pytest.raises(InputError, match="blocks"):
            Space(blocks)
    with pytest.raises(ShapeError, match=r"Empirical(.*\n)*.*4 coordinates(.*\n)*.*5"):
        Block("w", (4,), LAW)
    with pytest.raises(InputError, match="shape"):
        Space((Block("z", (0,)),))


@pytest.mark.parametrize("shape", ["100", (2.5,), 4.0, (None,), (-1,)])
def test_shapes_are_whole_numbers(shape):
    with pytest.raises(InputError, match="shape"):
        inspect.unwrap(Space.of)(Space, shape)  # without the run-time type check


@pytest.mark.parametrize(
    "make",
    [
        lambda: TruncatedNormal(-1.0),
        lambda: Normal(0.0),
        lambda: Normal(math.nan),
        lambda: Uniform(1.0, 1.0),
        lambda: Uniform(2.0, 1.0),
        lambda: Sphere(-1.0),
        lambda: inspect.unwrap(Empirical.__init__)(Empirical.__new__(Empirical), torch.zeros(3), torch.eye(2)),
    ],
)
def test_priors_that_are_no_laws_are_refused(make):
    with pytest.raises(InputError):
        make()


@pytest.mark.parametrize("bound", [2.0, 6.0, 12.0])
def test_truncated_is_finite_symmetric_and_has_gradients_far_out(bound):
    u = torch.tensor([[-30.0, -7.0, -5.5, 0.0, 5.5, 7.0, 30.0]], requires_grad=True)
    z = TruncatedNormal(bound).to_latent(u)
    assert float(z.detach().abs().max()) <= bound
    torch.testing.assert_close(z, -z.flip(1))
    (slope,) = torch.autograd.grad(z.sum(), u)
    assert bool((slope.isfinite() & (slope >= 0)).all())
    assert float(slope[0, 3]) > 0


def test_empirical_follows_the_dtype_and_device_of_its_points():
    law = LAW
    single = law.to_latent(draws().float())
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), law.to_latent(draws()), atol=1e-5, rtol=1e-5)
    assert law.to_white(single).dtype == torch.float32
    elsewhere = torch.empty(2, K, device="meta", dtype=torch.float16)
    assert (law.to_latent(elsewhere).device.type, law.to_latent(elsewhere).dtype) == ("meta", torch.float16)


@pytest.mark.parametrize("name", SPACES)
def test_plausibility_lives_where_the_points_live(name):
    space = SPACES[name]
    p = space.plausibility(torch.empty(3, space.dim, device="meta", dtype=torch.float64))
    assert (p.device.type, p.dtype, p.shape) == ("meta", torch.float64, (3,))


def test_a_default_device_or_dtype_of_the_user_changes_no_draw():
    def everything():
        rng, space = stream(3), Space.of((K,))
        u = space.sample(4, rng)
        normal, after = Rng.of(rng).normal(2)
        shell.cache_clear()
        return [u, normal, after.uniform(2)[0], space.retract(u), space.plausibility(u), space.log_prob(u)]

    expected = everything()
    with torch.device("meta"):
        pinned = everything()
    torch.set_default_dtype(torch.float64)
    try:
        single = everything()
    finally:
        torch.set_default_dtype(torch.float32)
    for a, b, c in zip(expected, pinned, single, strict=True):
        assert b.device.type == "cpu"
        assert torch.equal(a, b)
        assert torch.equal(a, c)
