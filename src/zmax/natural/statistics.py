"""Cheap statistics of pictures, which move when a finetuned generator trades what it knew for reward."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from zmax.core.samples import Samples

DARK = 0.1
"""Mean of the channels below which a pixel is dark."""

LEVELS, COLOURS = 4, 3
"""Levels of a channel that a histogram tells apart, and the channels that it looks at."""


def statistics(samples: Samples) -> dict[str, Float[Tensor, " n"]]:
    r"""Return statistics of each sample by name.

    For images: `dark`, the share of dark pixels; `edges`, the mean absolute difference of neighbouring pixels;
    `colours`, the entropy of the 4 x 4 x 4 histogram of RGB, in nats, from 0 to log 64; and `norm`. For other tensors
    `norm` alone; for what is no tensor nothing.

    Args:
        samples: images (n, c, h, w) in [0, 1], or vectors.

    Example:
        >>> {name: value.tolist() for name, value in statistics(torch.zeros(1, 3, 8, 8)).items()}
        {'dark': [1.0], 'edges': [0.0], 'colours': [0.0], 'norm': [0.0]}
    """
    if not isinstance(samples, Tensor) or samples.ndim == 0:
        return {}
    x = samples.detach()
    x = x if x.is_complex() else x.float()
    norm = {"norm": torch.linalg.vector_norm(x.unsqueeze(-1).flatten(1), dim=1)}
    if x.ndim != 4 or x.is_complex():
        return norm
    dark = (x.mean(1) < DARK).float().mean((1, 2))
    return {"dark": dark, "edges": _edges(x), "colours": _colours(x)} | norm


def _edges(x: Float[Tensor, "n c h w"]) -> Float[Tensor, " n"]:
    steps = torch.cat([x.diff(dim=2).flatten(1), x.diff(dim=3).flatten(1)], 1).abs()
    return steps.sum(1) / max(1, steps.shape[1])


def _colours(x: Float[Tensor, "n c h w"]) -> Float[Tensor, " n"]:
    levels = (x[:, :COLOURS] * LEVELS).clamp(0, LEVELS - 1).long().flatten(2)
    place = LEVELS ** torch.arange(levels.shape[1], device=x.device)
    bins = (levels * place[:, None]).sum(1)
    counts = x.new_zeros(len(x), LEVELS**COLOURS).scatter_add_(1, bins, x.new_ones(bins.shape))
    return torch.special.entr(counts / bins.shape[1]).sum(1)
