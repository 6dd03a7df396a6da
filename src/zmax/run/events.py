"""What the loop tells whoever watches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from zmax.core.budget import Ledger
from zmax.results.spec import RunSpec


@dataclass(frozen=True)
class Snapshot:
    """Where a run stands.

    Attributes:
        best: best score so far, None while every evaluation failed.
        plausibility: of the best sample.
        share: share of the tightest limit that is spent.
        ledger: cost so far.
    """

    best: float | None
    plausibility: float | None
    share: float
    ledger: Ledger


class Listener(Protocol):
    """Watches a run and takes no part in it; an exception it raises stops the run, resumably."""

    def started(self, spec: RunSpec) -> None:
        """Begin to watch."""
        ...

    def updated(self, snapshot: Snapshot) -> None:
        """See a batch done; called after each one, so it must be quick."""
        ...

    def finished(self, stop_reason: str) -> None:
        """See the end, whatever it is."""
        ...


class Silent:
    """A listener that shows nothing."""

    def started(self, spec: RunSpec) -> None:
        """Show nothing."""

    def updated(self, snapshot: Snapshot) -> None:
        """Show nothing."""

    def finished(self, stop_reason: str) -> None:
        """Show nothing."""
