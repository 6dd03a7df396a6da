"""Limits of a run and what it has cost so far, in the same units."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from zmax.core.errors import InputError
from zmax.core.setting import AMOUNT, COUNT, LIMITS, Setting, require

DEFAULT_CALLS = 2000
"""Score calls of a run that is given no limit."""

RECALLS = 10
"""A run ends once so many times as many samples were known from before as score calls were allowed."""

MEASURED = ("seconds", "peak_memory")
"""What a ledger does not count but measures, each process for itself."""


@dataclass(frozen=True)
class Budget:
    """Limits; the run stops at the first one reached. Unset limits do not bind.

    Attributes:
        score_calls: samples scored.
        nfe: network evaluations of the generator, forward, one per sample.
        score_grads: samples whose score was differentiated.
        seconds: wall-clock time spent in the run.

    Example:
        >>> Budget.of(2000)
        Budget(score_calls=2000, nfe=None, score_grads=None, seconds=None)
    """

    score_calls: Annotated[
        int | None,
        Setting(f"Score calls; {DEFAULT_CALLS} if no limit is given.", COUNT, panel=LIMITS, flags=("-n", "--calls")),
    ] = None
    nfe: Annotated[int | None, Setting("Forward network evaluations of the generator.", COUNT, panel=LIMITS)] = None
    score_grads: Annotated[int | None, Setting("Samples whose score is differentiated.", COUNT, panel=LIMITS)] = None
    seconds: Annotated[float | None, Setting("Wall-clock time.", AMOUNT, metavar="S", panel=LIMITS)] = None

    def __post_init__(self) -> None:
        if all(value is None for value in vars(self).values()):
            raise InputError("a budget without any limit", remedy="give an int (score calls) or Budget(seconds=60)")
        require(self, "budget ")

    @classmethod
    def of(cls, budget: int | Budget) -> Budget:
        """Read an int as that many score calls.

        Raises:
            InputError: neither a positive int nor a Budget.
        """
        if isinstance(budget, Budget):
            return budget
        if isinstance(budget, bool) or not isinstance(budget, int):
            raise InputError("budget", expected="an int (score calls) or a zmax.Budget", got=repr(budget))
        return cls(score_calls=budget)

    def reached(self, ledger: Ledger) -> str | None:
        """Return the name of the first limit that the ledger has reached, or None.

        Score calls end a run that finds nothing new, too: "recalled".
        """
        for name, limit in vars(self).items():
            if limit is not None and getattr(ledger, name) >= limit:
                return name
        if self.score_calls is not None and ledger.recalled >= RECALLS * self.score_calls:
            return "recalled"
        return None

    def room(self, ledger: Ledger, wanted: int, *, calls: int = 1, grads: int = 0, counted: str = "decodes") -> int:
        """Return how many of `wanted` rows still fit, at the NFE that one has cost so far.

        Args:
            ledger: what was spent.
            wanted: at most so many.
            calls: score calls of each.
            grads: score gradients of each.
            counted: whether they are "decodes" or "previews", which cost network evaluations, or "" for neither.
        """
        fits = [wanted]
        if self.score_calls is not None and calls:
            fits.append((self.score_calls - ledger.score_calls) // calls)
        if self.score_grads is not None and grads:
            fits.append((self.score_grads - ledger.score_grads) // grads)
        if self.nfe is not None and counted and ledger.nfe:
            left, of_previews = self.nfe - ledger.nfe, (ledger.preview_nfe, ledger.previews)
            spent, done = of_previews if counted == "previews" else (ledger.nfe - ledger.preview_nfe, ledger.decodes)
            fits.append(left * done // spent if spent else left)
        return max(0, min(fits))

    def share(self, ledger: Ledger) -> float:
        """Return the share of the tightest limit that is spent, in [0, 1]."""
        limits = vars(self).items()
        spent = [float(getattr(ledger, name)) / limit for name, limit in limits if limit is not None]
        return min(1.0, max(spent))


@dataclass
class Ledger:
    """What a run has cost, counted where it happens.

    Attributes:
        score_calls: samples scored for the method (and the run's own reference batch).
        score_grads: samples whose score was differentiated.
        decodes: samples decoded.
        nfe: forward network evaluations of the generator, one per sample.
        nfe_backward: backward passes through the generator's networks, one per sample.
        previews: points on the path from noise to data that were denoised to see what they show.
        preview_nfe: those of `nfe` that previews took.
        realism_nfe: network evaluations that measured how natural the kept samples are, beside those of `nfe`.
        recalled: samples that had been scored before, so that their score was not bought again.
        held_out_calls: samples shown to the held-out score, which no method sees.
        failures: evaluations that gave no usable value.
        bad_gradients: gradients that were not finite and were set to zero.
        seconds: wall-clock time.
        peak_memory: largest resident memory of the process, in bytes.
    """

    score_calls: int = 0
    score_grads: int = 0
    decodes: int = 0
    nfe: int = 0
    nfe_backward: int = 0
    previews: int = 0
    preview_nfe: int = 0
    realism_nfe: int = 0
    recalled: int = 0
    held_out_calls: int = 0
    failures: int = 0
    bad_gradients: int = 0
    seconds: float = 0.0
    peak_memory: int = 0

    @property
    def counted(self) -> tuple[int, int, int]:
        """Score calls, NFE, and all counts added up: of two snapshots of one run, the later one has more."""
        return self.score_calls, self.nfe, sum(value for name, value in vars(self).items() if name not in MEASURED)

    def take(self, later: Ledger) -> None:
        """Take over the counts of a later snapshot of the same run; what is measured stays."""
        vars(self).update({name: value for name, value in vars(later).items() if name not in MEASURED})

    def catch_up(self, other: Ledger) -> None:
        """Take over the counts of another snapshot of the same run, if it is the later one."""
        if other.counted > self.counted:
            self.take(other)

    def charge(self, counted: str, rows: int) -> None:
        """Count rows that were looked at, as "decodes" or "previews"; "" costs nothing."""
        if counted:
            setattr(self, counted, getattr(self, counted) + rows)

    def copy(self) -> Ledger:
        """Return a snapshot."""
        return Ledger(**vars(self))
