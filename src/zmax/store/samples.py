"""Samples as bytes, and whether they come back as they were."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import safetensors.numpy
import safetensors.torch
import torch
from PIL import Image
from torch import Tensor

from zmax.core.samples import Sample

_NUMPY = {torch.float32, torch.float64, torch.float16, torch.int64, torch.int32, torch.uint8, torch.bool}
_ARRAYS = {"bool", "float16", "float32", "float64", "complex64"}
_ARRAYS |= {f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)}
_MODES = {"1", "L", "LA", "RGB", "RGBA"}
"""Pictures that a PNG file keeps as they are."""

_TAG = "of type"
"""The key that tells what JSON has no form for; dicts that have it themselves are tagged too."""


LATER = "later"
"""Kind of a sample that is not written yet."""

UNWRITTEN = "(not written down before the run was cut short: zmax resume makes it again)"

LARGE = 2**14
"""Bytes above which a sample takes longer to write than all else of an evaluation."""


def large(sample: Sample) -> bool:
    """Say whether a sample takes long to write."""
    return isinstance(sample, Image.Image) or getattr(sample, "nbytes", 0) > LARGE


def pack(tensors: Mapping[str, Tensor]) -> bytes:
    """Return named tensors as one safetensors blob."""
    if all(tensor.dtype in _NUMPY for tensor in tensors.values()):  # the same format, five times as fast
        return safetensors.numpy.save({name: tensor.contiguous().numpy() for name, tensor in tensors.items()})
    return safetensors.torch.save({name: tensor.contiguous().clone() for name, tensor in tensors.items()})


def unpack(blob: bytes) -> dict[str, Tensor]:
    """Return the named tensors of a blob."""
    return safetensors.torch.load(blob)


def pack_sample(sample: Sample) -> tuple[str, bytes]:
    """Return a sample as (kind, bytes): tensor, array of numbers, picture, text, bytes, JSON data, or its printed form.

    Tuples, sets, bytes and keys that are no text come back as they were. Numbers of numpy become plain ones; arrays
    inside a list or a dict become lists.
    """
    if isinstance(sample, Tensor):
        return "tensor", pack({"x": sample})
    if isinstance(sample, np.ndarray) and sample.dtype.name in _ARRAYS:
        native = sample.astype(sample.dtype.newbyteorder("="), order="C", subok=False)
        return "array", safetensors.numpy.save({"x": native})
    if isinstance(sample, str):
        return "text", sample.encode("utf-8", "surrogatepass")
    if isinstance(sample, bytes):
        return "bytes", sample
    if isinstance(sample, Image.Image) and sample.mode in _MODES:
        file = io.BytesIO()
        sample.save(file, "png")
        return "picture", file.getvalue()
    try:
        return "json", json.dumps(_tagged(sample), default=_plain).encode()
    except (TypeError, ValueError, RecursionError):
        return "printed", repr(sample).encode("utf-8", "backslashreplace")


def unpack_sample(kind: str, blob: bytes) -> Sample:
    """Invert :func:`pack_sample`; a sample of kind "printed" comes back as its printed form."""
    if kind == LATER:
        return UNWRITTEN
    if kind == "tensor":
        return unpack(blob)["x"]
    if kind == "array":
        return safetensors.numpy.load(blob)["x"].copy()
    if kind == "bytes":
        return blob
    if kind == "picture":
        return Image.open(io.BytesIO(blob)).copy()
    return _untagged(json.loads(blob)) if kind == "json" else blob.decode("utf-8", "surrogatepass")


def survives(sample: Sample, kind: str, blob: bytes) -> bool:
    """Say whether a sample that was packed comes back as it was.

    Example:
        >>> [survives(x, *pack_sample(x)) for x in [(1, {2: b"c"}), {1, 2}, [np.float32(1)], 1 + 2j]]
        [True, True, False, False]
    """
    return kind not in ("json", "printed") or (kind == "json" and _same(sample, unpack_sample(kind, blob)))


def _same(a: object, b: object) -> bool:
    if type(a) is not type(b):
        return False
    if isinstance(a, dict) and isinstance(b, dict):
        return _same(list(a.items()), list(b.items()))
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        return len(a) == len(b) and all(map(_same, a, b))
    return a == b or (a != a and b != b)


def _tagged(value: object) -> object:
    """Return data with what JSON has no form for as dicts that name its type."""
    if type(value) is list:
        return [_tagged(part) for part in value]
    if type(value) in (tuple, set, frozenset):
        return {_TAG: type(value).__name__, "parts": [_tagged(part) for part in value]}  # type: ignore[attr-defined]
    if type(value) is bytes:
        return {_TAG: "bytes", "parts": value.hex()}
    if not isinstance(value, dict):
        return value
    if all(type(key) is str for key in value) and _TAG not in value:
        return {key: _tagged(part) for key, part in value.items()}
    return {_TAG: "dict", "parts": [[_tagged(key), _tagged(part)] for key, part in value.items()]}


def _untagged(data: object) -> object:
    if isinstance(data, list):
        return [_untagged(part) for part in data]
    if not isinstance(data, dict):
        return data
    if _TAG not in data:
        return {key: _untagged(part) for key, part in data.items()}
    kind, parts = data[_TAG], data["parts"]
    if kind == "bytes":
        return bytes.fromhex(parts)
    made: list[Any] = [_untagged(part) for part in parts]
    if kind == "dict":
        return dict(made)
    return {"tuple": tuple, "set": set, "frozenset": frozenset}[kind](made)


def _plain(value: object) -> object:
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is not JSON data")
