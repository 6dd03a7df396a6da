"""Tiny diffusers pipelines: what each is called with, a score of their images, and decoding a result again."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from PIL import Image
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


def given(kind: str) -> dict[str, Any]:
    """Return the arguments of a tiny pipeline that sets out from more than a text, or makes no picture."""
    rng = np.random.default_rng(0)
    picture = Image.fromarray(rng.integers(0, 255, (16, 16, 3), dtype=np.uint8))
    half = Image.fromarray(np.pad(np.full((8, 16), 255, np.uint8), ((0, 8), (0, 0))))
    masked = {"prompt": RED, "num_inference_steps": 2, "image": picture, "mask_image": half, "height": 16, "width": 16}
    embeddings = torch.randn(2, 1, 16, generator=torch.Generator().manual_seed(1))
    return {
        "controlnet": {"prompt": RED, "num_inference_steps": 2, "image": picture},
        "img2img": {"prompt": RED, "num_inference_steps": 4, "image": picture, "strength": 0.5},
        "refiner": {"prompt": RED, "num_inference_steps": 4, "image": picture, "strength": 0.5},
        "inpaint": {**masked, "strength": 1.0},
        "masked": {**masked, "strength": 1.0},
        "dit": {"class_labels": 3, "num_inference_steps": 2},
        "kandinsky": {
            "image_embeds": embeddings[0],
            "negative_image_embeds": embeddings[1],
            "num_inference_steps": 2,
            "height": 16,
            "width": 16,
        },
        "audio": {"prompt": RED, "num_inference_steps": 2, "audio_end_in_s": 8.0},
        "dance": {"num_inference_steps": 4},
        "music": {"prompt": RED, "num_inference_steps": 2, "audio_length_in_s": 0.01},
        "svd": {"image": picture, "num_inference_steps": 1, "height": 16, "width": 16, "num_frames": 2},
        "cascade": {"prompt": RED, "num_inference_steps": 2, "image_embeddings": embeddings[0].reshape(1, 4, 2, 2)},
        "video": {
            "prompt": RED,
            "num_inference_steps": 2,
            "height": 16,
            "width": 16,
            "num_frames": 5,
            "max_sequence_length": 8,
        },
    }[kind]


def level(samples: Tensor) -> Tensor:
    """Return the mean of the first half of each sample less that of the second, whatever kind of sample it is."""
    first, second = samples.flatten(1).chunk(2, 1)
    return first.mean(1) - second.mean(1)
