"""Pictures that are not what reports and scores of pictures take them for: what they seem to be, and what mends it."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from zmax.core.generator import Generator
from zmax.core.samples import Samples, describe, take

CLOSE = 0.05
"""How far values may lie beyond a range that they still seem to be meant for."""

LEAST = 1 / 512
"""How far beyond [0, 1] no byte of a picture changes."""

COLOURS = (1, 3)


def remark(generator: Generator, samples: Samples, rows: Sequence[int]) -> str:
    """Say what is odd about samples of a generator of images, with the conversion to use; "" if nothing is.

    Example:
        >>> import torch, zmax
        >>> G = zmax.generator(torch.nn.Tanh(), shape=(3, 8, 8), modality="image", name="mine")
        >>> remark(G, G.decode(torch.linspace(-2, 2, 384).reshape(2, 3, 8, 8)), range(2))
        "samples of 'mine' seem to be pictures in [-1, 1]; reports and scores want (n, 3, h, w) in [0, 1]: (x + 1) / 2"
    """
    if generator.modality != "image" or not isinstance(samples, Tensor) or samples.ndim < 3:
        return ""
    seen = take(samples, list(rows))
    seems, mend = _oddity(seen.flatten(0, 1) if generator.size > 1 else seen)  # type: ignore
    wanted = "reports and scores want (n, 3, h, w) in [0, 1]"
    return f"samples of {generator.name!r} seem to be {seems}; {wanted}: {mend}" if seems else ""


def _oddity(x: Tensor) -> tuple[str, str]:
    """Return what pictures seem to be, and the expression that mends it; two empty words if they are right."""
    if x.ndim == 4 and x.shape[1] not in COLOURS:
        if x.shape[3] in (*COLOURS, 4):
            return f"pictures with channels last, {describe(x)}", "x.permute(0, 3, 1, 2)"
        inside = bool((x >= 0).all()) and bool((x <= 1).all())
        if x.shape[1] == 4 and inside:
            return "pictures with an alpha channel", "x[:, :3]"
        return f"latents that were not decoded, {describe(x)}", "decode them by the model's autoencoder"
    if not x.is_floating_point():
        return f"pictures of {str(x.dtype).removeprefix('torch.')}", "x.float() / 255"
    low, high = (float(v) for v in x.float().nan_to_num().aminmax())
    if low >= -LEAST and high <= 1 + LEAST:
        return "", ""
    if low >= -CLOSE and high > 2:
        return "pictures in [0, 255]", "x / 255"
    if -1 - CLOSE <= low < -CLOSE and high <= 1 + CLOSE:
        return "pictures in [-1, 1]", "(x + 1) / 2"
    return f"pictures in [{low:.3g}, {high:.3g}], which are shown clamped", "x.clamp(0, 1), if that is what you mean"
