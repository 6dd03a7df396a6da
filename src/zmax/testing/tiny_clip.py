"""A CLIP of a few thousand random weights, to try out what works with CLIP where no real one is at hand."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from zmax.core.errors import MissingExtraError
from zmax.core.rng import stream

WORDS = ("a", "red", "blue", "hat", "face")


def tiny_clip(folder: str | Path) -> Path:
    """Write a random CLIP and a tokenizer of a few words into a folder, as `transformers` saves them.

    It knows nothing: its scores mean nothing, but they depend on picture and prompt, and have gradients.

    Args:
        folder: made if it does not exist; the same weights are written at every call.

    Returns:
        The folder, for :class:`zmax.scores.clip.Clip` or the environment variable ZMAX_CLIP.

    Raises:
        MissingExtraError: `transformers` is not installed.

    Example:
        >>> import tempfile
        >>> from zmax.scores.clip import Clip
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     judge = Clip("a red hat", folder=tiny_clip(folder), cutouts=2)
        >>> judge(torch.full((1, 3, 8, 8), 0.5)).shape
        torch.Size([1])
    """
    try:
        from transformers import CLIPConfig, CLIPModel, CLIPTokenizer
    except ImportError as error:
        raise MissingExtraError("transformers", "clip", "tiny_clip") from error
    path = Path(folder)
    path.mkdir(parents=True, exist_ok=True)
    letters = sorted({letter for word in WORDS for letter in word})
    names = ["<|startoftext|>", "<|endoftext|>", *(f"{word}</w>" for word in WORDS)]
    names += [*letters, *(f"{letter}</w>" for letter in letters)]
    tokens = {name: i for i, name in enumerate(dict.fromkeys(names))}
    (path / "vocab.json").write_text(json.dumps(tokens), encoding="utf-8")
    (path / "merges.txt").write_text("#version: 0.2\n", encoding="utf-8")
    tokenizer = CLIPTokenizer(str(path / "vocab.json"), str(path / "merges.txt"))
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    ends = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}
    config = CLIPConfig(
        text_config={**sizes, **ends, "vocab_size": len(tokens), "max_position_embeddings": 16},
        vision_config={**sizes, "image_size": 32, "patch_size": 8},
        projection_dim=16,
    )
    with torch.random.fork_rng(devices=[]):  # transformers initialises from the global stream
        model = CLIPModel(config)
    rng = stream(0, "tiny-clip")
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(0.2 * torch.randn(weight.shape, generator=rng, device="cpu", dtype=torch.float32))
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path
