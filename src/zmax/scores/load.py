"""A score from the words a user types: a name, a piece of Python, or arithmetic over them."""

from __future__ import annotations

import re

from zmax.core.errors import InputError, UnknownNameError
from zmax.core.global_random import left_as_found
from zmax.core.imports import load_attribute, looks_like_import
from zmax.core.score import Score
from zmax.scores.callable import score
from zmax.scores.catalogue import build, scores
from zmax.scores.expression import parse
from zmax.scores.remote import SCHEMES, RemoteScore

FORMS = '"brightness", "attribute:glasses", "file.py:attr", "pkg.mod:attr", "http://host/path" or "0.7*a + 0.3*b"'


def load_score(spec: str) -> Score:
    """Return the score that `spec` describes.

    Args:
        spec: a name with its argument ("attribute:glasses"), Python code ("pkg.mod:attr", "file.py:attr"), the address
            of a server (:class:`~zmax.scores.RemoteScore`), or arithmetic over those ("0.7*attribute:glasses +
            0.3*brightness", "min(a, b)"; see :func:`~zmax.scores.expression.parse`). Python code may be a Score, a
            class made without arguments, or any callable.

    Raises:
        InputError: it cannot be read, or what it names cannot be used.
        UnknownNameError: no score is called so; the message offers the nearest names.

    Example:
        >>> S = load_score("0.5*brightness - 0.01*colourfulness")
        >>> S.name, S.differentiable, [term.name for term in S.terms]
        ('0.5*brightness - 0.01*colourfulness', True, ['brightness', 'colourfulness'])
    """
    if not isinstance(spec, str):
        got = f"{type(spec).__name__}; zmax.score(...) wraps a callable"  # type: ignore[unreachable]
        raise InputError("the description of a score", expected=FORMS, got=got)
    with left_as_found():
        found = parse(spec, resolve)
    found.source = spec
    return found


def resolve(name: str) -> Score:
    """Return the score of one name, without arithmetic.

    Raises:
        InputError: it is Python code that cannot be used.
        UnknownNameError: nothing is called so.
    """
    prefix, colon, argument = name.partition(":")
    if prefix in scores:
        return build(prefix, argument if colon else None)
    if name.startswith(SCHEMES):
        return RemoteScore(name)
    if looks_like_import(name):
        return _from_python(name, load_attribute(name))
    if name.endswith(".py"):
        raise InputError(f"a Python file as a score: {name!r}", expected="file.py:attr", remedy=f"{name}:my_function")
    operator = _swallowed_operator(name)
    if operator:
        spaced = re.sub(rf"{re.escape(operator)}", f" {operator} ", name)
        raise InputError(f"no score is called {name!r}", remedy=f"put spaces around {operator!r}: {spaced}")
    raise UnknownNameError("score", prefix, scores, remedy="see `zmax list`; your own: file.py:attr")


def _from_python(spec: str, value: object) -> Score:
    attribute = spec.rpartition(":")[2]
    if isinstance(value, type):
        try:
            value = value()
        except Exception as error:
            raise InputError(
                f"the class {spec} cannot be made without arguments",
                got=f"{type(error).__name__}: {error}",
                remedy="give every argument a default, or name an instance",
            ) from error
    if isinstance(value, Score):
        return value
    if not callable(value):
        raise InputError(f"{spec} as a score", expected="a Score or a callable", got=type(value).__name__)
    return score(value, name=attribute)


def _swallowed_operator(name: str) -> str | None:
    """Return "-" or "/" if `name` is what is left of "a-b" or "a/b" written without spaces."""
    for operator in "-/":
        parts = name.split(operator)
        if len(parts) > 1 and all(p.partition(":")[0] in scores or re.fullmatch(r"[\d.]+", p) for p in parts):
            return operator
    return None
