"""A live line in the terminal: best score, plausibility, score calls, time left."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from zmax.core.budget import Ledger
from zmax.results.spec import Question

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

_INTERVAL = 1.0


@dataclass(frozen=True)
class Snapshot:
    """Where a run stands.

    Attributes:
        best: best score so far, None while every evaluation failed; of a finetune, the median of the last round.
        plausibility: of the best sample.
        share: share of the tightest limit that is spent.
        ledger: cost so far.
        label: what `best` is.
        running: samples that workers are scoring.
        feasible: whether the best sample meets the constraints.
    """

    best: float | None
    plausibility: float | None
    share: float
    ledger: Ledger
    label: str = "best"
    running: int = 0
    feasible: bool = True


class Listener(Protocol):
    """Watches a run and takes no part in it; an exception it raises stops the run, resumably."""

    def started(self, spec: Question) -> None:
        """Begin to watch."""
        ...

    def updated(self, snapshot: Snapshot) -> None:
        """See a batch done; called after each one, and after each sample of workers, so it must be quick."""
        ...

    def noted(self, line: str) -> None:
        """Read a line that should stay, such as what fresh samples of a finetune are like."""
        ...

    def finished(self, stop_reason: str) -> None:
        """See the end, whatever it is."""
        ...


class Silent:
    """A listener that shows nothing."""

    def started(self, spec: Question) -> None:
        """Show nothing."""

    def updated(self, snapshot: Snapshot) -> None:
        """Show nothing."""

    def noted(self, line: str) -> None:
        """Show nothing."""

    def finished(self, stop_reason: str) -> None:
        """Show nothing."""


class RichProgress:
    """Draws a progress bar on standard error, once a second."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._next = 0.0

    def started(self, spec: Question) -> None:
        """Open the bar."""
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        self._bar = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[figures]}"),
            console=self._console or Console(stderr=True),
            auto_refresh=False,
        )
        self._bar.start()
        self._task = self._bar.add_task(spec.method, total=1.0, figures="")

    def updated(self, snapshot: Snapshot) -> None:
        """Move the bar."""
        now = time.monotonic()
        if self._bar is None or self._task is None or (now < self._next and snapshot.share < 1.0):
            return
        self._next = now + _INTERVAL
        self._bar.update(self._task, completed=snapshot.share, figures=_figures(snapshot), refresh=True)

    def noted(self, line: str) -> None:
        """Print the line above the bar."""
        if self._bar is not None:
            self._bar.console.print(line, markup=False, highlight=False, soft_wrap=True)

    def finished(self, stop_reason: str) -> None:
        """Close the bar."""
        if self._bar is not None:
            self._bar.stop()


def as_listener(progress: bool | Listener | None) -> Listener:
    """Return the listener itself, a bar for True, silence for False, and a bar where a person watches for None."""
    if progress is not None and not isinstance(progress, bool):
        return progress
    return RichProgress() if (sys.stderr.isatty() if progress is None else progress) else Silent()


def _figures(snapshot: Snapshot) -> str:
    best = "no score yet" if snapshot.best is None else f"{snapshot.label} [green]{snapshot.best:.4g}[/]"
    best = best if snapshot.feasible else "none meets the constraints yet"
    plausibility = "" if snapshot.plausibility is None else f"  plausibility {snapshot.plausibility:.2f}"
    failed = f"  [red]failed {snapshot.ledger.failures}[/]" if snapshot.ledger.failures else ""
    spent = snapshot.ledger.seconds
    left = f"  {_clock(spent * (1 / snapshot.share - 1))} left" if snapshot.share > 0 else ""
    running = f"  {snapshot.running} running" if snapshot.running else ""
    return f"{best}{plausibility}  calls {snapshot.ledger.score_calls}{failed}{running}  {_clock(spent)}{left}"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}" if minutes >= 60 else f"{minutes}:{rest:02}"
