"""Resolve what the user named into what the loop needs, and refuse early what cannot work."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any, cast

from zmax.core.errors import CapabilityError, InputError
from zmax.core.generator import Generator
from zmax.core.imports import load_attribute
from zmax.core.score import Score
from zmax.core.strategy import Strategy
from zmax.generators import load_generator
from zmax.scores import load_score, score
from zmax.search import methods
from zmax.store import holds_run

AUTO = "auto"


def as_generator(generator: object) -> Generator:
    """Load a generator by specification, or return it as it is.

    Raises:
        InputError: it is neither.
    """
    if isinstance(generator, str):
        return load_generator(generator)
    if isinstance(generator, Generator):
        return generator
    remedy = "wrap it: zmax.generator(fn, shape=(100,))"
    raise InputError("generator", expected="a Generator or its name", got=type(generator).__name__, remedy=remedy)


def as_score(given: Any) -> Score:
    """Load a score by specification, wrap a callable, or return a Score as it is."""
    return load_score(given) if isinstance(given, str) else score(given)


def as_strategy(method: str | Strategy[Any], params: dict[str, Any]) -> Strategy[Any]:
    """Construct the method of that name (or "module:Class"), or return an instance as it is.

    Raises:
        InputError: the name, or an argument of the constructor, is not known.
    """
    if not isinstance(method, str):
        return method
    kind = cast("type[Strategy[Any]]", load_attribute(method) if ":" in method else methods.load(method))
    return build(kind, method, params)


def require_gradients(strategy: Strategy[Any], generator: Generator, target: Score) -> None:
    """Raise CapabilityError if the method needs gradients that G or S cannot give."""
    if strategy.needs_grad and not (generator.differentiable and target.differentiable):
        blind = generator.name if not generator.differentiable else target.name
        raise CapabilityError(
            f"{method_name(strategy)!r} follows gradients, and {blind!r} gives none",
            remedy="choose a method for black boxes: 'cma', 'snes', 'random', or 'auto'",
        )


def build(kind: type[Strategy[Any]], name: str, params: dict[str, Any]) -> Strategy[Any]:
    """Construct a method, turning text from a command line into the types its constructor asks for."""
    known = inspect.signature(kind).parameters
    for given in params:
        if given not in known:
            raise InputError(f"{name!r} has no parameter {given!r}", expected=", ".join(known) or "none")
    return kind(**{given: _parse(given, value, known[given]) for given, value in params.items()})


def method_name(strategy: Strategy[Any]) -> str:
    """Return the name under which `as_strategy` finds the method's class."""
    kind = type(strategy)
    for name in methods:
        if methods.load(name) is kind:
            return name
    return f"{kind.__module__}:{kind.__qualname__}"


def parameters(strategy: Strategy[Any]) -> dict[str, Any]:
    """Return the constructor arguments of a method that differ from its defaults."""
    signature = inspect.signature(type(strategy)).parameters
    values = {name: getattr(strategy, name) for name in signature}
    return {name: value for name, value in values.items() if value != signature[name].default}


def new_folder(out: str | Path | None) -> Path | None:
    """Return the folder of a run that is to begin.

    Raises:
        InputError: it holds another run, which is never overwritten, or it is a file.
    """
    if out is None:
        return None
    path = Path(out)
    if path.exists() and not path.is_dir():
        raise InputError(f"cannot write a run to {str(out)!r}", expected="a folder", got="a file")
    if holds_run(path):
        raise InputError(
            f"{str(out)!r} already holds a run",
            expected="a new or empty folder",
            remedy=f"`zmax resume {out}` goes on with it; another folder starts afresh",
        )
    return path


def _parse(name: str, value: Any, parameter: inspect.Parameter) -> Any:
    if not isinstance(value, str):
        return value
    kind = str(parameter.annotation)
    if value == "None" and "None" in kind:
        return None
    try:
        if "bool" in kind:
            return {"true": True, "false": False}[value.lower()]
        if "float" in kind:
            return float(value)
        return int(value) if "int" in kind else value
    except (KeyError, ValueError) as error:
        raise InputError(f"parameter {name!r}", expected=kind, got=repr(value)) from error
