"""Every method by name, whatever room it lives in, and as data for tables in the docs and on the command line."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field
from typing import Any

from zmax.core.registry import Registry
from zmax.core.strategy import Strategy

registry: Registry[type[Strategy[Any]]] = Registry("method", "zmax.methods", rooms=("zmax.search", "zmax.guide"))
"""Each room adds its methods when it is imported."""

SAMPLER = "temperature"
"""A method whose constructor takes this draws from the tilted law, and serves `sample` as well as `maximize`."""


@dataclass(frozen=True)
class MethodInfo:
    """What a person wants to know of a method before choosing it.

    Attributes:
        name: how it is asked for.
        road: "search", "finetune" or "condition".
        summary: first line of its docstring.
        needs: what the generator and the score must offer.
        use: when to choose it.
        reference: paper, section and address.
        parameters: constructor arguments with their defaults.
    """

    name: str
    road: str
    summary: str
    needs: str
    use: str
    reference: str
    parameters: dict[str, Any] = field(default_factory=dict)


def methods() -> list[MethodInfo]:
    """Return all methods, those of installed packages included, sorted by name.

    Example:
        >>> import zmax
        >>> [m.name for m in zmax.methods()]
        ['cma', 'cma-mae', 'cma-mega', 'das', ...]
    """
    return [_describe(name) for name in registry]


def samplers() -> list[str]:
    """Return the names of the methods that draw from the tilted law."""
    return [name for name in registry if SAMPLER in inspect.signature(registry.load(name)).parameters]


def _describe(name: str) -> MethodInfo:
    kind = registry.load(name)
    return MethodInfo(
        name=name,
        road="search",
        summary=(inspect.getdoc(kind) or "").partition("\n")[0],
        needs=_needs(kind),
        use=kind.use,
        reference=kind.reference,
        parameters={p.name: p.default for p in inspect.signature(kind).parameters.values()},
    )


def _needs(kind: type[Strategy[Any]]) -> str:
    if kind.needs_grad:
        return "gradients of the generator and the score"
    return "a differentiable generator, any score" if kind.needs_jacobian else kind.needs
