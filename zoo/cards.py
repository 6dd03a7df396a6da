"""Writes the cards: what each set of weights is, from the recipes, the training notes and the measured quality."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from zoo import data, training

PICTURES = {
    "source": "DiceBear pixel-art 9.4.3, rendered by zoo/data.py to 16x16 RGB on a plain background",
    "licence of the designs": "CC0 1.0 (https://creativecommons.org/publicdomain/zero/1.0/)",
    "pictures": data.SIZES,
    "seeds": data.SEEDS,
}

ABOUT: dict[str, dict[str, Any]] = {
    "avatars-gan": {
        "what": "Generator z ~ N(0, I_128) -> 16x16 RGB avatar in [0, 1], with the latent spaces Z, W and W+",
        "architecture": "Perceptron to w, then five modulated and demodulated convolutions from 4x4 to 16x16",
        "training": "Warm-up as the decoder of a variational autoencoder (1,500 steps), then the R3GAN loss "
        "(relativistic pairing, R1 and R2), from step 3,000 with label frequencies matched to the data's by "
        "`attribute`; average of weights",
        "caveat": "This run was resumed while its length, and with it the decay of rates and penalties, was being "
        "settled: a run from scratch by the recipe follows a slightly different schedule, and ends elsewhere",
        "split": "train",
    },
    "avatars-flow": {
        "what": "Velocity of a rectified flow over 3x16x16, x_t = (1 - t) x_0 + t noise, x_0 in [-1, 1]",
        "architecture": "DiT on 4x4 patches: 16 tokens, width 192, six blocks with shared adaptive layer norm",
        "training": "Squared error on the velocity, times logit-normal or leaning to t = 1, AdamW, average of weights",
        "caveat": "This run was resumed while its length was being settled, so its rate rose and fell again, "
        "and the times that lean to t = 1 came in at step 7,500: a run from scratch by the recipe ends elsewhere",
        "split": "train",
    },
    "avatars-vae": {
        "what": "Encoder and decoder with the prior z ~ N(0, I)",
        "architecture": "Residual convolutions at 8x8 and 4x4 on both sides",
        "training": "Evidence bound with a likelihood of a Laplace and a Gaussian part, AdamW, average of weights",
        "split": "train",
    },
    "attribute": {
        "what": "Log-odds of the labels of an avatar",
        "architecture": "Residual convolutional network with group norm and SiLU, one head a question",
        "training": "Cross entropy with label smoothing; noise and channel gains as augmentation; AdamW",
        "split": "train",
    },
    "attribute-judge": {
        "what": "Log-odds of the labels of an avatar, held out: for judging what `attribute` was used to find",
        "architecture": "MLP-mixer on 4x4 patches, three blocks of width 128, one head a question",
        "training": "Cross entropy with label smoothing; blur, mixing, blocks and noise as augmentation; AdamW",
        "split": "judge",
    },
    "critic": {
        "what": "Realism: one logit, higher for pictures that look like the data",
        "architecture": "Residual convolutional network with group norm and SiLU",
        "training": "Logistic loss against samples of the three generators and damaged pictures, R1 penalty",
        "split": "train",
    },
}


def card(name: str, quality: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The card of one set of weights; figures under `quality` whose title begins with the name."""
    path = training.folder(name) / "weights" / f"{name}.safetensors"
    note = json.loads((data.BUILD / f"{name}.training.json").read_text(encoding="utf-8"))
    about = dict(ABOUT[name])
    split = about.pop("split")
    return {
        "name": name,
        **about,
        "data": {**PICTURES, "split used": split},
        "licence of the weights": "Apache-2.0",
        "parameters": note["parameters"],
        "training steps": note["steps"],
        "training seconds (one thread of a shared two-core machine)": note["seconds"],
        "recipe": f"python -m zoo.train {name}",
        "quality": {title: figures for title, figures in quality.items() if _about(title, name)},
        "held-out pictures": data.SIZES["held-out"],
        "file": path.name,
        "bytes": path.stat().st_size,
        "stored as": "float16, loaded as float32",
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    }


def _about(title: str, name: str) -> bool:
    for_scale = title.startswith("real pictures") and name.startswith("avatars-")
    return title == name or title.startswith(f"{name}, ") or for_scale


def write(quality: dict[str, dict[str, Any]]) -> None:
    """`cards/<name>.json` beside the weights, for all that have weights."""
    for name in ABOUT:
        if (training.folder(name) / "weights" / f"{name}.safetensors").exists():
            path = training.folder(name) / "cards" / f"{name}.json"
            path.parent.mkdir(exist_ok=True)
            path.write_text(json.dumps(card(name, quality), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
