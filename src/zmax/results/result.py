"""The result of a run: always something, best first."""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from zmax.core.budget import Ledger
from zmax.core.errors import FailedRunError, InputError
from zmax.core.generator import Generator
from zmax.core.strategy import Population
from zmax.results.archive import archive_of
from zmax.results.conditioning import ConditionResult
from zmax.results.diverse import Distance, between, dispersed, entries_of, shown
from zmax.results.filed import paged, saved
from zmax.results.front import FRONT, in_order, words
from zmax.results.history import History
from zmax.results.meeting import meeting
from zmax.results.spec import RunSpec
from zmax.results.tuning import TuneResult
from zmax.search.diversity.archive import Archive
from zmax.search.diversity.scattered import Scattered
from zmax.store import NOT_FINISHED, REFERENCE, Entry, Journal

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
        front: the samples that no other beats in all goals, where S has several, along the first of them.
        watched: what the held-out judge said of the leaders as the run went on: calls, score, held_out.
        noise: standard deviation of S between repeats of one sample, None where S is not noisy.
        history: every evaluation as columns.
        ledger: what it cost.
        began_at: what the run began at, in words; "" where that was the prior.
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
        self.history = History.of(journal.chunks(), journal.chunks, self.spec.goals)
        self.front: tuple[Entry, ...] = in_order(journal.kept(FRONT), self.spec.goals)
        self.held_since: int | None = journal.get("held since")
        self.began_at: str = journal.get("began at", "")
        self.stop_reason: str = journal.get("stop_reason", NOT_FINISHED)
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

    def diverse(
        self,
        k: int,
        distance: Distance | None = None,
        *,
        least: float | None = None,
        generator: Generator | None = None,
    ) -> list[Entry]:
        """Return k good samples that differ from each other: the best, then each time the one farthest from the others.

        Args:
            k: how many, as far as there are so many.
            distance: of two samples a number, or of a batch of samples their features (n, ...), between which the
                distance is Euclidean, and Tanimoto's where they are truth values; None for that of latents.
            least: score of a good sample; halfway from the mean of the random ones to the best if not given.
            generator: G, to choose from all that the run scored instead of what it kept; it decodes what is chosen,
                with a distance of samples all good ones.

        Raises:
            InputError: the distance is none of these.

        Example:
            >>> import torch, zmax
            >>> G = zmax.generator(torch.nn.Identity(), shape=(4,), modality="vector")
            >>> r = zmax.maximize(G, lambda x: x[:, 0], method="random", budget=200)
            >>> chosen = r.diverse(4, generator=G)
            >>> len(chosen), chosen[0].id == r.best.id
            (4, True)
        """
        return diverse(self, k, distance, least=least, generator=generator)

    @property
    def began_with(self) -> float | None:
        """The best score of what the run began at, None where that was the prior, or nothing of it had a score."""
        scores = self.history.score[(self.history.round == 0) & np.isfinite(self.history.score)]
        return float(scores.max()) if self.began_at and len(scores) else None

    @property
    def hypervolume(self) -> float | None:
        """What the front dominates, see :meth:`History.hypervolume`; None where S is one number."""
        return float(self.history.hypervolume()[-1]) if self.spec.goals and len(self.history) else None

    @property
    def front_in_words(self) -> str:
        """How many samples no other beats, and from where to where they reach; "" where S is one number."""
        return words(self.front, self.spec.goals, self.hypervolume or 0.0)

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
    def archive(self) -> Archive | Scattered | None:
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
            "began_at": self.began_at,
            "began_with": self.began_with,
            "held_since": self.held_since,
            "meeting": self.meeting,
            "best": None if best is None else figures(best),
            "front": [figures(entry) for entry in self.front],
            "goals": list(self.spec.goals),
            "hypervolume": self.hypervolume,
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
        found = self.front_in_words if self.front else f"best {best}"
        after = f"after {self.ledger.score_calls} score calls"
        return f"Result({self.spec.method}: {found} {after}, stopped by {self.stop_reason})"


def diverse(
    result: Result, k: int, distance: Distance | None, *, least: float | None, generator: Generator | None
) -> list[Entry]:
    """Choose good samples that differ; see :meth:`Result.diverse`."""
    if least is None:
        random = [e.score for e in result.reference]
        least = (result.best.score + sum(random) / len(random)) / 2 if random else -math.inf
    if generator is None:
        kept = {e.id: e for e in (*result.reference, *result.draws, *result.elites, *result.leaders)}
        pool = sorted((e for e in kept.values() if e.score >= least), key=lambda e: (-e.score, e.id))
    else:
        pool = entries_of(list(result.history.again()) if result.history.again else [], least, generator)
    samples = [e.sample for e in pool]
    if generator is not None and distance is not None:
        samples = shown(pool, generator)
    rows = dispersed(k, len(pool), between(distance, torch.stack([e.u for e in pool]), samples)) if pool else []
    chosen = [replace(pool[i], sample=samples[i]) for i in rows]
    if generator is None or distance is not None or not chosen:
        return chosen
    return [replace(e, sample=made) for e, made in zip(chosen, shown(chosen, generator), strict=True)]


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
        "why": entry.why,
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
