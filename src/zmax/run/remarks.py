"""What a run has to say of G and S: in the terminal when it is found, in the result and on the page ever after."""

from __future__ import annotations

import warnings

from zmax.core.errors import ZmaxWarning
from zmax.store import Journal


class Remarks:
    """Lines that are each said once."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._journal: Journal | None = None

    def keep_in(self, journal: Journal) -> None:
        """Write down what was said and will be, beside what the journal holds."""
        self._journal = journal
        self._write()

    def say(self, line: str) -> None:
        """Warn, unless that was said before."""
        if line not in self.lines:
            self.lines.append(line)
            self._write()
            warnings.warn(line, ZmaxWarning, stacklevel=3)

    def note(self, lines: tuple[str, ...]) -> None:
        """Write down what was said before the run."""
        self.lines += [line for line in lines if line not in self.lines]
        self._write()

    def _write(self) -> None:
        known = [] if self._journal is None else self._journal.get("warnings", [])
        new = [line for line in self.lines if line not in known]
        if self._journal is not None and new:
            self._journal.set("warnings", [*known, *new])
