"""The result of a run: always something, best first."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from zmax.core.budget import Ledger
from zmax.core.errors import FailedRunError, InputError
from zmax.core.strategy import Population
from zmax.results.archive import archive_of
from zmax.results.conditioning import ConditionResult
from zmax.results.filed import paged, saved
from zmax.results.history import History
from zmax.results.meeting import meeting
from zmax.results.spec import RunSpec
from zmax.results.tuning import TuneResult
from zmax.search.diversity.archive import Archive
from zmax.store import REFERENCE, Entry, Journal

PAGE = "zmax.report:write_report"
"""What writes the page of a result."""


class Result:
    """What a run found, what it cost, and all it saw.

    Attributes:
        spec: what was asked.
        leaders: the best distinct samples, best first; where none meets the constraints, the nearest to that.
        reference: samples of the prior scored before the method began, for comparison.
        draws: decoded samples of the tilted law, where the verb was `sample`.
        elites: the best sample of every kind, best first, where the method keeps an archive.
        watched: what the held-out judge said of the leaders as the run went on: calls, score, held_out.
        noise: standard deviation of S between repeats of one sample, None where S is not noisy.
        history: every evaluation as columns.
        ledger: what it cost.
        held_since: the score call that found the best one, where it lies at the rim at which a guard stops points;
            None where the guard does not hold it.
        stop_reason: the limit that was reached, "interrupted", or "failed: ...".
        warnings: what was odd about G or S.
        meeting: how many samples meet the constraints, in words; "" where there are none.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self.spec = RunSpec.from_json(journal.get("spec"))
        leaders = journal.kept("leader")
        self.leaders: tuple[Entry, ...] = tuple([e for e in leaders if e.feasible] or leaders)
        self.reference: tuple[Entry, ...] = tuple(sorted(journal.kept("reference"), key=lambda e: e.id))
        self.draws: tuple[Entry, ...] = tuple(sorted(journal.kept("draw"), key=lambda e: -e.id))
        self.elites: tuple[Entry, ...] = tuple(journal.kept("elite"))
        self.watched: list[dict[str, float]] = journal.get("watched", [])
        self.noise: float | None = journal.get("noise")
        self.history = History.of(journal.chunks())
        self.held_since: int | None = journal.get("held since")
        self.stop_reason: str = journal.get("stop_reason", "not finished")
        self.meeting: str = meeting(self.spec, self.history, self.leaders)
        unmet = [self.meeting] if self.leaders and not self.leaders[0].feasible else []
        self.warnings: tuple[str, ...] = (*unmet, *journal.get("warnings", []))
        self.ledger: Ledger = journal.ledger()

    @property
    def best(self) -> Entry:
        """The best final score seen in the whole run, among samples that meet the constraints where any does.

        Else it is the nearest to that, and its `feasible` is False.

        Raises:
            FailedRunError: every evaluation failed.
        """
        if not self.leaders:
            reasons = list(self.history.failures.values())
            raise FailedRunError("no sample got a score", got=reasons[0] if reasons else "no evaluation")
        return self.leaders[0]

    def top(self, k: int | None = None) -> list[Entry]:
        """Return the best k distinct samples, all that were kept if k is None.

        Points closer than half the usual distance between prior draws count as one, the better stays.

        Raises:
            InputError: more are asked for than the run kept.
        """
        if k is not None and k > self.spec.keep:
            raise InputError(f"top({k})", expected=f"at most {self.spec.keep}", remedy=f"run with keep={k}")
        return list(self.leaders[:k])

    @property
    def population(self) -> Population:
        """The draws that the method stands for, with their weights; the last round's points if it names none."""
        drawn = self._journal.population()
        if drawn is not None:
            return drawn
        final = [(c.round, c.u, c.score) for c in self._journal.chunks() if c.u is not None and c.round != REFERENCE]
        if not final:
            return Population.equal(torch.zeros(0, 0), torch.zeros(0))
        last = [(u, score) for round_, u, score in final if round_ == final[-1][0]]
        return Population.equal(torch.cat([u for u, _ in last]), torch.cat([score for _, score in last]))

    @property
    def approximate(self) -> bool:
        """Whether the draws only approximate the tilted law, as those of guidance do, whatever the budget."""
        return self.population.approximate

    @property
    def archive(self) -> Archive | None:
        """The archive of a quality-diversity method, with its coverage and QD-score; None for other methods."""
        found = archive_of(self._journal)
        return None if found is None else found[0]

    @property
    def descriptors(self) -> tuple[str, ...]:
        """Names of the archive's descriptors."""
        found = archive_of(self._journal)
        return () if found is None else found[1]

    @property
    def folder(self) -> Path | None:
        """Where the run is stored, None while it is only in memory."""
        return self._journal.folder

    def save(self, folder: str | Path) -> Path:
        """Write the run into a folder that `load_result` and `zmax report` read.

        Raises:
            InputError: the folder already holds another run.
        """
        return saved(self._journal, folder)

    def report(self, file: str | Path | None = None) -> Path:
        """Write the run's page: one self-contained HTML file.

        Args:
            file: where to; `report.html` in the run's folder by default.

        Returns:
            The file written.
        """
        return paged(self, PAGE, file)

    def summary(self) -> dict[str, Any]:
        """Return the main figures as plain data."""
        best = self.leaders[0] if self.leaders else None
        return {
            "generator": self.spec.generator,
            "score": self.spec.score,
            "method": self.spec.method,
            "stop_reason": self.stop_reason,
            "warnings": list(self.warnings),
            "held_since": self.held_since,
            "meeting": self.meeting,
            "best": None if best is None else figures(best),
            "top": [figures(entry) for entry in self.leaders],
            "reference": [figures(entry) for entry in self.reference],
            "draws": [figures(entry) for entry in self.draws],
            "approximate": self.approximate,
            "noise": self.noise,
            "ledger": asdict(self.ledger),
            "command": self.spec.command(),
            "folder": None if self.folder is None else str(self.folder),
        }

    def __repr__(self) -> str:
        best = f"{self.leaders[0].score:.4g}" if self.leaders else "none"
        best += "" if not self.leaders or self.leaders[0].feasible else ", which misses a constraint,"
        calls = self.ledger.score_calls
        return f"Result({self.spec.method}: best {best} after {calls} score calls, stopped by {self.stop_reason})"


