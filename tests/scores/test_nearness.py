"""`lowres:` and `perceptual:`: what they measure, and what they leave free."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

import zmax
from zmax.core.errors import MissingExtraError, ShapeError
from zmax.core.rng import stream
from zmax.scores import load_score


def save(path, picture):
    Image.fromarray((picture * 255).round().byte().permute(1, 2, 0).numpy()).save(path)
    return path


@pytest.fixture
def avatar():
    G = zmax.load_generator("avatars-vae")
    return G.decode(G.space.latents(G.space.sample(1, stream(7))))[0]


def test_lowres_sees_the_shrunken_picture_only(tmp_path, interior):
    small = torch.nn.functional.avg_pool2d(interior[:1], 4)[0]
    judge = load_score(f"lowres:{save(tmp_path / 's.png', small)}")
    assert float(judge(interior[:1])) > -1e-5
    assert float(judge(interior[1:2])) < -1e-4
    detail = torch.tensor([[1.0, -1.0], [-1.0, 1.0]]).repeat(8, 8) * 0.05
    assert float(judge(interior[:1] + detail)) == pytest.approx(float(judge(interior[:1])), abs=1e-9)
    assert torch.autograd.gradcheck(judge, (interior[:1].clone().requires_grad_(),), atol=1e-6)
    with pytest.raises(ShapeError, match="4x4"):
        judge(torch.rand(1, 3, 18, 18, generator=stream(0)))


def test_perceptual_is_zero_at_the_picture_and_falls_with_what_is_seen(tmp_path, avatar):
    judge = load_score(f"perceptual:{save(tmp_path / 'a.png', avatar)}")
    G = zmax.load_generator("avatars-vae")
    others = G.decode(G.space.latents(G.space.sample(16, stream(8))))
    itself, brighter = float(judge(avatar[None])), float(judge((0.95 * avatar + 0.03)[None]))
    assert itself > -1e-3
    assert float(judge(others).max()) < brighter < itself


def test_bounds_are_reached_and_no_wider(tmp_path, avatar):
    black = torch.zeros(3, 16, 16)
    lowres = load_score(f"lowres:{save(tmp_path / 'black.png', black)}")
    assert (float(lowres(torch.ones(1, 3, 32, 32))), float(lowres(torch.zeros(1, 3, 32, 32)))) == lowres.bounds
    saved = save(tmp_path / "a.png", avatar)
    picture = torch.from_numpy(np.array(Image.open(saved))).permute(2, 0, 1)[None] / 255
    perceptual = load_score(f"perceptual:{saved}")
    assert float(perceptual(picture)) == pytest.approx(perceptual.bounds[1], abs=1e-6)


def test_lpips_names_its_extra(tmp_path, avatar, monkeypatch):
    monkeypatch.setitem(sys.modules, "lpips", None)
    with pytest.raises(MissingExtraError, match=r"zmax\[lpips\]"):
        load_score(f"lpips:{save(tmp_path / 'a.png', avatar)}")


def test_lpips_is_shown_pictures_between_minus_one_and_one(tmp_path, monkeypatch):
    """With the sum over channels of absolute differences as the network, black and white are 6 apart at a pixel."""

    class Network(torch.nn.Module):
        def __init__(self, net, verbose):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(1))

        def forward(self, x, y):
            assert {float(x.max()), float(y.min())} <= {1.0, -1.0}
            return (x - y).abs().sum(1, keepdim=True)

    monkeypatch.setitem(sys.modules, "lpips", SimpleNamespace(LPIPS=Network))
    judge = load_score(f"lpips:{save(tmp_path / 'a.png', torch.zeros(3, 4, 6))}")
    found = judge(torch.stack([torch.ones(3, 4, 6), torch.ones(3, 4, 6) - torch.eye(4, 6)]))
    assert found.tolist() == pytest.approx([-6.0, -6.0 * 20 / 24])
    assert float(judge(torch.zeros(1, 3, 4, 6))) == judge.bounds[1]
    assert not any(weight.requires_grad for weight in judge.networks[0].parameters())
