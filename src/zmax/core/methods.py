"""Every method by name, whatever room it lives in, and as data for tables in the docs and on the command line."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field
from typing import Any

from zmax.core.registry import Registry
from zmax.core.strategy import Gives, Need, Strategy
from zmax.core.tuner import Tuner, conditioners, parameters_of, tuners

registry: Registry[type[Strategy[Any]]] = Registry("method", "zmax.methods", rooms=("zmax.search", "zmax.guide"))
"""Each room adds its methods when it is imported."""


@dataclass(frozen=True)
class MethodInfo:
    """What a person wants to know of a method before choosing it.

    Attributes:
        name: how it is asked for.
        road: "search", "guide", "finetune" or "condition".
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
        ['adjoint', 'alignprop', 'awm', 'cma', ...]
    """
    named = [(name, table.load(name)) for table in (registry, tuners, conditioners) for name in table]
    return [_describe(name, kind) for name, kind in sorted(named, key=lambda pair: pair[0])]


def samplers() -> list[str]:
    """Return the names of the methods that draw from the tilted law."""
    return [name for name in registry if Gives.DRAWS in registry.load(name).gives]


def _describe(name: str, kind: type[Strategy[Any]] | type[Tuner[Any]]) -> MethodInfo:
    return MethodInfo(
        name=name,
        road=kind.__module__.split(".")[1] if kind.__module__.startswith("zmax.") else "search",
        summary=(inspect.getdoc(kind) or "").partition("\n")[0],
        needs=_words(kind.needs),
        use=kind.use,
        reference=kind.reference,
        parameters=parameters_of(kind),
    )


def _words(needs: frozenset[Need]) -> str:
    """Say what a method needs, as "differentiable diffusion or flow model, any score"."""
    through = needs & {Need.GRADIENT, Need.JACOBIAN}
    model = "diffusion or flow model" if needs & {Need.PATH, Need.DENOISER} else "generator"
    few = f" of {Need.FEW.value}" if Need.FEW in needs else ""
    score = "differentiable score" if Need.GRADIENT in needs else "any score"
    rest = [need.value for need in (Need.SMOOTH, Need.TENSORS, Need.DESCRIPTOR) if need in needs]
    return ", ".join([f"{'differentiable' if through else 'any'} {model}{few}", score, *rest])
