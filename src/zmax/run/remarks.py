"""What a run has to say of G and S: in the terminal when it is found, in the result and on the page ever after."""

from __future__ import annotations

import warnings

from zmax.core.errors import ZmaxWarning


class Remarks:
    """Lines that are each said once."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        """Warn, unless that was said before."""
        if line not in self.lines:
            self.lines.append(line)
            warnings.warn(line, ZmaxWarning, stacklevel=3)
