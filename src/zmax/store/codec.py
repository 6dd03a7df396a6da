"""Tensors and samples as bytes, without pickle."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from safetensors.torch import load, save
from torch import Tensor


def pack(tensors: Mapping[str, Tensor]) -> bytes:
    """Return named tensors as one safetensors blob."""
    return save({name: tensor.contiguous().clone() for name, tensor in tensors.items()})  # may not share memory


def unpack(blob: bytes) -> dict[str, Tensor]:
    """Return the named tensors of a blob."""
    return load(blob)


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
