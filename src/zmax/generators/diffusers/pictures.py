"""What a pipeline returns as samples: pictures in [0, 1], sound, video."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

CHANNELS = (1, 3, 4)


def samples_of(made: Any) -> Tensor:
    """Return what a pipeline made as floats, one row a sample, channels first.

    Args:
        made: a tensor, an array with channels last, or pictures of PIL; a list of these; lists of pictures for video.
    """
    if isinstance(made, Tensor):
        return made.float() if made.dtype in (torch.float16, torch.bfloat16) else made
    if isinstance(made, (list, tuple)) and made and all(isinstance(part, Tensor) for part in made):
        return samples_of(torch.stack(list(made)))
    stacked = torch.as_tensor(_array(made), device="cpu")
    scaled = stacked.float() / 255 if stacked.dtype == torch.uint8 else stacked.float()
    return scaled.movedim(-1, -3) if scaled.ndim > 3 and scaled.shape[-1] in CHANNELS else scaled


def modality_of(samples: Tensor) -> str:
    """Tell pictures (n, channels, h, w), video (n, frames, channels, h, w) and sound (n, t) or (n, channels, t).

    Example:
        >>> [modality_of(torch.zeros(1, *shape)) for shape in [(3, 8, 8), (2, 3, 8, 8), (9,)]]
        ['image', 'video', 'audio']
    """
    pictured = samples.ndim > 3 and samples.shape[-3] in CHANNELS
    if samples.ndim in (2, 3):
        return "audio"
    return {4: "image", 5: "video"}.get(samples.ndim, "other") if pictured else "other"


def halved(samples: Tensor) -> Tensor:
    """Return pictures in [0, 1] of a decoder's own range, [-1, 1]."""
    return (samples / 2 + 0.5).clamp(0, 1)


def _array(made: Any) -> Any:
    if isinstance(made, (list, tuple)):
        return np.stack([_array(part) for part in made])
    return np.asarray(made)
