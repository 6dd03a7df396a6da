"""What a generator returns: a batch of samples, which may be a tensor, an array or a list of anything."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float, Int
from PIL import Image
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from zmax.core.errors import ShapeError

LARGEST = 64
"""Height and width beyond which images are averaged down; what happens below such a pixel is not seen."""

Array = npt.NDArray[np.generic]

Samples = Tensor | Array | Sequence[object]
"""A batch: a tensor (n, ...), an array (n, ...), or a sequence of n objects (strings, molecules, ...)."""

Sample = Tensor | Array | object
"""One of a batch: nothing is known of it but what its generator promises; the first two are there for editors."""


class Rows(list[Any]):
    """Samples that are dicts with the same keys, of which `rows["a"]` is a column.

    Example:
        >>> rows = Rows([{"a": 1.0, "b": "x"}, {"a": 2.5, "b": "y"}])
        >>> rows["a"].tolist(), rows[1], rows[:1]["a"].tolist()
        ([1.0, 2.5], {'a': 2.5, 'b': 'y'}, [1.0])
    """

    def __getitem__(self, key: Any) -> Any:
        """Return a column, or a row, or several rows."""
        if not isinstance(key, str):
            found = super().__getitem__(key)
            return Rows(found) if isinstance(key, slice) else found
        column = [row[key] for row in self]
        return torch.stack(column) if column and all(isinstance(v, Tensor) for v in column) else np.asarray(column)


def listed(samples: Sequence[object]) -> Sequence[object]:
    """Return a list of samples, with columns if they are dicts with the same keys."""
    first = samples[0] if samples else None
    rows = isinstance(first, dict) and all(isinstance(one, dict) and one.keys() == first.keys() for one in samples)
    return Rows(samples) if rows else list(samples)


def count(samples: Samples, *, what: str = "the generator's output") -> int:
    """Return how many samples there are.

    Raises:
        ShapeError: it is not a batch.
    """
    if (
        (isinstance(samples, Tensor) and samples.ndim == 0)
        or not hasattr(samples, "__len__")
        or isinstance(samples, str)
    ):
        raise ShapeError(what, expected="a batch: tensor (n, ...) or a list of n samples", got=describe(samples))
    return len(samples)


def take(samples: Samples, rows: Sequence[int]) -> Samples:
    """Return the samples of those rows, in the same container, detached from any graph."""
    if isinstance(samples, Tensor):
        return samples.detach()[torch.as_tensor(rows, dtype=torch.long, device="cpu")]
    if isinstance(samples, np.ndarray):
        return samples[list(rows)]
    return listed([samples[i] for i in rows])


def row(samples: Samples, i: int) -> Sample:
    """Return sample i alone: a CPU tensor or an array that shares nothing with the batch, or the object itself."""
    sample = samples[i]
    if isinstance(sample, Tensor):
        return sample.detach().cpu().clone()
    return sample.copy() if isinstance(sample, np.ndarray) else sample


def stack(rows: Sequence[Sample]) -> Samples:
    """Join single samples into a batch: tensors are stacked, anything else becomes a list."""
    tensors = [row for row in rows if isinstance(row, Tensor)]
    return torch.stack(tensors) if rows and len(tensors) == len(rows) else listed(rows)


def concatenated(parts: Sequence[Samples]) -> Samples:
    """Put consecutive batches of samples together: tensors into one, anything else into a list."""
    tensors = [part for part in parts if isinstance(part, Tensor)]
    if len(tensors) == len(parts):
        return torch.cat(tensors)
    return listed([row(part, i) for part in parts for i in range(len(part))])


def spare(samples: Samples) -> Samples:
    """Return a batch of the same samples that can be written into: tensors, arrays, pictures, containers are copied.

    Example:
        >>> batch = [{"a": 1}]
        >>> spare(batch)[0].clear()
        >>> batch
        [{'a': 1}]
    """
    return cast(Samples, _copied(samples))


def _copied(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.clone()
    if isinstance(value, (np.ndarray, bytearray, set, Image.Image)):
        return value.copy()
    if isinstance(value, dict):
        return {key: _copied(part) for key, part in value.items()}
    return type(value)(map(_copied, value)) if type(value) in (list, tuple, Rows) else value


def reuses(samples: Samples, before: Samples) -> bool:
    """Say whether a batch lies in the memory of one that was made before it and still exists."""
    if isinstance(samples, Tensor) and isinstance(before, Tensor):
        return samples.numel() > 0 and samples.untyped_storage().data_ptr() == before.untyped_storage().data_ptr()
    if isinstance(samples, (Tensor, np.ndarray)) or isinstance(before, (Tensor, np.ndarray)):
        return samples is before or (
            isinstance(samples, np.ndarray) and np.may_share_memory(samples, cast(Array, before))
        )
    known = {id(part) for part in before if _copied(part) is not part}
    return samples is before or any(id(part) in known for part in samples)


def describe(value: object) -> str:
    """Say in a few words what a value is, for error messages."""
    shape = getattr(value, "shape", None)
    if shape is not None:
        return f"{type(value).__name__} of shape {tuple(shape)}"
    length = f" of length {len(value)}" if hasattr(value, "__len__") else ""
    return f"{type(value).__name__}{length}"


def identities(samples: Samples) -> list[bytes | None]:
    """Return what equal samples have in common, where they can be equal: texts, whole numbers and rows of them.

    Returns:
        A key or None for each sample; nothing at all where no two can be equal.

    Example:
        >>> a, b, c = identities(["CCO", "CO", "CCO"])
        >>> a == c, a == b, identities(torch.zeros(3, 2)), identities([1.5, "CO"])[0]
        (True, False, [], None)
    """
    if isinstance(samples, Tensor) and (samples.is_floating_point() or samples.is_complex()):
        return []
    here = samples.detach().cpu().numpy() if isinstance(samples, Tensor) else samples
    words = [_words(here[i]) for i in range(len(here))]
    keys = [None if word is None else hashlib.blake2b(word, digest_size=16).digest() for word in words]
    return keys if any(keys) else []


def alike(samples: Samples) -> Int[Tensor, " n"] | None:
    """Return a number a sample that equal ones share, 0 for a sample that has none; None where no two can be equal.

    Example:
        >>> numbers = alike(["CCO", "CO", "CCO"])
        >>> numbers[0] == numbers[2], numbers[0] == numbers[1], alike(torch.zeros(3, 2))
        (tensor(True), tensor(False), None)
    """
    keys = identities(samples)
    numbers = [int.from_bytes((key or bytes(8))[:8], "big", signed=True) for key in keys]
    return torch.tensor(numbers, dtype=torch.int64, device="cpu") if keys else None


def _words(sample: Sample) -> bytes | None:
    if isinstance(sample, (str, bytes, int)):
        return repr(str(sample) if isinstance(sample, str) else sample).encode()
    if isinstance(sample, Tensor):
        whole = not (sample.is_floating_point() or sample.is_complex())
        return _words(sample.detach().cpu().numpy()) if whole else None
    if isinstance(sample, np.ndarray):
        return f"{sample.dtype}{sample.shape}".encode() + sample.tobytes() if sample.dtype.kind in "biuU" else None
    if isinstance(sample, (list, tuple)):
        parts = [_words(part) for part in sample]
        return None if None in parts else repr(parts).encode()
    return _words(sample.item()) if isinstance(sample, np.integer) else None


def spread(value: Tensor, like: Tensor) -> Tensor:
    """Return `value` with axes of 1 behind its own, as many as it has fewer than `like`.

    Example:
        >>> import torch
        >>> spread(torch.zeros(5), torch.zeros(5, 3, 8, 8)).shape
        torch.Size([5, 1, 1, 1])
    """
    return value.reshape(*value.shape, *[1] * (like.ndim - value.ndim))


def sized(x: Float[Tensor, "n ..."]) -> Float[Tensor, "n ..."]:
    """Return samples as small networks see them: large images averaged down, all else that is no image as vectors."""
    if x.ndim != 4:
        return x.unsqueeze(-1).flatten(1)
    size = (min(LARGEST, x.shape[2]), min(LARGEST, x.shape[3]))
    return x if size == tuple(x.shape[2:]) else adaptive_avg_pool2d(x, size)
