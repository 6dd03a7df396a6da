"""Tensors and samples as bytes, without pickle."""

from __future__ import annotations

import json
from collections.abc import Mapping

import numpy as np
import safetensors.numpy
import safetensors.torch
import torch
from torch import Tensor

from zmax.core.samples import Sample

_NUMPY = {torch.float32, torch.float64, torch.float16, torch.int64, torch.int32, torch.uint8, torch.bool}
_ARRAYS = {"bool", "float16", "float32", "float64", "complex64"}
_ARRAYS |= {f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)}


def pack(tensors: Mapping[str, Tensor]) -> bytes:
    """Return named tensors as one safetensors blob."""
    if all(tensor.dtype in _NUMPY for tensor in tensors.values()):  # the same format, five times as fast
        return safetensors.numpy.save({name: tensor.contiguous().numpy() for name, tensor in tensors.items()})
    return safetensors.torch.save({name: tensor.contiguous().clone() for name, tensor in tensors.items()})


def unpack(blob: bytes) -> dict[str, Tensor]:
    """Return the named tensors of a blob."""
    return safetensors.torch.load(blob)


def pack_sample(sample: Sample) -> tuple[str, bytes]:
    """Return a sample as (kind, bytes): a tensor, an array of numbers, a text, JSON data, or else its printed form.

    Numbers of numpy become plain ones; arrays inside a list or a dict become lists.
    """
    if isinstance(sample, Tensor):
        return "tensor", pack({"x": sample})
    if isinstance(sample, np.ndarray) and sample.dtype.name in _ARRAYS:
        native = sample.astype(sample.dtype.newbyteorder("="), order="C", subok=False)
        return "array", safetensors.numpy.save({"x": native})
    if isinstance(sample, str):
        return "text", sample.encode()
    try:
        return "json", json.dumps(sample, default=_plain).encode()
    except (TypeError, ValueError):
        return "printed", repr(sample).encode()


def unpack_sample(kind: str, blob: bytes) -> Sample:
    """Invert :func:`pack_sample`; a sample of kind "printed" comes back as its printed form."""
    if kind == "tensor":
        return unpack(blob)["x"]
    if kind == "array":
        return safetensors.numpy.load(blob)["x"].copy()
    return json.loads(blob) if kind == "json" else blob.decode()


def _plain(value: object) -> object:
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is not JSON data")