def figures(entry: Entry) -> dict[str, Any]:
    """Return an entry's numbers, without the latent and the sample."""
    return {
        "id": entry.id,
        "score": entry.score,
        "plausibility": entry.plausibility,
        "realism": entry.realism,
        "held_out": entry.held_out,
        "parts": entry.parts,
        "feasible": entry.feasible,
    }


def load_result(folder: str | Path, *, damaged: bool = False) -> Result | TuneResult | ConditionResult:
    """Read a run from its folder, finished or not; nothing there is changed, and no code runs that it names.

    Args:
        folder: where it is.
        damaged: read what is whole of a damaged run, into memory.

    Raises:
        InputError: the folder holds no run, or one that another version of zmax wrote.
        StoreError: its file is damaged.

    Example:
        >>> import tempfile, zmax
        >>> from zmax.testing import linear_gaussian, quadratic_score
        >>> import torch
        >>> law = linear_gaussian(torch.eye(3), torch.zeros(3))
        >>> S = quadratic_score(None, torch.ones(3))
        >>> r = zmax.maximize(law.generator(), S, method="random", budget=100)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     zmax.load_result(r.save(folder + "/run")).best.score == r.best.score
        True
    """
    journal = Journal.open(folder, damaged=damaged)
    kinds: dict[str, type[TuneResult] | type[ConditionResult]] = {"finetune": TuneResult, "condition": ConditionResult}
    with journal.reading("what the run was asked, and found"):
        return kinds.get(journal.get("spec")["verb"], Result)(journal)
