"""What the journal holds, as data and as rows of its tables."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import safetensors.numpy
import safetensors.torch
import torch
from PIL import Image
from torch import Tensor

from zmax.core.budget import Ledger
from zmax.core.samples import Sample

TENSORS = ("u", "digest", "score", "plausibility", "toll", "alike")
"""Fields of a chunk that are packed together."""


@dataclass(frozen=True)
class Chunk:
    """Consecutive rows of one round's proposal, evaluated together.

    Attributes:
        round: number of the proposal; -1 for the reference batch.
        offset: first row.
        first_id: running number of its first scored row in the run.
        score: values, empty where nothing was to be scored.
        u: whitened coordinates of the samples; None where they have none, such as perturbed samples and path points.
        digest: a checksum a row (n,) that tells the points apart, where there is no u.
        plausibility: of the points with coordinates.
        toll: what the guard takes off the score that the method is told, where it does.
        alike: a number a sample that equal ones share, 0 where it has none; None where no two can be equal.
        parts: value of each term of a combined score.
        grad: gradient or product.
        failures: reason by row.
        ledger: cost of the run once they were done.
    """

    round: int
    offset: int
    first_id: int
    score: Tensor
    u: Tensor | None = None
    digest: Tensor | None = None
    plausibility: Tensor | None = None
    toll: Tensor | None = None
    alike: Tensor | None = None
    parts: dict[str, Tensor] = field(default_factory=dict)
    grad: Tensor | None = None
    failures: dict[int, str] = field(default_factory=dict)
    ledger: Ledger = field(default_factory=Ledger)

    def __len__(self) -> int:
        told_apart = self.digest if self.u is None else self.u
        return 0 if told_apart is None else len(told_apart)


@dataclass(frozen=True)
class Entry:
    """One sample worth keeping, with all that is known of it.

    Attributes:
        id: running number of its evaluation in the run.
        score: final value of S.
        plausibility: typicality under the prior, in [0, 1].
        held_out: value of the held-out score, None where none was given.
        realism: how usual the sample is among G's own, in [0, 1]; None where it was not measured.
        u: whitened coordinates (d,).
        z: latent as the generator takes it, without the batch dimension; a dict for several blocks.
        parts: value of each term of a combined score.
        sample: the sample itself.
    """

    id: int
    score: float
    plausibility: float
    u: Tensor
    z: Tensor | dict[str, Tensor]
    sample: Sample
    parts: dict[str, float] = field(default_factory=dict)
    held_out: float | None = None
    realism: float | None = None


@dataclass(frozen=True)
class Position:
    """Where a method stands before a round: the round, the id of its first evaluation, the serialised state."""

    round: int
    next_id: int
    state: bytes


def chunk_row(chunk: Chunk) -> tuple[Any, ...]:
    """Return the row of a chunk."""
    given = {name: getattr(chunk, name) for name in TENSORS if getattr(chunk, name) is not None}
    data = pack(given | {f"part.{name}": value for name, value in chunk.parts.items()})
    grad = None if chunk.grad is None else pack({"grad": chunk.grad})
    failures, ledger = json.dumps(chunk.failures), json.dumps(vars(chunk.ledger))
    return chunk.round, chunk.offset, chunk.first_id, data, grad, failures, ledger


def read_chunk(row: tuple[Any, ...]) -> Chunk:
    """Return the chunk of a row."""
    round_, offset, first_id, data, grad, failures, ledger = row
    tensors = unpack(data)
    return Chunk(
        round=round_,
        offset=offset,
        first_id=first_id,
        parts={name[5:]: tensors.pop(name) for name in list(tensors) if name.startswith("part.")},
        grad=None if grad is None else unpack(grad)["grad"],
        failures={int(i): reason for i, reason in json.loads(failures).items()},
        ledger=Ledger(**json.loads(ledger)),
        **tensors,
    )


def stored(value: float | None) -> float | str | None:
    """Return a number as SQLite keeps it, which would make NaN a NULL."""
    return value if value is None or math.isfinite(value) else str(value)


def entry_row(entry: Entry) -> tuple[Any, ...]:
    """Return the row of an entry, without its role."""
    blocks = entry.z if isinstance(entry.z, dict) else {"": entry.z}
    latent = pack({"u": entry.u, **{f"z.{name}": z for name, z in blocks.items()}})
    kind, sample = pack_sample(entry.sample)
    parts = json.dumps(entry.parts)
    held_out = stored(entry.held_out)
    return entry.id, entry.score, entry.plausibility, held_out, latent, parts, kind, sample


def read_entry(row: tuple[Any, ...]) -> Entry:
    """Return the entry of a row, without its role."""
    identity, score, plausibility, held_out, latent, parts, kind, sample = row
    tensors = unpack(latent)
    z = {name[2:]: value for name, value in tensors.items() if name.startswith("z.")}
    return Entry(
        id=identity,
        score=score,
        plausibility=plausibility,
        u=tensors["u"],
        z=z.get("", z),
        sample=unpack_sample(kind, sample),
        parts=json.loads(parts),
        held_out=None if held_out is None else float(held_out),
    )


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
    """Return a sample as (kind, bytes): a tensor, an array of numbers, a picture, a text, JSON data, or its print.

    Numbers of numpy become plain ones; arrays inside a list or a dict become lists.
    """
    if isinstance(sample, Tensor):
        return "tensor", pack({"x": sample})
    if isinstance(sample, np.ndarray) and sample.dtype.name in _ARRAYS:
        native = sample.astype(sample.dtype.newbyteorder("="), order="C", subok=False)
        return "array", safetensors.numpy.save({"x": native})
    if isinstance(sample, Image.Image):
        file = io.BytesIO()
        sample.save(file, "PNG")
        return "picture", file.getvalue()
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
    if kind == "picture":
        return Image.open(io.BytesIO(blob)).copy()
    return json.loads(blob) if kind == "json" else blob.decode()


def _plain(value: object) -> object:
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is not JSON data")
