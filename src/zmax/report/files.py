"""A sample as files: pictures, sounds, frames, arrays and tables."""

from __future__ import annotations

import csv
import io
import wave
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from torch import Tensor

from zmax.core.samples import Sample
from zmax.report import pictures

RATE = 16_000
"""Values a second of a sound; no generator says its own."""


def as_files(sample: Sample, modality: str) -> dict[str, bytes]:
    """Return the contents of a sample's files by their endings; none where it is best printed.

    Example:
        >>> import torch
        >>> [list(as_files(torch.zeros(2, 3, 8, 8), "video")), list(as_files([{"a": 1}], "other"))]
        [['_0001.png', '_0002.png'], ['.csv']]
    """
    if isinstance(sample, Image.Image):
        return {".png": _png(sample)}
    if modality == "image" and pictures.is_image(sample):
        return {".png": _png(pictures.enlarged(pictures.pixels(sample)))}
    values = _values(sample)
    if values is not None and modality == "audio" and values.ndim in (1, 2) and values.size:
        return {".wav": _wav(values)}
    if modality == "video" and (frames := pictures.frames(sample)):
        return {f"_{i + 1:04d}.png": _png(Image.fromarray(frame)) for i, frame in enumerate(frames)}
    if values is not None and modality not in ("vector", "text"):
        return {".npy": _npy(values)}
    table = _table(sample)
    return {} if table is None else {".csv": table}


def _values(sample: Sample) -> npt.NDArray[Any] | None:
    if isinstance(sample, Tensor):
        known = sample.detach().cpu()
        return (known.float() if known.dtype.is_floating_point and known.element_size() < 4 else known).numpy()
    return sample if isinstance(sample, np.ndarray) and not sample.dtype.hasobject else None


def _png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "png")
    return file.getvalue()


def _npy(values: npt.NDArray[Any]) -> bytes:
    file = io.BytesIO()
    np.save(file, values, allow_pickle=False)
    return file.getvalue()


def _wav(values: npt.NDArray[Any]) -> bytes:
    """Return a sound in [-1, 1], (n,) or (channels, n), in 16 bits; louder ones are cut off."""
    channels = np.atleast_2d(np.nan_to_num(values.astype(np.float64)))
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(len(channels))
        sound.setsampwidth(2)
        sound.setframerate(RATE)
        sound.writeframes((channels.T.clip(-1, 1) * 32767).round().astype("<i2").tobytes())
    return file.getvalue()


def _table(sample: Sample) -> bytes | None:
    """Return a data frame, or a list of dicts with the same keys, as comma-separated values."""
    as_csv = getattr(sample, "to_csv", None)
    if callable(as_csv):
        return str(as_csv(index=False)).encode()
    if not isinstance(sample, (list, tuple)) or not sample or not all(isinstance(row, dict) and row for row in sample):
        return None
    if any(row.keys() != sample[0].keys() for row in sample):
        return None
    file = io.StringIO(newline="")
    writer = csv.DictWriter(file, list(sample[0]))
    writer.writeheader()
    writer.writerows(sample)
    return file.getvalue().encode()
