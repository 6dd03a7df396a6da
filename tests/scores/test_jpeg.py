from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image

from zmax.scores import load_score
from zmax.scores.jpeg import encode, scan_bytes


def noise(size: int, rng: torch.Generator, n: int = 1) -> torch.Tensor:
    return torch.rand(n, 3, size, size, generator=rng)


def test_the_header_is_the_same_for_every_picture(rng: torch.Generator) -> None:
    pixels = [(255 * noise(16, rng)[0]).byte().permute(1, 2, 0).numpy() for _ in range(5)]
    pixels += [np.zeros((16, 16, 3), np.uint8), np.full((16, 16, 3), 255, np.uint8)]
    files = [encode(each) for each in pixels]
    headers = {data[: len(data) - 2 - scan_bytes(data)] for data in files}
    assert len(headers) == 1
    assert next(iter(headers))[:2] == b"\xff\xd8"


def test_the_scan_is_all_that_the_picture_costs(rng: torch.Generator) -> None:
    """Cutting the counted bytes off the end, one from each side, is what makes a file unreadable."""
    data = encode((255 * noise(16, rng)[0]).byte().permute(1, 2, 0).numpy())
    start = len(data) - 2 - scan_bytes(data)
    scan_header = data[:start].rindex(b"\xff\xda")
    assert start - scan_header == 2 + int.from_bytes(data[scan_header + 2 : scan_header + 4], "big")
    assert Image.open(io.BytesIO(data)).size == (16, 16)


def test_a_flat_picture_costs_almost_nothing_and_size_hardly_matters() -> None:
    judge = load_score("incompressibility")
    small, large = (float(judge(torch.full((1, 3, s, s), 0.5))) for s in (16, 64))
    assert small < 0.02
    assert large < 0.1  # while a whole file is above 0.6 kB by its header alone


def test_tiling_multiplies_the_cost(rng: torch.Generator) -> None:
    """Blocks of 16x16 are coded apart, but for the difference of their means."""
    judge = load_score("incompressibility")
    tile = noise(16, rng)
    one, nine = float(judge(tile)), float(judge(tile.repeat(1, 1, 3, 3)))
    assert nine == pytest.approx(9 * one, rel=0.05)


def test_noise_costs_more_with_contrast(rng: torch.Generator) -> None:
    judge, picture = load_score("compressibility"), noise(32, rng) - 0.5
    values = [float(judge(0.5 + c * picture)) for c in (0.0, 0.05, 0.2, 1.0)]
    assert values == sorted(values, reverse=True)
    assert len(set(values)) == 4


def test_one_is_minus_the_other(rng: torch.Generator) -> None:
    x = noise(16, rng, 4)
    assert torch.equal(load_score("compressibility")(x), -load_score("incompressibility")(x))


def test_it_is_a_black_box_in_kilobytes(rng: torch.Generator) -> None:
    judge = load_score("compressibility")
    assert not judge(noise(16, rng).requires_grad_()).requires_grad
    assert judge.unit == "kB"
    pixels = (255 * noise(16, rng)).round()
    data = encode(pixels[0].byte().permute(1, 2, 0).numpy())
    assert float(judge(pixels / 255)) == pytest.approx(-scan_bytes(data) / 1000)


def test_nan_pixels_are_an_error() -> None:
    with pytest.raises(ValueError, match="NaN"):
        load_score("compressibility")(torch.full((1, 3, 8, 8), torch.nan))
