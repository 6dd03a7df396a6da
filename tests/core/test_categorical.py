"""Categories: their law, the round trip, what they are held to, and the gradient of what is relaxed."""

import pytest
import torch
from scipy import stats

import zmax
from zmax.core.categorical import Categorical
from zmax.core.errors import InputError, ShapeError
from zmax.core.priors import EDGE, FAR
from zmax.core.space import Block, Space
from zmax.generators.mapped import plain

SKEWED = (7.0, 2.0, 1.0)
LAWS = {
    "one-hot": Categorical(6),
    "whole": Categorical(6, one_hot=False),
    "one-hot, weighted": Categorical(3, weights=SKEWED),
    "whole, weighted": Categorical(3, one_hot=False, weights=SKEWED),
}


def mixed(law, sites=4):
    return Space((Block("noise", (3,)), Block("code", (2, sites // 2), law), Block("tail", (2,))))


def draws(n, k, seed=0, dtype=torch.float64):
    return torch.randn(n, k, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def codes_of(law, z):
    return z.argmax(-1) if law.one_hot else z


@pytest.mark.parametrize("name", LAWS)
def test_each_value_is_as_likely_as_its_weight_and_categories_are_independent(name):
    law, n = LAWS[name], 20_000
    space = mixed(law)
    codes = codes_of(law, space.latents(draws(n, space.dim))["code"]).flatten(1)
    weights = torch.tensor(law.weights or [1 / 6] * 6, dtype=torch.float64)
    for column in codes.T:
        assert stats.chisquare(column.bincount(minlength=law.k), n * weights).pvalue > 1e-3
    pair = (codes[:, 0] * law.k + codes[:, 1]).bincount(minlength=law.k**2)
    assert stats.chisquare(pair, n * torch.outer(weights, weights).flatten()).pvalue > 1e-3


@pytest.mark.parametrize("name", LAWS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_latents_and_categories_survive_the_round_trip(name, dtype):
    law = LAWS[name]
    space = mixed(law)
    u = draws(200, space.dim, dtype=dtype)
    z, (codes, free) = space.latents(u), space.parted(u)
    assert z["code"].shape == (200, 2, 2, *([law.k] if law.one_hot else []))
    assert z["code"].dtype == (dtype if law.one_hot else torch.int64)
    assert torch.equal(codes, codes_of(law, z["code"]).flatten(1))
    assert torch.equal(free, torch.cat([u[:, :3], u[:, -2:]], 1))
    assert space.levels == (law.k,) * 4
    for there in (space.whiten(z), space.joined(codes, free)):
        assert there.shape == u.shape
        assert torch.equal(space.latents(there)["code"], z["code"])
        if law.weights is None:
            assert torch.equal(space.retract(there)[:, 3:-2], there[:, 3:-2])


def test_a_rare_value_is_reached_before_coordinates_end():
    for one_hot in (True, False):
        law = Categorical(2, one_hot=one_hot, weights=(1 - 1e-6, 1e-6))
        u = law.joined(torch.ones(1, 3, dtype=torch.long), torch.zeros(1, 0))
        assert float(u.abs().max()) < FAR
        assert law.parted(u)[0].tolist() == [[1, 1, 1]]


def test_equally_likely_categories_are_all_plausible_and_the_guard_keeps_them():
    for law in (LAWS["one-hot"], LAWS["whole"]):
        space = Space.of((12,), law)
        u = 4 * draws(200, space.dim)
        assert bool((space.plausibility(u) == 1).all())
        there = space.retract(u)
        assert float(there.abs().max()) <= FAR
        assert torch.equal(space.parted(there)[0], space.parted(u)[0])


@pytest.mark.parametrize("one_hot", [True, False])
def test_combinations_of_rare_values_are_implausible_and_the_guard_changes_the_fewest(one_hot):
    space = Space.of((12,), Categorical(3, one_hot=one_hot, weights=SKEWED))
    p = space.plausibility(draws(20_000, space.dim))
    for level in (0.05, 0.2):
        assert float((p <= level).double().mean()) <= level + 0.01
    rare = space.joined(torch.tensor([[0] * 12, [0] * 8 + [1] * 3 + [2], [2] * 12]), torch.zeros(3, 0))
    assert [bool(value) for value in space.plausibility(rare) > 0.05] == [True, True, False]
    there = space.retract(rare, EDGE)
    assert torch.equal(there[:2], rare[:2])
    assert float(space.plausibility(there)[2]) >= 0.05
    one_less = space.parted(there)[0][2:].clone()
    one_less[0, int((one_less[0] == 0).nonzero()[0])] = 2
    assert float(space.plausibility(space.joined(one_less, torch.zeros(1, 0)))) < 0.05


def test_the_gradient_of_one_hot_vectors_is_that_of_the_softmax_of_their_logits():
    law, pull = Categorical(3, weights=SKEWED), draws(5, 6, seed=1)
    u = draws(5, 6).requires_grad_()
    z = law.to_latent(u)
    assert set(z.unique().tolist()) == {0.0, 1.0}
    (slope,) = torch.autograd.grad((z * pull).sum(), u)
    soft = -(-torch.special.ndtr(u).log()).log() + torch.tensor(law.weights).double().log().repeat(2)
    (expected,) = torch.autograd.grad((soft.unflatten(1, (2, 3)).softmax(2).flatten(1) * pull).sum(), u)
    torch.testing.assert_close(slope, expected)


def test_a_decoder_gets_whole_numbers_on_its_device_and_in_their_type():
    book = torch.nn.Embedding(6, 2)
    book.weight.data = torch.arange(12.0).reshape(6, 2)
    G = zmax.generator(book, shape=(4,), prior=zmax.Categorical(6, one_hot=False), modality="vector")
    assert G.decode(torch.tensor([[0, 1, 5, 2]])).tolist() == [[[0, 1], [2, 3], [10, 11], [4, 5]]]
    assert G.decode(torch.tensor([[0, 1, 5, 2]]).numpy()).tolist() == [[[0, 1], [2, 3], [10, 11], [4, 5]]]
    assert zmax.maximize(G, lambda x: x.sum((1, 2)), "random", budget=64).best.z.dtype == torch.int64


@pytest.mark.parametrize("method", ["gradient", "cma", "snes", "elliptical", "sphere-cma", "trust"])
def test_methods_that_know_no_categories_run_on_them_and_beat_the_prior(method):
    target = torch.arange(12) % 3
    G = zmax.generator(torch.nn.Identity(), shape=(12,), prior=zmax.Categorical(3), modality="vector")
    S = zmax.score(lambda x: (x * torch.nn.functional.one_hot(target, 3)).sum((1, 2)), differentiable=True)
    best = zmax.maximize(G, S, method, budget=160, progress=False).best
    assert best.score >= 8
    assert best.plausibility == 1
    assert best.z.shape == (12, 3)


def test_a_map_of_noises_sees_one_coordinate_a_whitened_one():
    for law in LAWS.values():
        assert plain(mixed(law)).dim == mixed(law).dim


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: Categorical(1), InputError, "from 2 on"),
        (lambda: Categorical(True), InputError, "from 2 on"),
        (lambda: Categorical(3, weights=(1.0, 1.0)), InputError, "3 positive numbers"),
        (lambda: Categorical(2, weights=(1.0, 0.0)), InputError, "millionth"),
        (lambda: Space.of((4,), Categorical(3)).whiten(torch.zeros(1, 4)), ShapeError, r"'n', 4, 3"),
    ],
)
def test_what_is_no_category_is_refused(make, error, words):
    with pytest.raises(error, match=words):
        make()
