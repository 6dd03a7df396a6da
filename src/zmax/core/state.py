"""States as plain data: a frozen dataclass to nested dictionaries of tensors and numbers, and back, bit for bit."""

from __future__ import annotations

import io
from collections import OrderedDict
from dataclasses import Field, fields, is_dataclass, replace
from functools import cache
from typing import Any, TypeVar, get_args, get_type_hints

import torch

from zmax.core.errors import StoreError

StateT = TypeVar("StateT")

STATIC = {"static": True}
"""Metadata of a dataclass field that `init` rebuilds, such as the space; it is not saved."""

ROW = {"row": True}
"""Metadata of a dataclass field with one row a chain, point or draw: a tensor, a dataclass with such, or None."""

_LEAVES = (type(None), bool, int, float, complex, str, bytes, torch.Size, torch.dtype, torch.device)


def dump(state: object) -> bytes:
    """Serialise a state; fields marked with `metadata=STATIC` are left out.

    A field may hold tensors, numbers, text, tuples, lists and dicts of them, or another dataclass; one that may be None
    (`Inner | None`) needs that annotation at module level, and no static fields, to be built anew.

    Raises:
        StoreError: a field holds something that :func:`restore` could not bring back.
    """
    buffer = io.BytesIO()
    torch.save(_plain(state, type(state).__name__), buffer)
    return buffer.getvalue()


def restore(template: StateT, blob: bytes) -> StateT:
    """Return the state saved in `blob`, with static fields taken from `template` (a fresh `init`).

    Raises:
        StoreError: the saved state belongs to another class or version of the method.
    """
    data: dict[str, Any] = torch.load(io.BytesIO(blob), weights_only=True)
    restored: StateT = _fill(template, None, data)
    return restored


def _plain(value: Any, where: str, *, anew: bool = False) -> Any:
    """Return nested dicts of leaves; `where` is the path in the state, `anew` if no template may be there to fill."""
    if is_dataclass(value):
        kind: type = type(value)
        declared, out = _declared(kind), {}
        for name, f in _saved(kind).items():
            part, path = getattr(value, name), f"{where}.{name}"
            alone = anew or "None" in str(f.type) or "Optional" in str(f.type)
            if alone and is_dataclass(part):
                _check_rebuildable(type(part), declared.get(name), path)
            out[name] = _plain(part, path, anew=alone)
        return out
    _check_leaves(value, where)
    return value


def _check_leaves(value: Any, where: str) -> None:
    if isinstance(value, torch.Tensor) or type(value) in _LEAVES:
        return
    if type(value) in (tuple, list, set):
        for i, part in enumerate(value):
            _check_leaves(part, f"{where}[{i}]")
    elif type(value) in (dict, OrderedDict):
        for key, part in value.items():
            _check_leaves(key, f"key of {where}")
            _check_leaves(part, f"{where}[{key!r}]")
    else:
        raise StoreError(
            f"the state's {where} cannot be saved",
            expected="tensors, plain numbers, text, and tuples, lists and dicts of them; dataclasses as fields only",
            got=type(value).__name__,
            remedy="give it a field of its own, or keep it as tensors and numbers",
        )


def _check_rebuildable(kind: type, declared: type | None, where: str) -> None:
    if kind is not declared or any(f.metadata.get("static") for f in fields(kind)):
        raise StoreError(
            f"the state's {where} cannot be saved",
            expected="an optional dataclass defined at module level, one per annotation, without static fields",
            got=kind.__name__,
        )


def _fill(template: Any, declared: type | None, data: Any) -> Any:
    """Return `data` as what `template` is, or where that is None as the dataclass `declared` for the field."""
    known = is_dataclass(template)
    kind = type(template) if known else declared if template is None and isinstance(data, dict) else None
    if kind is None:
        return data
    saved = _saved(kind)
    if not isinstance(data, dict) or set(data) != set(saved):
        raise StoreError(
            f"a saved {kind.__name__} does not fit the installed version",
            expected=sorted(saved),
            got=sorted(data) if isinstance(data, dict) else type(data).__name__,
            remedy="resume with the version of zmax that started the run",
        )
    inner, parts = _declared(kind), {}
    for name in saved:
        part = data[name]
        parts[name] = None if part is None else _fill(getattr(template, name, None), inner.get(name), part)
    return replace(template, **parts) if known else kind(**parts)


@cache
def _saved(kind: type) -> dict[str, Field[Any]]:
    return {f.name: f for f in fields(kind) if not f.metadata.get("static")}


@cache
def _declared(kind: type) -> dict[str, type]:
    """Return the one dataclass that each annotation of `kind` names, where it names one."""
    try:
        hints = get_type_hints(kind)
    except (NameError, TypeError):  # annotations that only exist where the class was written
        return {}
    named = {name: [part for part in (hint, *get_args(hint)) if _is_class(part)] for name, hint in hints.items()}
    return {name: parts[0] for name, parts in named.items() if len(parts) == 1}


def _is_class(part: object) -> bool:
    return isinstance(part, type) and is_dataclass(part)
