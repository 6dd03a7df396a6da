from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from zmax.core.errors import ShapeError
from zmax.scores import load_score


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)


def saved(path: Path, pixels: np.ndarray) -> str:
    Image.fromarray(pixels).save(path)
    return f"'target:{path}'"


def tensor(pixels: np.ndarray) -> Tensor:
    return torch.tensor(pixels / 255).permute(2, 0, 1)[None]


def test_the_picture_itself_is_the_best(tmp_path: Path, pixels: np.ndarray, interior: Tensor) -> None:
    judge = load_score(saved(tmp_path / "a.png", pixels))
    assert float(judge(tensor(pixels))) == 0.0
    assert float(judge(1 - tensor(pixels))) == pytest.approx(-np.mean((1 - 2 * (pixels / 255)) ** 2))
    assert bool((judge(interior) < 0).all())


def test_a_doubled_picture_is_the_same_target(tmp_path: Path, pixels: np.ndarray, interior: Tensor) -> None:
    plain = load_score(saved(tmp_path / "a.png", pixels))
    doubled = load_score(saved(tmp_path / "my file-2.png", pixels.repeat(3, 0).repeat(3, 1)))
    assert torch.allclose(plain(interior), doubled(interior), atol=1e-12)


def test_the_gradient_is_that_of_finite_differences(tmp_path: Path, pixels: np.ndarray, interior: Tensor) -> None:
    judge = load_score(saved(tmp_path / "a.png", pixels[:4, :4]))
    assert torch.autograd.gradcheck(judge, (interior[:1, :, :4, :4].clone().requires_grad_(),), atol=1e-6)


@pytest.mark.parametrize("shape", [(24, 24), (16, 32), (8, 8)])
def test_a_size_that_does_not_fit_names_both(tmp_path: Path, shape: tuple[int, int], interior: Tensor) -> None:
    judge = load_score(saved(tmp_path / "a.png", np.zeros((*shape, 3), np.uint8)))
    with pytest.raises(ShapeError) as caught:
        judge(interior)
    assert "16x16" in str(caught.value)
    assert f"{shape[1]}x{shape[0]}" in str(caught.value)


def test_transparent_parts_are_white(tmp_path: Path) -> None:
    Image.new("RGBA", (2, 2), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    assert float(load_score(f"target:{tmp_path}/clear.png")(torch.ones(1, 3, 2, 2))) == 0.0


def test_a_wide_picture_is_reduced_in_both_directions_alike(tmp_path: Path) -> None:
    wide = np.random.default_rng(1).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    judge = load_score(saved(tmp_path / "a.png", wide.repeat(3, 0).repeat(3, 1)))
    assert float(judge(tensor(wide))) == pytest.approx(0, abs=1e-12)
    for shape in [(4, 4), (6, 6), (6, 4), (12, 9)]:
        with pytest.raises(ShapeError, match="18x12"):
            judge(torch.zeros(1, 3, *shape))
