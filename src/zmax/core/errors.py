"""One tree of errors; each message names the thing, what was expected, what came, and what to do about it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import ClassVar


class ZmaxError(Exception):
    """Base of every error that zmax raises on purpose.

    Args:
        thing: what is wrong, in a few words.
        expected: what would have been right.
        got: what came instead.
        remedy: what the reader can do about it.
    """

    exit_code: ClassVar[int] = 2

    def __init__(self, thing: str, *, expected: object = None, got: object = None, remedy: str = "") -> None:
        lines = [thing]
        if expected is not None:
            lines.append(f"  expected: {expected}")
        if got is not None:
            lines.append(f"  got:      {got}")
        if remedy:
            lines.append(f"  remedy:   {remedy}")
        super().__init__("\n".join(lines))


class ZmaxWarning(UserWarning):
    """What a user should know of a generator or a score that works, but not as it seems to."""


class InputError(ZmaxError):
    """An argument, name, file or specification that cannot be used."""


class UnknownNameError(InputError):
    """A name that no registry holds; the message offers the nearest ones."""

    def __init__(self, kind: str, name: str, known: Iterable[str], *, remedy: str = "") -> None:
        names = sorted(known)
        close = difflib.get_close_matches(name, names, n=3, cutoff=0.4)
        hint = f"did you mean {' or '.join(repr(c) for c in close)}?" if close else remedy or "see `zmax list`"
        super().__init__(f"no {kind} is called {name!r}", expected=", ".join(names) or "none known", remedy=hint)


class ShapeError(InputError):
    """A tensor or a batch of the wrong size."""


class CapabilityError(InputError):
    """A method that needs something (gradients, a denoiser) which this generator or score cannot give."""


class ProposalError(ZmaxError):
    """A method that proposes what cannot be looked at; not a failure of the samples, so the run ends."""


class WorkerError(InputError):
    """Processes that cannot score at all; not a failure of the samples, so the run ends."""


class MissingExtraError(InputError):
    """An optional package that is not installed."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(f"{purpose} needs the package {package!r}", remedy=f"pip install 'zmax[{extra}]'")


class FailedRunError(ZmaxError):
    """The score or the generator fails too often to go on; everything scored so far is kept.

    Attributes:
        result: the run's `Result` up to here, where there is one.
    """

    exit_code: ClassVar[int] = 3
    result: object = None


class StoreError(ZmaxError):
    """The run's folder cannot be read or written; everything journalled so far is kept."""

    exit_code: ClassVar[int] = 3


USERS = (Exception, SystemExit)
"""What a user's score or generator may raise without ending the run; `sys.exit()` is one sample's failure, too."""

LONGEST = 500
"""Characters that are kept of a reason."""


def reason(error: BaseException) -> str:
    """Return what is written down of an error: of a long text beginning and end.

    Example:
        >>> len(reason(ValueError("no " * 1000)))
        500
    """
    text = f"{type(error).__name__}: {error}"
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 105]} ... {text[-100:]}"
