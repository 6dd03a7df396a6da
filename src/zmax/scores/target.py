"""`target:FILE`: how near a picture comes to a given one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image, ImageOps
from torch import Tensor

from zmax.core.errors import InputError
from zmax.core.samples import Samples
from zmax.scores.catalogue import NamedScore
from zmax.scores.pictures import pictures, reduced


class Target(NamedScore):
    r"""Minus the mean squared error to the picture in a file, in [-1, 0].

    .. math:: S(x) = -\frac{1}{3hw} \lVert x - y \rVert^2

    Args:
        file: a picture of the generator's size, or of a whole multiple of it, then reduced by averaging over areas.
            Transparent parts are laid over white.

    Raises:
        InputError: the file is missing or is no picture.
    """

    differentiable = True
    bounds = (-1.0, 0.0)

    def __init__(self, file: str) -> None:
        self.name = f"target:{file}"
        self._file = file
        self._picture = read_picture(file)

    def __call__(self, samples: Samples) -> Float[Tensor, " n"]:
        """Return minus the mean squared error of pictures (n, 3, h, w).

        Raises:
            ShapeError: the file's size is no whole multiple of theirs.
        """
        images = pictures(samples, self.name)
        size = (images.shape[2], images.shape[3])
        target = reduced(self._picture, size, what=f"the picture {self._file}", to="the generator's pictures")
        return 0 - (images - target.to(images)).square().mean((1, 2, 3))


def read_picture(file: str | Path) -> Float[Tensor, "1 3 h w"]:
    """Read a picture file as RGB in [0, 1], in double precision.

    Raises:
        InputError: the file is missing or is no picture.
    """
    path = Path(file).expanduser()
    if not path.is_file():
        raise InputError(
            f"no file {str(file)!r}", expected="a picture file", remedy=f"paths are relative to {Path.cwd()}"
        )
    try:
        with Image.open(path) as opened:
            image = ImageOps.exif_transpose(opened).convert("RGBA")
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(
            f"{str(file)!r} cannot be read as a picture",
            expected="PNG, JPEG, WebP, ...",
            got=f"{type(error).__name__}: {error}",
        ) from error
    white = Image.new("RGBA", image.size, "white")
    pixels = np.asarray(Image.alpha_composite(white, image).convert("RGB"), dtype=np.float64)
    return torch.tensor(pixels / 255).permute(2, 0, 1)[None]
