"""Scores of colour: brightness, colourfulness, nearness to one colour."""

from __future__ import annotations

import difflib
import re

import torch
from jaxtyping import Float
from PIL import ImageColor
from torch import Tensor

from zmax.core.errors import InputError, UnknownNameError
from zmax.core.samples import Samples
from zmax.scores.catalogue import NamedScore
from zmax.scores.pictures import pictures, safe_sqrt

_LUMA = (0.299, 0.587, 0.114)


class Brightness(NamedScore):
    r"""Mean luma of a picture, in [0, 1].

    .. math:: S(x) = \frac{1}{hw} \sum_p 0.299\,R_p + 0.587\,G_p + 0.114\,B_p

    Reference: ITU-R BT.601-7, section 2.5.1, https://www.itu.int/rec/R-REC-BT.601.

    Example:
        >>> Brightness()(torch.tensor([0.0, 0.5, 1.0]).reshape(3, 1, 1, 1).expand(3, 3, 4, 4)).tolist()
        [0.0, 0.5, 1.0]
    """

    differentiable = True
    bounds = (0.0, 1.0)

    def __init__(self) -> None:
        self.name = "brightness"

    def __call__(self, samples: Samples) -> Float[Tensor, " n"]:
        """Return the mean luma of pictures (n, 3, h, w)."""
        images = pictures(samples, self.name)
        return images.mean((2, 3)) @ images.new_tensor(_LUMA)


class Colourfulness(NamedScore):
    r"""Colourfulness as people rate it: 0 is grey, about 109 "extremely colourful".

    .. math:: S(x) = \sqrt{\sigma_{rg}^2 + \sigma_{yb}^2} + 0.3 \sqrt{\mu_{rg}^2 + \mu_{yb}^2},
        \quad rg = R - G, \quad yb = (R + G)/2 - B

    over the pixels, with channels on 0..255; the gradient is 0 where a root is 0.

    Reference: Hasler & Suesstrunk 2003, *Measuring colourfulness in natural images*, eq. 3,
    https://doi.org/10.1117/12.477378.

    Example:
        >>> Colourfulness()(torch.full((1, 3, 4, 4), 0.3)).tolist()
        [0.0]
    """

    differentiable = True
    bounds = (0.0, float("inf"))

    def __init__(self) -> None:
        self.name = "colourfulness"

    def __call__(self, samples: Samples) -> Float[Tensor, " n"]:
        """Return the colourfulness of pictures (n, 3, h, w)."""
        red, green, blue = (255 * pictures(samples, self.name)).flatten(2).unbind(1)
        opponents = torch.stack([red - green, (red + green) / 2 - blue], dim=1)
        mean = opponents.mean(2)
        variance = (opponents - mean[:, :, None]).square().mean(2)
        return safe_sqrt(variance.sum(1)) + 0.3 * safe_sqrt(mean.square().sum(1))


class Colour(NamedScore):
    r"""Nearness to one colour: minus the mean squared error to a flat picture of it.

    .. math:: S(x) = -\frac{1}{3hw} \sum_p \lVert x_p - c \rVert^2 \in [-1, 0]

    It is highest where *every* pixel has the colour, not where the colours average to it.

    Args:
        colour: a CSS name ("tomato") or hex ("#ff8800", "ff8800", "#f80").

    Raises:
        UnknownNameError: no colour is called so; the message offers the nearest names.

    Example:
        >>> Colour("white")(torch.tensor([0.0, 1.0]).reshape(2, 1, 1, 1).expand(2, 3, 2, 2)).tolist()
        [-1.0, 0.0]
    """

    differentiable = True
    bounds = (-1.0, 0.0)

    def __init__(self, colour: str) -> None:
        self.name = f"colour:{colour}"
        self._rgb = tuple(channel / 255 for channel in rgb(colour))

    def __call__(self, samples: Samples) -> Float[Tensor, " n"]:
        """Return minus the mean squared distance of pictures (n, 3, h, w) to the colour."""
        images = pictures(samples, self.name)
        return 0 - (images - images.new_tensor(self._rgb)[:, None, None]).square().mean((1, 2, 3))


def rgb(colour: str) -> tuple[int, int, int]:
    """Read a colour's name or hex code.

    Raises:
        InputError: a colour with transparency.
        UnknownNameError: nothing is called so.

    Example:
        >>> rgb("#ff8800"), rgb("ff8800"), rgb("Navy")
        ((255, 136, 0), (255, 136, 0), (0, 0, 128))
    """
    bare = re.fullmatch(r"(?:[0-9a-fA-F]{3}){1,2}", colour)
    try:
        channels = ImageColor.getrgb(f"#{colour}" if bare else colour)
    except ValueError as error:
        near = difflib.get_close_matches(colour.lower(), ImageColor.colormap, n=3, cutoff=0.4)
        known = near or ["black", "blue", "green", "orange", "red", "white", "yellow"]
        raise UnknownNameError("colour", colour, known, remedy="a CSS name, or hex: #ff8800") from error
    if len(channels) != 3:
        raise InputError("a colour with transparency", expected="name or #rrggbb", got=colour)
    return channels
