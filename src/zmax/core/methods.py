"""Every method by name, whatever room it lives in, and as data for tables in the docs and on the command line."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass, field
from typing import Any, TypeVar

from zmax.core.errors import InputError
from zmax.core.registry import Registry
from zmax.core.start import Starts
from zmax.core.strategy import Gives, Need, Strategy
from zmax.core.tuner import Tuner, conditioners, parameters_of, tuners

MethodT = TypeVar("MethodT", Strategy[Any], Tuner[Any])

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
        begins: what it makes of a start, "" where it can take none.
        parameters: constructor arguments with their defaults.
        constraints: what those of a score may be on: "samples, latents", "samples", or "" where it takes none.
        goals: how it looks for the front of several, "" where it takes one score.
        categories: how it moves those of latents, "" where it can have none.
    """

    name: str
    road: str
    summary: str
    needs: str
    use: str
    reference: str
    parameters: dict[str, Any] = field(default_factory=dict)
    begins: str = ""
    constraints: str = ""
    goals: str = ""
    categories: str = ""


def methods() -> list[MethodInfo]:
    """Return all methods, those of installed packages included, sorted by name.

    Example:
        >>> import zmax
        >>> [m.name for m in zmax.methods()]
        ['adjoint', 'alignprop', 'awm', 'casmopolitan', ...]
    """
    named = [(name, table.load(name)) for table in (registry, tuners, conditioners) for name in table]
    return [_describe(name, kind) for name, kind in sorted(named, key=lambda pair: pair[0])]


def samplers() -> list[str]:
    """Return the names of the methods that draw from the tilted law."""
    return [name for name in registry if Gives.DRAWS in registry.load(name).gives]


def build(kind: type[MethodT], name: str, params: dict[str, Any]) -> MethodT:
    """Construct a method, turning text from a command line into the types its constructor asks for."""
    known = inspect.signature(kind).parameters
    for given in params:
        if given not in known:
            raise InputError(f"{name!r} has no parameter {given!r}", expected=", ".join(known) or "none")
    return kind(**{given: _parse(given, value, known[given]) for given, value in params.items()})


def _describe(name: str, kind: type[Strategy[Any]] | type[Tuner[Any]]) -> MethodInfo:
    return MethodInfo(
        name=name,
        road=kind.__module__.split(".")[1] if kind.__module__.startswith("zmax.") else "search",
        summary=(inspect.getdoc(kind) or "").partition("\n")[0],
        needs=_words(kind.needs),
        use=kind.use,
        reference=kind.reference,
        parameters=parameters_of(kind),
        begins=kind.begins.value if issubclass(kind, Strategy) and kind.begins else "",
        constraints=_limited(kind),
        goals=_aiming(kind),
        categories=_moved(kind),
    )


def _limited(kind: type[Strategy[Any]] | type[Tuner[Any]]) -> str:
    """Say what constraints of a score may be on."""
    if not issubclass(kind, Strategy):
        return ""
    return "samples" if Need.BETWEEN in kind.needs else "samples, latents"


def _aiming(kind: type[Strategy[Any]] | type[Tuner[Any]]) -> str:
    """Say how a method looks for the front of several goals; see :class:`~zmax.kit.scalarised.Scalarised`."""
    if not issubclass(kind, Strategy):
        return ""
    if kind.begins in (Starts.ARCHIVE, Starts.DRAWS):
        return "all alike"
    if Need.GRADIENT in kind.needs:
        return "each row heads for another part of the front"
    again = kind.begins is not None and kind.begins is not Starts.PATH
    return "each turn heads for another part of the front" + (", from the best known there" if again else "")


def _moved(kind: type[Strategy[Any]] | type[Tuner[Any]]) -> str:
    """Say how categories of latents are moved."""
    if not issubclass(kind, Strategy) or kind.needs & {Need.PATH, Need.DENOISER}:
        return ""
    if Need.CATEGORIES in kind.needs:
        return "one after the other"
    return "one-hot, by the gradient of their softmax" if kind.needs & {Need.GRADIENT, Need.JACOBIAN} else "as their u"


def _words(needs: frozenset[Need]) -> str:
    """Say what a method needs, as "differentiable diffusion or flow model, any score"."""
    through = needs & {Need.GRADIENT, Need.JACOBIAN}
    model = "diffusion or flow model" if needs & {Need.PATH, Need.DENOISER} else "generator"
    if Need.ENCODER in needs:
        model = "variational autoencoder"
    if Need.LIKELIHOOD in needs:
        model = "diffusion or flow model, or autoencoder"
    few = f" of {Need.FEW.value}" if Need.FEW in needs else ""
    score = "differentiable score" if Need.GRADIENT in needs else "any score"
    rest = [need.value for need in (Need.CATEGORIES, Need.SMOOTH, Need.TENSORS, Need.DESCRIPTOR) if need in needs]
    return ", ".join([f"{'differentiable' if through else 'any'} {model}{few}", score, *rest])


def _parse(name: str, value: Any, parameter: inspect.Parameter) -> Any:
    """Turn text into the type that the constructor's annotation names."""
    kinds = set(re.findall(r"\w+", str(parameter.annotation)))
    if not isinstance(value, str) or "Literal" in kinds or "str" in kinds - {"None"}:
        return value
    if value == "None" and "None" in kinds:
        return None
    try:
        if "bool" in kinds:
            return {"true": True, "1": True, "false": False, "0": False}[value.lower()]
        return int(value) if "int" in kinds and "float" not in kinds else float(value)
    except (KeyError, ValueError) as error:
        raise InputError(f"parameter {name!r}", expected=parameter.annotation, got=repr(value)) from error
