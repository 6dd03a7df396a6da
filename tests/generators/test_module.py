from __future__ import annotations

import inspect

import numpy as np
import pytest
import torch
from torch import nn

import zmax
from zmax.core.budget import Budget, Ledger
from zmax.core.errors import InputError, ShapeError
from zmax.core.generator import Generator, decoded
from zmax.core.space import Block, Space
from zmax.run.evaluator import Evaluator
from zmax.testing import GeneratorConformance


class Two(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3, dtype=torch.float64)

    def forward(self, z):
        return self.layer(z["a"]) + z["b"]


class TestDoubleModuleWithTwoBlocks(GeneratorConformance):
    def make(self):
        return zmax.generator(Two(), space=Space((Block("a", (4,)), Block("b", (3,)))), modality="vector")


class TestText(GeneratorConformance):
    def make(self):
        return zmax.generator(lambda z: [f"{v:.3f}" for v in z[:, 0].tolist()], shape=(4,), modality="text")


class TestNumpy(GeneratorConformance):
    def make(self):
        return zmax.generator(lambda z: np.tanh(np.asarray(z)), shape=(2, 2), prior="uniform")


class TestSphere(GeneratorConformance):
    def make(self):
        return zmax.generator(nn.Tanh(), shape=(5,), prior="sphere", modality="vector")


def found_out(decode, shape):
    """What a run finds out about a decoder that never said whether it is differentiable."""
    G = zmax.generator(decode, shape=shape)
    Evaluator(G, zmax.score(len, per_sample=True), Ledger(), Budget(score_calls=9)).settle(None)
    return G.differentiable


def test_differentiability_is_found_out():
    assert zmax.generator(nn.Linear(2, 2), shape=(2,)).differentiable is None
    assert found_out(nn.Linear(2, 2), (2,))
    assert found_out(lambda z: z * 2, (2,))
    assert not found_out(lambda z: np.asarray(z), (2,))
    assert not found_out(lambda z: ["x"] * len(z), (2,))


def test_finding_out_is_paid_for():
    G, S = zmax.generator(nn.Linear(2, 2), shape=(2,)), zmax.score(lambda x: x[:, 0], differentiable=False)
    r = zmax.maximize(G, S, budget=100, keep=1)
    assert G.differentiable
    assert r.ledger.decodes == len(r.history) + 1 + 1  # and one at the opening


def test_a_module_is_put_in_evaluation_mode():
    layers = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Dropout())
    zmax.generator(layers, shape=(3,))
    assert not layers.training


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"decode": nn.Identity()}, "shape"),
        ({"decode": nn.Identity(), "shape": (3,), "modality": "picture"}, "image"),
        ({"decode": nn.Identity(), "shape": (3,), "prior": "cauchy"}, "normal"),
    ],
)
def test_bad_arguments_say_what_would_do(arguments, words):
    with pytest.raises(InputError, match=words):
        zmax.generator(**arguments)


