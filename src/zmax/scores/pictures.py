"""What all judges of pictures share: the check at the door, the range, the size."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor
from torch.nn import functional

from zmax.core.errors import ShapeError
from zmax.core.samples import Samples, describe


def pictures(samples: Samples, name: str) -> Float[Tensor, "n 3 h w"]:
    r"""Check that the samples are RGB pictures and bring them into [0, 1].

    Values outside are judged as they would be shown, clamped; the gradient passes as if they were not
    (:math:`\partial\,\mathrm{clamp}(x) / \partial x := 1`, a straight-through estimate), so that a search can bring
    them back.

    Args:
        samples: float tensor (n, 3, h, w), or a list of n images of PIL, all of one size.
        name: the score, for messages.

    Raises:
        ShapeError: anything else.

    Example:
        >>> pictures(torch.full((1, 3, 1, 1), 1.5), "mine").flatten().tolist()
        [1.0, 1.0, 1.0]
    """
    remedy, samples = "", _of_pil(samples)
    if isinstance(samples, Tensor) and samples.ndim == 4 and samples.shape[1] == 3 and 0 not in samples.shape[2:]:
        if samples.is_floating_point():
            return samples.clamp(0, 1).detach() + (samples - samples.detach())
        remedy = "divide by 255: x.float() / 255"
    elif isinstance(samples, Tensor) and samples.ndim == 4:
        remedy = {1: "grey pictures: x.expand(-1, 3, -1, -1)"}.get(samples.shape[1], "")
        remedy = remedy or ("channels come second: x.permute(0, 3, 1, 2)" if samples.shape[3] == 3 else "")
    elif isinstance(samples, Tensor) and samples.ndim == 3:
        remedy = "a single picture is a batch of one: x[None]"
    dtype = f", {samples.dtype}" if isinstance(samples, Tensor) else ""
    expected = "float tensor (n, 3, h, w) with values in [0, 1]"
    got = f"{describe(samples)}{dtype}"
    raise ShapeError(f"samples for the score {name!r}", expected=expected, got=got, remedy=remedy)


def _of_pil(samples: Samples) -> Samples:
    """Return images of PIL as a tensor, any other samples, and images of several sizes, as they are."""
    images = [sample for sample in samples if isinstance(sample, Image.Image)] if isinstance(samples, list) else []
    if not images or len(images) < len(samples) or len({image.size for image in images}) > 1:
        return samples
    return torch.stack([torch.from_numpy(np.array(i.convert("RGB"))).permute(2, 0, 1) for i in images]).float() / 255


def reduced(images: Float[Tensor, "n 3 h w"], size: tuple[int, int], *, what: str, to: str) -> Float[Tensor, "n 3 a b"]:
    """Reduce pictures to `size` by averaging over areas.

    Args:
        images: pictures of that size, or of a whole multiple of it in both directions.
        size: (height, width) wanted.
        what: whose pictures they are, for messages.
        to: whose size it is, for messages.

    Raises:
        ShapeError: the size is no whole multiple; the message names both.
    """
    height, width = images.shape[-2:]
    if (height, width) == size:
        return images
    factor = height // size[0]
    if factor < 1 or (height, width) != (factor * size[0], factor * size[1]):
        raise ShapeError(
            f"size of {what}",
            expected=f"{size[1]}x{size[0]} ({to}), or a whole multiple of it",
            got=f"{width}x{height}",
            remedy="crop or resize it first",
        )
    return functional.avg_pool2d(images, factor)


def safe_sqrt(x: Tensor) -> Tensor:
    """Return the square root, with gradient 0 instead of infinity at 0."""
    positive = x > 0
    return torch.where(positive, torch.where(positive, x, 1.0).sqrt(), 0.0)
