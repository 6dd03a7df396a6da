"""What users call and get says what it is, down to the parts of unions: `Any` would switch their type checker off."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, get_args, get_origin, get_type_hints

import numpy as np
import pytest
from torch import Tensor

import zmax


def vague(hint: object) -> bool:
    """Say whether Any is part of a type; numpy's own word for an array of any shape is not meant."""
    if get_origin(hint) is np.ndarray:
        return False
    parts = [p for part in get_args(hint) for p in (part if isinstance(part, list) else [part])]
    return hint is Any or any(map(vague, parts))


def hints(function: Callable[..., object]) -> dict[str, object]:
    return get_type_hints(inspect.unwrap(function))


@pytest.mark.parametrize("function", [zmax.maximize, zmax.sample, zmax.Score.__call__, zmax.Generator.decode])
def test_signatures_hold_no_any(function):
    found = hints(function)
    assert found
    assert [name for name, hint in found.items() if vague(hint)] == []


def test_the_best_sample_is_a_tensor_an_array_or_an_object():
    entry = get_type_hints(zmax.Result.best.fget)["return"]
    sample = get_type_hints(entry)["sample"]
    assert not vague(sample)
    assert {Tensor, object} <= set(get_args(sample))


def test_vague_types_are_found():
    assert vague(Any)
    assert vague(dict[str, Any])
    assert vague(int | list[Any])
    assert not vague(int | list[object])
    assert not vague(np.ndarray)
