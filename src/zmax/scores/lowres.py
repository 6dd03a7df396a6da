"""`lowres:FILE`: how well a picture, shrunk, agrees with a small given one."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from zmax.core.samples import Samples
from zmax.scores.catalogue import NamedScore
from zmax.scores.pictures import pictures, reduced
from zmax.scores.target import read_picture


class LowRes(NamedScore):
    r"""Minus the mean squared error between the shrunken picture and a small one in a file, in [-1, 0].

    .. math:: S(x) = -\frac{1}{3hw} \lVert D(x) - y \rVert^2

    D averages over areas. Many pictures agree with one small picture: searching a generator for them is
    super-resolution.

    Reference: Menon et al. 2020, *PULSE*, eq. 1, https://arxiv.org/abs/2003.03808.

    Args:
        file: a picture of which the generator's size is a whole multiple.

    Raises:
        InputError: the file is missing or is no picture.
    """

    differentiable = True
    bounds = (-1.0, 0.0)

    def __init__(self, file: str) -> None:
        self.name = f"lowres:{file}"
        self._small = read_picture(file)

    def __call__(self, samples: Samples) -> Float[Tensor, " n"]:
        """Return minus the mean squared error of pictures (n, 3, h, w), shrunk to the file's size.

        Raises:
            ShapeError: their size is no whole multiple of the file's.
        """
        size = (self._small.shape[2], self._small.shape[3])
        images = reduced(pictures(samples, self.name), size, what="the generator's pictures", to=f"of {self.name}")
        return 0 - (images - self._small.to(images)).square().mean((1, 2, 3))
