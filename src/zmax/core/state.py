"""States as plain data: a frozen dataclass to nested dictionaries of tensors and numbers, and back, bit for bit."""

from __future__ import annotations

import io
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

import torch

from zmax.core.errors import StoreError

StateT = TypeVar("StateT")

STATIC = {"static": True}
"""Metadata of a dataclass field that `init` rebuilds, such as the space; it is not saved."""


def dump(state: object) -> bytes:
    """Serialise a state; fields marked with `metadata=STATIC` are left out."""
    buffer = io.BytesIO()
    torch.save(_plain(state), buffer)
    return buffer.getvalue()


def restore(template: StateT, blob: bytes) -> StateT:
    """Return the state saved in `blob`, with static fields taken from `template` (a fresh `init`).

    Raises:
        StoreError: the saved state belongs to another class or version of the method.
    """
    data: dict[str, Any] = torch.load(io.BytesIO(blob), weights_only=True)
    return _fill(template, data)


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        saved = [f.name for f in fields(value) if not f.metadata.get("static")]
        return {name: _plain(getattr(value, name)) for name in saved}
    return value


def _fill(template: StateT, data: Any) -> StateT:
    if not is_dataclass(template):
        return data
    saved = {f.name for f in fields(template) if not f.metadata.get("static")}
    if not isinstance(data, dict) or set(data) != saved:
        raise StoreError(
            f"a saved {type(template).__name__} does not fit the installed version",
            expected=sorted(saved),
            got=sorted(data) if isinstance(data, dict) else type(data).__name__,
            remedy="resume with the version of zmax that started the run",
        )
    return replace(template, **{name: _fill(getattr(template, name), data[name]) for name in saved})  # type: ignore[type-var]
