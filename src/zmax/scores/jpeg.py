"""Scores of how well a picture compresses, by a real encoder: black boxes."""

from __future__ import annotations

import io

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from zmax.core.samples import Samples
from zmax.scores.catalogue import NamedScore
from zmax.scores.pictures import pictures

QUALITY = 95
SUBSAMPLING = "4:2:0"
_START_OF_SCAN = 0xDA


class Compressibility(NamedScore):
    r"""Minus the JPEG size in kB of 1000 bytes (quality 95, chroma 4:2:0), the fixed header not counted.

    .. math:: S(x) = -\mathrm{scan}(\mathrm{JPEG}_{95}(x)) / 1000

    Only the entropy-coded scan counts: tables and markers are the same for every picture of a size. Huffman tables are
    the standard ones. The pixels are rounded to 8 bits first.

    Reference: the "compressibility" reward of Black et al. 2023, *Training Diffusion Models with Reinforcement
    Learning*, section 5, https://arxiv.org/abs/2305.13301; ITU-T T.81, annex B.

    Example:
        >>> flat = torch.full((1, 3, 16, 16), 0.5)
        >>> noise = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
        >>> bool(Compressibility()(flat) > Compressibility()(noise))
        True
    """

    bounds = (float("-inf"), 0.0)
    unit = "kB"

    def __init__(self) -> None:
        self.name = "compressibility"

    def __call__(self, samples: Samples) -> Float[Tensor, " n"]:
        """Return minus the kilobytes of pictures (n, 3, h, w)."""
        return -_kilobytes(samples, self.name)


class Incompressibility(NamedScore):
    """JPEG size in kB of 1000 bytes (quality 95, chroma 4:2:0), the fixed header not counted.

    Minus :class:`Compressibility`.
    """

    bounds = (0.0, float("inf"))
    unit = "kB"

    def __init__(self) -> None:
        self.name = "incompressibility"

    def __call__(self, samples: Samples) -> Float[Tensor, " n"]:
        """Return the kilobytes of pictures (n, 3, h, w)."""
        return _kilobytes(samples, self.name)


def scan_bytes(data: bytes) -> int:
    """Count the entropy-coded bytes of a baseline JPEG file: what lies between the scan's header and the end marker.

    Segments are a marker FF xx and a big-endian length that counts itself (ITU-T T.81, B.1.1.4).
    """
    assert data[:2] == b"\xff\xd8", "starts with SOI"
    assert data[-2:] == b"\xff\xd9", "ends with EOI"
    at = 2
    while True:
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        at += 2 + length
        if marker == _START_OF_SCAN:
            return len(data) - at - 2


def encode(pixels: np.ndarray[tuple[int, int, int], np.dtype[np.uint8]]) -> bytes:
    """Return the JPEG file of one picture (h, w, 3)."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=QUALITY, subsampling=SUBSAMPLING, optimize=False)
    return buffer.getvalue()


def _kilobytes(samples: Samples, name: str) -> Float[Tensor, " n"]:
    images = pictures(samples, name).detach()
    if not bool(torch.isfinite(images).all()):
        raise ValueError("the picture holds NaN or infinite pixels")
    pixels = (images * 255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
    return torch.tensor([scan_bytes(encode(each)) / 1000 for each in pixels], device=images.device)
