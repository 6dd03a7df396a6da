from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from zmax.core.errors import InputError, ShapeError
from zmax.scores import load_score
from zmax.scores.images import rgb

SMOOTH = ["brightness", "colourfulness", "colour:tomato", "0.3*brightness - colourfulness/100 + min(colour:#f80, -0.1)"]
ALL = [*SMOOTH, "compressibility", "incompressibility"]


def flat(red: float, green: float, blue: float, n: int = 1, size: int = 4) -> Tensor:
    return torch.tensor([float(red), float(green), float(blue)]).reshape(1, 3, 1, 1).expand(n, 3, size, size)


@pytest.mark.parametrize("name", SMOOTH)
def test_gradients_are_those_of_finite_differences(name: str, interior: Tensor) -> None:
    judge = load_score(name)
    x = interior[:2, :, :3, :4].clone().requires_grad_()
    assert torch.autograd.gradcheck(judge, (x,), eps=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", ALL)
def test_a_sample_is_judged_alone(name: str, interior: Tensor) -> None:
    judge = load_score(name)
    whole = judge(interior)
    assert whole.shape == (3,)
    assert torch.allclose(whole, torch.cat([judge(each[None]) for each in interior]), rtol=1e-12, atol=1e-12)
    assert torch.equal(judge(interior.flip(0)), whole.flip(0))


@pytest.mark.parametrize("name", ALL)
def test_values_outside_the_range_are_clamped(name: str, rng: torch.Generator) -> None:
    x = torch.randn(2, 3, 8, 8, generator=rng) + 0.5
    assert torch.equal(load_score(name)(x), load_score(name)(x.clamp(0, 1)))


def test_the_gradient_brings_pixels_back_into_the_range() -> None:
    x = torch.tensor([1.5, -0.5]).reshape(2, 1, 1, 1).expand(2, 3, 2, 2).clone().requires_grad_()
    load_score("colour:#808080")(x).sum().backward()
    assert bool((x.grad[0] < 0).all())
    assert bool((x.grad[1] > 0).all())


def test_brightness_of_known_colours() -> None:
    judge = load_score("brightness")
    colours = torch.cat([flat(0, 0, 0), flat(1, 1, 1), flat(1, 0, 0), flat(0, 1, 0), flat(0, 0, 1)])
    assert judge(colours).tolist() == pytest.approx([0, 1, 0.299, 0.587, 0.114])


def test_colourfulness_is_the_papers_formula(interior: Tensor) -> None:
    red, green, blue = (255 * interior.numpy()).transpose(1, 0, 2, 3)
    rg, yb = red - green, 0.5 * (red + green) - blue
    axes = (1, 2)
    sigma = np.sqrt(rg.std(axes) ** 2 + yb.std(axes) ** 2)
    mu = np.sqrt(rg.mean(axes) ** 2 + yb.mean(axes) ** 2)
    np.testing.assert_allclose(load_score("colourfulness")(interior).numpy(), sigma + 0.3 * mu, rtol=1e-12)


def test_colourfulness_of_known_pictures() -> None:
    judge = load_score("colourfulness")
    grey = torch.rand(1, 1, 4, 4, generator=torch.Generator().manual_seed(1)).expand(1, 3, 4, 4)
    assert float(judge(grey)) == 0.0
    # a flat red picture: sigma = 0, mu = |(255, 127.5)|
    assert float(judge(flat(1, 0, 0))) == pytest.approx(0.3 * np.hypot(255, 127.5))
    # half red, half cyan: the means vanish, sigma = |(255, 127.5)|
    halves = torch.cat([flat(1, 0, 0), flat(0, 1, 1)], dim=3)
    assert float(judge(halves)) == pytest.approx(np.hypot(255, 127.5))


def test_colourfulness_has_a_finite_gradient_everywhere() -> None:
    for picture in (flat(0.5, 0.5, 0.5), flat(1, 0, 0), flat(0, 0, 0)):
        x = picture.clone().requires_grad_()
        load_score("colourfulness")(x).sum().backward()
        assert bool(torch.isfinite(x.grad).all())


def test_colour_is_largest_at_the_colour_itself(interior: Tensor) -> None:
    judge = load_score("colour:#ff8800")
    assert float(judge(flat(1, 0x88 / 255, 0))) == 0.0
    assert bool((judge(interior) < 0).all())
    assert float(load_score("colour:black")(flat(1, 1, 1))) == -1.0
    # two colours that average to the wanted one are not it
    assert float(load_score("colour:#808080")(torch.cat([flat(0, 0, 0), flat(1, 1, 1)], 3))) < -0.2


def test_colours_are_read_by_name_and_hex() -> None:
    assert rgb("#f80") == rgb("f80") == rgb("#ff8800") == rgb("FF8800") == (255, 136, 0)
    assert rgb("red") == (255, 0, 0)
    with pytest.raises(InputError, match="transparency"):
        rgb("#ff880080")


@pytest.mark.parametrize("name", ALL[:3] + ALL[4:])
@pytest.mark.parametrize(
    ("samples", "words"),
    [
        (torch.zeros(2, 1, 4, 4), "expand"),
        (torch.zeros(2, 4, 4, 3), "permute"),
        (torch.zeros(3, 4, 4), r"x\[None\]"),
        (torch.zeros(2, 3, 4, 4, dtype=torch.uint8), "divide by 255"),
        (["CCO", "C"], "list of length 2"),
        (np.zeros((2, 3, 4, 4)), "ndarray"),
    ],
)
def test_what_is_no_picture_is_refused(name: str, samples: object, words: str) -> None:
    with pytest.raises(ShapeError, match=words):
        load_score(name)(samples)
