"""Requests for scores as words: those of a command line, and of the name of a generator that is held at one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qs, urlencode

from zmax.core.errors import InputError

Request = float | Sequence[float | None] | Mapping[str, float | None]
"""A score, or one for each score that the generator was conditioned on; None where nothing is asked for."""

NOTHING = "none"


def request_of(words: Sequence[str]) -> Request | None:
    """Read a request.

    Args:
        words: a number; or one for each score, "none" where nothing is asked for; or NAME=NUMBER of those wanted.

    Returns:
        The request, None for no words.

    Raises:
        InputError: a word is no number, or only some of them are named.

    Example:
        >>> request_of(["-0.19"]), request_of(["0.3", "none"]), request_of(["attribute:glasses=2"])
        (-0.19, [0.3, None], {'attribute:glasses': 2.0})
    """
    if not words:
        return None
    named = [word.rpartition("=") for word in words]
    if all(equals for _, equals, _ in named):
        return {name: _number(value) for name, _, value in named}
    found = [_number(word) for word in words]
    first = found[0]
    return first if len(found) == 1 and first is not None else found


def query_of(score: Request | None, away_from: Request | None = None, guidance: float = 0.0) -> str:
    """Write the arguments of `at` as a query, which :func:`asked_in` reads.

    Example:
        >>> query_of(-0.19), query_of({"attribute:glasses": 2.0}, guidance=1.5)
        ('score=-0.19', 'score=attribute:glasses%3D2.0&guidance=1.5')
    """
    known = {"score": _words(score), "away_from": _words(away_from), "guidance": [str(guidance)] if guidance else []}
    return urlencode(known, doseq=True, safe=":")


def asked_in(query: str) -> dict[str, Any]:
    """Return the arguments of `at` that a query gives.

    Raises:
        InputError: it holds something else.

    Example:
        >>> asked_in("score=-0.19&guidance=2")
        {'score': -0.19, 'away_from': None, 'guidance': 2.0}
    """
    found = parse_qs(query, keep_blank_values=True)
    unknown = found.keys() - {"score", "away_from", "guidance"}
    if unknown or len(found.get("guidance", [])) > 1:
        expected = "score=NUMBER, perhaps with away_from=NUMBER and one guidance=NUMBER"
        raise InputError("a request in a generator's name", expected=expected, got=repr(query))
    guidance = _number(found.get("guidance", ["0"])[0])
    return {
        "score": request_of(found.get("score", [])),
        "away_from": request_of(found["away_from"]) if "away_from" in found else None,
        "guidance": guidance or 0.0,
    }


def _words(request: Request | None) -> list[str]:
    if request is None:
        return []
    if isinstance(request, Mapping):
        return [f"{name}={_word(value)}" for name, value in request.items()]
    return [_word(value) for value in ([request] if isinstance(request, (int, float)) else request)]


def _word(value: float | None) -> str:
    return NOTHING if value is None else str(float(value))


def _number(word: str) -> float | None:
    if word.strip().lower() == NOTHING:
        return None
    try:
        return float(word)
    except ValueError as error:
        raise InputError("a score that is asked for", expected="a number, or NAME=NUMBER", got=repr(word)) from error
