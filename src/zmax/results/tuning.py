"""The result of a finetune: the child, its fresh samples beside the parent's, and the curve between them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from zmax.core.budget import Ledger
from zmax.core.errors import InputError, MissingExtraError
from zmax.core.generator import Generator
from zmax.finetune.weights import Child, save_lora
from zmax.finetune.weights.tuned import FILE, child_in
from zmax.results.filed import paged, saved
from zmax.results.frontier import Frontier, frontier
from zmax.results.looks import Look
from zmax.results.spec import ConditionSpec, TrainSpec, TuneSpec
from zmax.results.still import why_still
from zmax.store import NOT_FINISHED, Entry, Journal

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Fresh:
    """Fresh samples of a generator: the numbers of a look, and some of the samples.

    Attributes:
        look: the numbers.
        entries: the first samples, with latent and score; those of parent and child have the same noises.
    """

    look: Look
    entries: tuple[Entry, ...]

    def quantile(self, share: float) -> float:
        """Return that quantile of the scores."""
        return self.look.quantile(share)


@dataclass(frozen=True)
class Curve:
    """The looks of a finetune, in order."""

    looks: tuple[Look, ...]

    def __len__(self) -> int:
        return len(self.looks)

    def to_pandas(self) -> pd.DataFrame:
        """Return one row a look.

        Raises:
            MissingExtraError: pandas is not installed.
        """
        try:
            import pandas as pd
        except ImportError as error:
            raise MissingExtraError("pandas", "pandas", "rounds.to_pandas()") from error
        return pd.DataFrame([look.row() for look in self.looks])


class TuneResult:
    """What a finetune came to.

    Attributes:
        spec: what was asked.
        rounds: the curve; `rounds.to_pandas()`.
        chosen: number of the look whose weights are returned.
        why: why those.
        checks: what was looked at before the first update.
        moves: which weights move.
        recipe: how they are moved.
        ledger: what it cost.
        stop_reason: "until", the limit that was reached, "interrupted", or "failed: ...".
        warnings: what was odd about G or S.
    """

    spec: TrainSpec
    PAGE: ClassVar[str] = "zmax.report.tuning:write_tuning"  # what writes its page

    def __init__(self, journal: Journal, child: Child | None = None) -> None:
        self._journal = journal
        if child is not None:
            self.child = child
        data = journal.get("spec")
        kind = ConditionSpec if data["verb"] == "condition" else TuneSpec
        self.spec = kind.from_json(data)
        self.rounds = Curve(tuple(Look(**look) for look in journal.get("looks", [])))
        self.chosen, self.why = journal.get("chosen", [0, "no look yet"])
        self.checks: list[list[Any]] = journal.get("checks", [])
        self.moves: str = journal.get("moves", "")
        self.recipe: dict[str, float] = journal.get("recipe", {})
        self.ledger: Ledger = journal.ledger()
        self.stop_reason: str = journal.get("stop_reason", NOT_FINISHED)
        self.warnings: tuple[str, ...] = tuple(journal.get("warnings", []))

    @property
    def generator(self) -> Generator:
        """The child, a Generator for every other verb."""
        return self.child.generator

    @cached_property
    def child(self) -> Child:
        """The child with the weights that moved."""
        if "generator" in self.spec.objects:
            raise InputError(
                "the parent of this finetune lived only in its program",
                remedy=f"zmax.resume({str(self.folder)!r}, generator=...).generator",
            )
        return child_in(self.weights)

    def save_lora(self, folder: str | Path) -> None:
        """Write the low-rank weights of a pipeline's child as a LoRA that diffusers loads by itself.

        Raises:
            CapabilityError: the child is no pipeline's, or has no low rank.
        """
        save_lora(self.child, folder)

    @property
    def weights(self) -> bytes:
        """The weights that moved, as a safetensors file with the card of the child."""
        blob = self._journal.blob("child")
        if blob is None:
            raise InputError("this finetune has no child yet", remedy="let it go on to its first look")
        return blob

    def entries(self, look: int) -> tuple[Entry, ...]:
        """Return the samples that were kept of a look, in the order of their noises."""
        return tuple(sorted(self._journal.kept(f"look {look}"), key=lambda entry: entry.id))

    @property
    def before(self) -> Fresh:
        """Fresh samples of the parent."""
        return Fresh(self.rounds.looks[0], self.entries(0))

    @property
    def after(self) -> Fresh:
        """Fresh samples of the child, of the same noises."""
        return Fresh(self.rounds.looks[self.chosen], self.entries(self.chosen))

    @property
    def frontier(self) -> Frontier | None:
        """What was gained against KL to the parent, beside best-of-n of the parent; None where no KL is known."""
        return frontier(self.rounds.looks, self.chosen)

    @property
    def still(self) -> str:
        """Why the score of fresh samples has not risen by the last look, "" where it has."""
        return why_still(self.rounds.looks, self.checks, self.recipe)

    @property
    def failures(self) -> dict[int, str]:
        """Reasons of the evaluations that failed, by their number; those of looks are negative."""
        chunks = self._journal.chunks()
        return {c.first_id + i: reason for c in chunks for i, reason in c.failures.items() if len(c.score)}

    @property
    def folder(self) -> Path | None:
        """Where the run is stored, None while it is only in memory."""
        return self._journal.folder

    def save(self, folder: str | Path) -> Path:
        """Write the run into a folder, with the child's weights; `zmax.load_generator("tuned:FOLDER")` reads it.

        Raises:
            InputError: the folder already holds another run.
        """
        path = saved(self._journal, folder)
        (path / FILE).write_bytes(self.weights)
        return path

    def report(self, file: str | Path | None = None) -> Path:
        """Write the run's page: one self-contained HTML file; `report.html` in the run's folder by default."""
        return paged(self, self.PAGE, file)

    def summary(self) -> dict[str, Any]:
        """Return the main figures as plain data."""
        looks = self.rounds.looks
        return {
            "generator": self.spec.generator,
            "score": self.spec.score,
            "method": self.spec.method,
            "reason": self.spec.reason,
            "stop_reason": self.stop_reason,
            "warnings": list(self.warnings),
            "moves": self.moves,
            "chosen": self.chosen,
            "why": self.why,
            "before": looks[0].row() if looks else None,
            "after": looks[self.chosen].row() if looks else None,
            "still": self.still,
            "checks": self.checks,
            "ledger": asdict(self.ledger),
            "command": self.spec.command(),
            "folder": None if self.folder is None else str(self.folder),
        }

    def __repr__(self) -> str:
        looks = self.rounds.looks
        gain = f"{looks[0].score:.4g} -> {looks[self.chosen].score:.4g}" if looks else "no look"
        return f"TuneResult({self.spec.method}: mean score {gain}, stopped by {self.stop_reason})"
