"""Tiny diffusers pipelines: what each is called with, a score of their images, and decoding a result again."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

import zmax

RED = "a red hat"
CALLS: dict[str, dict[str, Any]] = {
    "ddpm": {"num_inference_steps": 3},
    "stable-diffusion": {"prompt": RED, "num_inference_steps": 3},
    "sdxl": {"prompt": RED, "num_inference_steps": 3},
    "turbo": {"prompt": RED, "num_inference_steps": 1, "guidance_scale": 0.0},
    "lcm": {"prompt": RED, "num_inference_steps": 3},
    "pixart": {"prompt": RED, "num_inference_steps": 3, "use_resolution_binning": False, "clean_caption": False},
    "sd3": {"prompt": RED, "num_inference_steps": 3},
    "flux": {"prompt": RED, "num_inference_steps": 3, "height": 16, "width": 16, "max_sequence_length": 8},
}
"""Arguments of the pipeline's call, by kind."""


def redness(images: Tensor) -> Tensor:
    """Return how much redder than the other channels each image is."""
    return (images[:, 0] - images[:, 1:].mean(1)).mean((1, 2))


def decoded(generator: zmax.Generator, result: zmax.Result) -> Tensor:
    """Decode the best latents of a run again, a batch of one."""
    z = result.best.z
    with torch.no_grad():
        again = generator.decode(z[None] if isinstance(z, Tensor) else {k: v[None] for k, v in z.items()})
    assert isinstance(again, Tensor)
    return again