def test_files_and_factories_load(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(
        "import torch, zmax\n"
        "G = zmax.generator(torch.nn.Identity(), shape=(3,))\n"
        "def make():\n    return zmax.generator(torch.nn.Identity(), shape=(5,))\n"
        "def broken():\n    raise ValueError('no weights')\n"
        "def decode(z):\n    return z\n"
    )
    assert zmax.load_generator(f"{file}:G").space.dim == 3
    made = zmax.load_generator(f"{file}:make")
    assert (made.space.dim, made.source) == (5, f"{file}:make")
    with pytest.raises(InputError, match="no weights"):
        zmax.load_generator(f"{file}:broken")
    with pytest.raises(InputError, match="wrap the decoder"):
        zmax.load_generator(f"{file}:decode")


class Codebook(nn.Module):
    """Nearest of a few learnt vectors: weights have gradients, latents have none."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(5, 2)

    def forward(self, z):
        return self.table(torch.cdist(z, self.table.weight).argmin(1))


class Rounded(nn.Linear):
    def forward(self, z):
        return super().forward(z).round()


@pytest.mark.parametrize(
    ("decode", "expected"),
    [
        (Codebook(), False),
        (Rounded(2, 3), False),
        (lambda z: z.sign().sqrt(), False),
        (nn.Sequential(nn.Tanh(), nn.ReLU()), True),
        (lambda z: (z - z.mean(1, keepdim=True)) ** 2, True),
    ],
)
def test_differentiable_means_a_gradient_reaches_the_latents(decode, expected):
    assert found_out(decode, (2,)) is expected


def test_a_flat_spot_is_not_taken_for_a_flat_decoder():
    assert found_out(nn.ReLU(), (1,))


def test_a_class_is_not_a_generator():
    with pytest.raises(InputError, match=r"class(.*\n)*.*Linear\(\.\.\.\)"):
        zmax.generator(nn.Linear, shape=(4,))


@pytest.mark.parametrize("shape", [4, np.int64(4), (4,), [np.int32(2), 2], torch.Size([4])])
def test_shapes_of_whole_numbers_are_read(shape):
    space = zmax.generator(nn.Identity(), shape=shape).space
    assert space.dim == 4
    assert all(type(size) is int for size in space.blocks[0].shape)


@pytest.mark.parametrize("shape", [(-4,), (0,), 0, (3, 0), np.int64(-1)])
def test_shapes_that_are_not_positive_are_refused(shape):
    with pytest.raises(InputError, match="shape"):
        zmax.generator(nn.Identity(), shape=shape)


def test_a_subclass_needs_space_and_decode_only():
    class Mine(Generator):
        space = Space.of((3,))

        def decode(self, z):
            return z

    mine = Mine()
    assert (mine.name, mine.networks, mine.modality, mine.differentiable) == ("Mine", (), "other", False)


@pytest.mark.parametrize("spec", ["avatars-vae:3", None, 7])
def test_bad_specifications_are_input_errors(spec):
    with pytest.raises(InputError, match=r"argument|name of a generator"):
        inspect.unwrap(zmax.load_generator)(spec)  # without the run-time type check


def test_latents_are_checked_with_a_hint():
    G = zmax.generator(nn.Linear(8, 2), shape=(8,))
    z = torch.randn(3, 8, generator=torch.Generator().manual_seed(0))
    for array in (z.numpy(), z.numpy().astype("float64")):
        assert torch.equal(G.decode(array), G.decode(z))
    assert torch.equal(G.decode({"z": z}["z"]), G.decode(z))
    with pytest.raises(ShapeError, match=r"got:      Tensor of shape \(8,\)\n  remedy: .*z\[None\]"):
        G.decode(z[0])
    with pytest.raises(ShapeError, match=r"expected: \('n', 8\)\n  got:      Tensor of shape \(3, 7\)$"):
        G.decode(z[:, :7])
    with pytest.raises(ShapeError, match="list of length 3"):
        G.space.batch(z.tolist())
    with pytest.raises(ShapeError, match=r"without the batch: shape=\(8,\)"):
        zmax.generator(nn.Linear(8, 2), shape=(1, 8)).decode(z)
    two = zmax.generator(lambda z: z["a"], space=zmax.Space((zmax.Block("a", (2,)), zmax.Block("b", (3,)))))
    assert torch.equal(two.decode({"a": z[:, :2], "b": z[:, :3]}), z[:, :2])
    with pytest.raises(ShapeError, match="a dict of a, b"):
        two.decode(z[:, :5])
    with pytest.raises(ShapeError, match="'b'"):
        two.decode({"a": z[:, :2]})


def test_a_leading_one_in_the_shape_is_hinted_at():
    convolved = zmax.generator(nn.Conv2d(4, 3, 3), shape=(1, 4, 8, 8))
    with pytest.raises(InputError, match=r"1 in shape=\(1, 4, 8, 8\) is the batch, leave it out: shape=\(4, 8, 8\)"):
        zmax.maximize(convolved, lambda x: x.mean((1, 2, 3)), "random", 50)


def test_parts_that_lie_in_one_memory_are_kept_apart():
    buffer = torch.zeros(4, 2)

    def decode(z):
        buffer[: len(z)] = z
        return buffer[: len(z)]

    u = torch.randn(10, 2, generator=torch.Generator().manual_seed(0))
    assert torch.equal(decoded(zmax.generator(decode, shape=(2,)), u, 4), u)
