"""Image samples as pixels and as bytes of PNG and JPEG files."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import Any, TypeGuard, cast

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from zmax.core.samples import Sample

Pixels = npt.NDArray[np.uint8]

BYTES_EACH = 18_000
"""Bytes that one image may take on a page."""

MOST_AS_PNG = 32 * BYTES_EACH
"""Uncompressed bytes above which an image is not tried as PNG."""

MOST_FRAMES, EACH_SECOND = 24, 8
"""Frames of a video that a page shows, evenly spaced, and how many of them go by in a second."""

SIDES = (256, 192, 128, 96, 64)
"""Longest sides tried for an image that is too large as it is."""

EXPORT_SIDE = 256
"""Shortest side of exported images, reached by whole multiples of the pixels."""


def is_image(sample: Sample) -> TypeGuard[Tensor | Image.Image]:
    """Say whether a sample is an image of PIL or has the shape of one, (1, h, w), (3, h, w) or (h, w), or of a set."""
    if isinstance(sample, Image.Image):
        return True
    if not isinstance(sample, Tensor) or sample.is_complex() or not sample.numel():
        return False
    several = sample.ndim == 4 and len(sample) > 1
    return sample.ndim == 2 or ((sample.ndim == 3 or several) and sample.shape[-3] in (1, 3))


def pixels(sample: Tensor | Image.Image) -> Pixels:
    """Return an image in [0, 1] as bytes (h, w) or (h, w, 3), sets as one; values outside are clamped, NaN is black."""
    if isinstance(sample, Image.Image):
        return np.array(sample.convert("L" if sample.mode in ("1", "L") else "RGB"))
    planes = sample[None] if sample.ndim == 2 else _side_by_side(sample) if sample.ndim == 4 else sample
    scaled = planes.double().nan_to_num(0.0, 1.0, 0.0).clamp(0, 1) * 255
    array = scaled.round().numpy().astype(np.uint8)
    return cast(Pixels, array[0] if len(array) == 1 else array.transpose(1, 2, 0))


def _side_by_side(pictures: Tensor) -> Tensor:
    """Return pictures (k, c, h, w) as one, in rows that make it about as wide as high."""
    k, c, h, w = pictures.shape
    across = max(1, round((k * h / w) ** 0.5))
    rows = -(-k // across)
    sheet = torch.cat([pictures, pictures.new_ones(rows * across - k, c, h, w)])
    return sheet.unflatten(0, (rows, across)).permute(2, 0, 3, 1, 4).reshape(c, rows * h, across * w)


def data_uri(image: Pixels) -> str:
    """Return an image as a data URI: exact as PNG where small enough, else a smaller JPEG."""
    small = b""
    if image.size <= MOST_AS_PNG:
        small = encode(Image.fromarray(image), "PNG")
        if len(small) <= BYTES_EACH:
            return _uri(small, "png")
    for side in SIDES:
        picture = Image.fromarray(image)
        picture.thumbnail((side, side), Image.Resampling.LANCZOS)
        small = encode(picture, "JPEG", quality=85)
        if len(small) <= BYTES_EACH:
            break
    return _uri(small, "jpeg")


def frames(sample: Sample) -> list[Pixels]:
    """Return the frames of a video (frames, channels, h, w), or with the first two the other way round, or none.

    Example:
        >>> import torch
        >>> [len(frames(torch.zeros(shape))) for shape in [(5, 3, 8, 8), (3, 5, 8, 8), (3, 8, 8)]]
        [5, 5, 0]
    """
    if not isinstance(sample, Tensor) or sample.ndim != 4 or not len(sample):
        return []
    parts = sample if sample.shape[1] in (1, 3) else sample.transpose(0, 1)
    return [pixels(part) for part in parts] if is_image(parts[0]) else []


def moving_uri(parts: Sequence[Pixels]) -> str:
    """Return frames as the data URI of one picture that moves, and begins again at its end."""
    rows = np.linspace(0, len(parts) - 1, min(len(parts), MOST_FRAMES)).round().astype(int)
    data = b""
    for side in SIDES:
        shown = [Image.fromarray(parts[i]) for i in rows]
        for picture in shown:
            picture.thumbnail((side, side), Image.Resampling.LANCZOS)
        time = 1000 // EACH_SECOND
        data = encode(shown[0], "GIF", save_all=True, append_images=shown[1:], duration=time, loop=0)
        if len(data) <= BYTES_EACH * len(shown):
            break
    return _uri(data, "gif")


def enlarged(image: Pixels) -> Image.Image:
    """Return an image with every pixel repeated so that no side is shorter than 256."""
    factor = -(-EXPORT_SIDE // min(image.shape[:2]))
    return Image.fromarray(np.repeat(np.repeat(image, factor, axis=0), factor, axis=1))


def encode(image: Image.Image, kind: str, **options: Any) -> bytes:
    """Return the bytes of an image file."""
    buffer = io.BytesIO()
    image.save(buffer, kind, optimize=True, **options)
    return buffer.getvalue()


def _uri(data: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"
