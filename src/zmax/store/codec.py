"""Tensors and samples as bytes, without pickle."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import safetensors.numpy
import safetensors.torch
import torch
from torch import Tensor

_NUMPY = {torch.float32, torch.float64, torch.float16, torch.int64, torch.int32, torch.uint8, torch.bool}


def pack(tensors: Mapping[str, Tensor]) -> bytes:
    """Return named tensors as one safetensors blob."""
    if all(tensor.dtype in _NUMPY for tensor in tensors.values()):  # the same format, five times as fast
        return safetensors.numpy.save({name: tensor.contiguous().numpy() for name, tensor in tensors.items()})
    return safetensors.torch.save({name: tensor.contiguous().clone() for name, tensor in tensors.items()})


def unpack(blob: bytes) -> dict[str, Tensor]:
    """Return the named tensors of a blob."""
    return safetensors.torch.load(blob)


def pack_sample(sample: Any) -> tuple[str, bytes]:
    """Return a sample as (kind, bytes): a tensor, a text, plain JSON data, or else its printed form."""
    if isinstance(sample, Tensor):
        return "tensor", pack({"x": sample})
    if isinstance(sample, str):
        return "text", sample.encode()
    try:
        return "json", json.dumps(sample).encode()
    except (TypeError, ValueError):
        return "printed", repr(sample).encode()


def unpack_sample(kind: str, blob: bytes) -> Any:
    """Invert :func:`pack_sample`; a sample of kind "printed" comes back as its printed form."""
    if kind == "tensor":
        return unpack(blob)["x"]
    return json.loads(blob) if kind == "json" else blob.decode()
