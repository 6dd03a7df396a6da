"""What can be named, as rows of plain data."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from zmax.core.errors import ZmaxError
from zmax.core.generator import Generator
from zmax.core.methods import methods as all_methods
from zmax.generators import generators as registry
from zmax.scores import catalogue

Rows = list[dict[str, Any]]


def generators() -> Rows:
    """Return name, usage, modality, dimension and description of each generator.

    Dimension and modality are those of the shipped ones, whose weights load in milliseconds; others stay unloaded.
    """
    return [_generator(name, registry.load(name)) for name in registry]


def scores() -> Rows:
    """Return name, usage, differentiability, description and possible arguments of each score."""
    return [
        {
            "name": row.name,
            "usage": row.usage,
            "differentiable": row.differentiable,
            "description": row.description,
            "choices": list(row.choices),
        }
        for row in catalogue()
    ]


def methods() -> Rows:
    """Return what is known of each method: name, road, needs, constraints, categories, parameters and the like."""
    return [
        {
            "name": row.name,
            "road": row.road,
            "needs": row.needs,
            "description": row.summary,
            "constraints": row.constraints,
            "categories": row.categories,
            "goals": row.goals,
            "parameters": row.parameters,
            "reference": row.reference,
            "start": row.begins,
        }
        for row in all_methods()
    ]


def _generator(name: str, factory: Callable[..., Generator]) -> dict[str, Any]:
    made = _made(factory) if factory.__module__.startswith("zmax.") else None
    argument = next(iter(inspect.signature(factory).parameters), None)
    summary = (inspect.getdoc(factory) or "").partition("\n")[0].removeprefix("Return ")
    return {
        "name": name,
        "usage": name if argument is None else f"{name}[:<{argument}>]",
        "modality": None if made is None else made.modality,
        "dimension": None if made is None else made.space.dim,
        "description": summary[:1].upper() + summary[1:],
    }


def _made(factory: Callable[..., Generator]) -> Generator | None:
    try:
        return factory()
    except (ZmaxError, OSError):  # its weights are not installed
        return None
