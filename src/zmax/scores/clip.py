"""`clip:PROMPT`: how well a picture fits a text, by a CLIP model from a local folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from zmax.core.errors import InputError, MissingExtraError
from zmax.core.rng import stream
from zmax.core.samples import Samples
from zmax.scores.catalogue import NamedScore
from zmax.scores.pictures import pictures

FOLDER = "ZMAX_CLIP"
"""Environment variable that names the folder of the model when a score is given by its prompt alone."""

SMALLEST = 0.6
"""Side of the smallest cutout, as a share of the picture's."""


class Clip(NamedScore):
    r"""Mean cosine similarity between a text and cutouts of the picture, by CLIP, in [-1, 1].

    .. math:: S(x) = \frac1K \sum_{k=1}^K \cos\big(f_\mathrm{img}(C_k(x)),\ f_\mathrm{txt}(\mathrm{prompt})\big)

    The cutouts :math:`C_k` are squares of random size and place, the same ones for every picture, so the score is a
    function of the picture; the first is the whole picture. They make it harder to fool CLIP with high frequencies.

    Reference: Radford et al. 2021, https://arxiv.org/abs/2103.00020; cutouts as in Crowson et al. 2022, *VQGAN-CLIP*,
    section 3.2, https://arxiv.org/abs/2204.08583.

    Args:
        prompt: the text, "a red hat"; in an expression it needs quotes, `'clip:a red hat'`.
        folder: of a model saved by `transformers` (`save_pretrained`), with its tokenizer. None reads the environment
            variable ZMAX_CLIP. Nothing is ever downloaded.
        cutouts: K; 1 looks at the whole picture only.
        seed: of the cutouts.

    Raises:
        InputError: no folder is named, or it holds no CLIP model.
        MissingExtraError: `transformers` is not installed.
    """

    differentiable = True
    bounds = (-1.0, 1.0)

    def __init__(self, prompt: str, *, folder: str | Path | None = None, cutouts: int = 16, seed: int = 0) -> None:
        if isinstance(cutouts, bool) or not isinstance(cutouts, int) or cutouts < 1:
            raise InputError("Clip(cutouts=...)", expected="a positive int", got=repr(cutouts))
        self.name = f"clip:{prompt}"
        model, tokenizer = load_clip(folder)
        self._model, self.networks = model, (model,)
        self._size: int = model.config.vision_config.image_size
        rng = stream(seed, "clip", "cutouts")
        self._cuts = torch.rand(cutouts, 3, generator=rng, dtype=torch.float64, device="cpu").tolist()
        with torch.no_grad():
            tokens = tokenizer([prompt], return_tensors="pt", padding=True, truncation=True).to(model.device)
            self._text = functional.normalize(_features(model.get_text_features(**tokens)), dim=1)

    def __call__(self, samples: Samples) -> Float[Tensor, " n"]:
        """Return the similarity of pictures (n, 3, h, w) of any size."""
        images = pictures(samples, self.name).to(self._model.device, self._model.dtype)
        views = torch.stack([self._view(images, i) for i in range(len(self._cuts))], dim=1)
        mean, std = (images.new_tensor(v)[:, None, None] for v in (MEAN, STD))
        pixels = (views.flatten(0, 1) - mean) / std
        found = functional.normalize(_features(self._model.get_image_features(pixel_values=pixels)), dim=1)
        return (found @ self._text.T).reshape(len(images), -1).mean(1)

    def _view(self, images: Float[Tensor, "n 3 h w"], i: int) -> Float[Tensor, "n 3 size size"]:
        """Cut out square i (the whole picture first) and bring it to the model's size."""
        h, w = images.shape[2:]
        share, down, right = self._cuts[i]
        side = max(1, round((SMALLEST + (1 - SMALLEST) * share) * min(h, w)))
        top, left = round(down * (h - side)), round(right * (w - side))
        part = images if i == 0 else images[:, :, top : top + side, left : left + side]
        return functional.interpolate(part, (self._size, self._size), mode="bilinear", antialias=True)


MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
"""Of the pictures CLIP was trained on (Radford et al. 2021, released preprocessing)."""


def load_clip(folder: str | Path | None) -> tuple[Any, Any]:
    """Return the CLIP model and tokenizer of a folder, in evaluation mode, its weights frozen.

    Raises:
        InputError: no folder is named, or it holds no CLIP model.
        MissingExtraError: `transformers` is not installed.
    """
    where = folder or os.environ.get(FOLDER)
    if not where:
        remedy = f"download one beforehand, then {FOLDER}=FOLDER, or zmax.scores.clip.Clip(prompt, folder=FOLDER)"
        raise InputError("the score clip:PROMPT needs a CLIP model", expected="a local folder", remedy=remedy)
    try:
        from transformers import AutoTokenizer, CLIPModel
    except ImportError as error:
        raise MissingExtraError("transformers", "clip", "the score clip:PROMPT") from error
    try:
        model = CLIPModel.from_pretrained(where, local_files_only=True, use_safetensors=True)
        tokenizer = AutoTokenizer.from_pretrained(where, local_files_only=True)
    except (OSError, ValueError) as error:
        got = f"{type(error).__name__}: {error}"
        expected = "config.json, model.safetensors and a tokenizer, as save_pretrained writes them"
        raise InputError(f"no CLIP model in {str(where)!r}", expected=expected, got=got) from error
    return model.train(False).requires_grad_(False), tokenizer


def _features(found: Any) -> Tensor:
    """Return projected features, which newer releases of transformers wrap."""
    features: Tensor = found if isinstance(found, Tensor) else found.pooler_output
    return features
