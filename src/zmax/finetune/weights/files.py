"""A child's weights as safetensors, with a card and a hash over both."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from zmax.core.errors import InputError, StoreError
from zmax.core.generator import Generator
from zmax.finetune.weights.asked import again
from zmax.finetune.weights.child import Child
from zmax.finetune.weights.plan import Plan

META = "zmax"
"""The one key of the file's metadata, since several come in any order: JSON of the card's text and the hash."""


def written(child: Child, card: Mapping[str, Any]) -> bytes:
    """Return the weights that move as a safetensors file, from which :func:`restored` makes the child again.

    Args:
        child: whose weights.
        card: what else is known of it, for JSON. "parent", "weights" (kind, rank, alpha, layers, targets) are added.

    Raises:
        InputError: the card is no JSON, or has one of these already.
    """
    own = {"parent": child.parent, "weights": child.plan.as_dict() | {"targets": child.targets}}
    if own.keys() & card.keys():
        raise InputError("card of a child", expected=f"no {' or '.join(own)} of its own", got=sorted(card))
    tensors = {name: tensor.cpu().contiguous() for name, tensor in child.tensors().items()}
    try:
        text = json.dumps({**card, **own}, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InputError("card of a child", expected="what JSON can hold", got=error) from error
    return save(tensors, {META: json.dumps({"card": text, "sha256": _digest(tensors, text)})})


def read(source: bytes | str | Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what :func:`written` returned.

    Args:
        source: the bytes, or a file of them.

    Returns:
        The tensors by name, and the card.

    Raises:
        InputError: there is no such file, or it is another kind of file.
        StoreError: tensors or card are not those that were written.
    """
    what = "weights of a child" if isinstance(source, bytes) else f"weights in {str(source)!r}"
    try:
        blob = source if isinstance(source, bytes) else Path(source).read_bytes()
        tensors = load(blob)
        facts = json.loads(blob[8 : 8 + int.from_bytes(blob[:8], "little")])["__metadata__"]
        text, digest = (str(json.loads(facts[META])[key]) for key in ("card", "sha256"))
    except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
        got = f"{type(error).__name__}: {error}"
        raise InputError(what, expected="a safetensors file that zmax wrote", got=got) from error
    found = _digest(tensors, text)
    if found != digest:
        raise StoreError(what, expected=f"sha256 {digest}", got=found, remedy="the file was changed: copy it again")
    return tensors, json.loads(text)


def restored(parent: Generator, tensors: Mapping[str, Tensor], card: Mapping[str, Any]) -> Child:
    """Make a child again, its weights at rest.

    Args:
        parent: the generator that it came from, which stays as it is.
        tensors: from :func:`read`.
        card: from :func:`read`.

    Raises:
        InputError: the parent's layers or weights are others than they were.

    Example:
        >>> import torch, zmax
        >>> from zmax.finetune.weights import child_of
        >>> G = zmax.generator(torch.nn.Linear(4, 2), shape=(4,))
        >>> again = restored(G, *read(written(child_of(G), {"score": "redness"})))
        >>> bool(torch.equal(again.generator.decode(torch.ones(1, 4)), G.decode(torch.ones(1, 4))))
        True
    """
    child = again(parent, Plan.from_dict(card["weights"]))
    then = tuple(map(tuple, card["weights"]["targets"]))
    if child.targets != then:
        counts = [sum(map(len, layers)) for layers in (then, child.targets)]
        raise InputError(
            f"the parent {parent.name!r}",
            expected=f"{card['parent']!r}, with {counts[0]} layers of low rank",
            got=f"{counts[1]} layers, or others",
        )
    child.load(tensors)
    for weight in child.weights.values():
        weight.requires_grad_(False)
    return child


def _digest(tensors: Mapping[str, Tensor], text: str) -> str:
    digest = hashlib.sha256(text.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(repr((name, str(tensor.dtype), tuple(tensor.shape))).encode())
        digest.update(tensor.contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
