from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import zmax
from zmax.core.errors import InputError
from zmax.core.space import Block, Space
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


def test_differentiability_is_found_out():
    assert zmax.generator(nn.Linear(2, 2), shape=(2,)).differentiable
    assert zmax.generator(lambda z: z * 2, shape=(2,)).differentiable
    assert not zmax.generator(lambda z: np.asarray(z), shape=(2,)).differentiable
    assert not zmax.generator(lambda z: ["x"] * len(z), shape=(2,)).differentiable


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
