"""Ask scores: each sample once, and each answer kept as soon as it is paid for."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from zmax.core.budget import Ledger
from zmax.core.errors import ShapeError
from zmax.core.samples import Samples, describe, identities, row, take
from zmax.core.score import Answer, Combined, Score
from zmax.run.lending import Lending
from zmax.run.remarks import Remarks
from zmax.store import FIRST, AnswerBook, Known
from zmax.store.samples import pack_sample

Place = tuple[int, int]
"""Row of a round, and which sample of that row."""

CLOSE = 1e-3
"""How far a score may be off when a run is begun again, in shares of itself."""

WHOLE = ""
"""Name of the whole score among the values of its terms."""


@dataclass(frozen=True)
class Asked:
    """What a score said of some samples.

    Attributes:
        total: values.
        parts: value of each term of a combined score.
        failures: reason by sample, where a score that judges them one by one gave any.
        whys: what is said of a sample beside its number, where anything is.
    """

    total: Float[Tensor, " n"]
    parts: dict[str, Float[Tensor, " n"]]
    failures: dict[int, str]
    whys: dict[int, str]


class InOrder:
    """Answers before the run begins, found again by their number and sample where it is begun again.

    Args:
        book: keeps them.
    """

    def __init__(self, book: AnswerBook) -> None:
        self.book = book
        self._asked = 0

    def places(self, samples: Samples) -> list[Place]:
        """Return the number and a checksum of each sample that is asked about now."""
        before, self._asked = self._asked, self._asked + len(samples)
        return [(before + i, zlib.crc32(pack_sample(row(samples, i))[1])) for i in range(len(samples))]


class Answers:
    """What scores have said in a run.

    Args:
        ledger: pays.
        remarks: where it is said that a score writes into its input.

    Attributes:
        book: keeps answers, None where nothing does.
        first: keeps answers before the run begins, None where nothing does.
        heard: told how many samples are being scored, whenever a worker answers.
    """

    def __init__(self, ledger: Ledger, remarks: Remarks) -> None:
        self._ledger, self._lending = ledger, Lending(remarks)
        self.book: AnswerBook | None = None
        self.first: InOrder | None = None
        self.heard: Callable[[int], None] = lambda running: None
        self._known: dict[bytes, Known] = {}
        self._new: dict[bytes, Known] = {}
        self._round: int | None = None
        self._row = 0

    def keep_in(self, book: AnswerBook) -> None:
        """Keep answers in a journal, and take in what it knows."""
        self.book, self.first = book, None
        self._known |= book.known()

    @contextmanager
    def at(self, row: int, round_: int | None = None) -> Iterator[None]:
        """Say which row of what is evaluated comes first.

        With a round, answers are kept, and what is cut short is not charged: it will be when it is evaluated again.
        """
        before, paid = (self._round, self._row), self._ledger.copy()
        self._round, self._row = (self._round, self._row + row) if round_ is None else (round_, row)
        try:
            yield
        except BaseException:
            if round_ is not None:
                vars(self._ledger).update(vars(paid))
            raise
        finally:
            self._round, self._row = before

    def new(self) -> dict[bytes, Known]:
        """Return what was learned of samples that may return since this was last asked."""
        found, self._new = self._new, {}
        return found

    def bought(self, score: Score, samples: Samples, rows: int, t: Float[Tensor, " n"] | None = None) -> Asked:
        """Ask about the samples of so many rows, and charge those that were not known; a noisy score is always asked.

        Args:
            score: S.
            samples: n of them.
            rows: of the proposal; each has as many samples.
            t: times of points on a path.
        """
        n, each = len(samples), max(1, len(samples) // rows)
        places = [(self._row + i // each, i % each) for i in range(n)] if self._single(score) else []
        alike = [] if score.noisy or t is not None or torch.is_grad_enabled() else identities(samples)
        fresh = first_ones(alike, self._known) if alike else list(range(n))
        self._ledger.score_calls += len(fresh)
        self._ledger.recalled += n - len(fresh)
        if alike:
            return self._recalled(score, samples, places, alike, fresh)
        return self.asked(score, samples, places, t)

    def asked(
        self, score: Score, samples: Samples, places: Sequence[Place] = (), t: Float[Tensor, " n"] | None = None
    ) -> Asked:
        """Ask about all samples without charge; answers are kept where places say whose they are."""
        parts: dict[str, Tensor] = {}
        failures: dict[int, str] = {}
        words: dict[str, dict[int, str]] = {}
        for term in sorted(score.terms or (score,), key=lambda term: term.each):  # what may raise comes first
            if term.each:
                parts[term.name], failed, words[term.name] = self._one_by_one(term, samples, places)
                failures = failed | failures
            else:
                with self._lending.lent(term, samples) as handed:
                    parts[term.name] = checked(term, handed, len(samples), t)
        if not isinstance(score, Combined):
            return Asked(parts[score.name], {}, failures, words.get(score.name, {}))
        return Asked(score.rule(parts), {term.name: parts[term.name] for term in score.terms}, failures, said(words))

    def _single(self, score: Score) -> bool:
        """Say whether answers are to be kept one by one."""
        return self._round is not None and any(term.each for term in score.terms or (score,))

    def _recalled(
        self, score: Score, samples: Samples, places: Sequence[Place], alike: list[Any], fresh: list[int]
    ) -> Asked:
        """Ask about the fresh samples only, and put together what is said of them with what was known."""
        own: dict[int, Known] = {}
        if fresh:
            asked = self.asked(score, take(samples, fresh), [places[i] for i in fresh] if places else [])
            lists = {
                name: v.detach().double().cpu().tolist() for name, v in {WHOLE: asked.total, **asked.parts}.items()
            }
            for j, i in enumerate(fresh):
                values = {name: column[j] for name, column in lists.items()}
                own[i] = Known(values, asked.failures.get(j, ""), asked.whys.get(j, ""))
                if alike[i] is not None:
                    self._known[alike[i]] = self._new[alike[i]] = own[i]
        found = [own[i] if i in own else self._known[key] for i, key in enumerate(alike)]
        names = [term.name for term in score.terms]
        parts = {
            name: torch.tensor([one.values[name] for one in found], dtype=torch.float64) for name in [WHOLE, *names]
        }
        failures = {i: one.failure for i, one in enumerate(found) if one.failure}
        return Asked(parts.pop(WHOLE), parts, failures, {i: one.why for i, one in enumerate(found) if one.why})

    def _one_by_one(
        self, term: Score, samples: Samples, places: Sequence[Place]
    ) -> tuple[Tensor, dict[int, str], dict[int, str]]:
        """Ask about each sample whose answer was not paid for before the run was cut short.

        Returns:
            The values; reasons of failures, by sample; and what else was said.
        """
        book, round_ = self.book, self._round
        if self.first is not None and not places:
            places, book, round_ = self.first.places(samples), self.first.book, FIRST
        if torch.is_grad_enabled() or not places or book is None or round_ is None:
            book, round_ = None, FIRST
        told = {} if book is None else self._told(term, samples, places, book, round_)
        due = [j for j in range(len(samples)) if j not in told]
        values: list[Any] = [told[j].value if j in told else math.nan for j in range(len(samples))]
        failures = {j: answer.failure for j, answer in told.items() if answer.failure}
        whys = {j: answer.why for j, answer in told.items() if answer.why}
        with self._lending.lent(term, take(samples, due) if told else samples) as handed:
            for answer in term.answers(handed) if due else ():
                j = due[answer.row]
                values[j] = answer.value
                failures |= {j: answer.failure} if answer.failure else {}
                whys |= {j: answer.why} if answer.why else {}
                if book is not None:
                    book.pay(round_, places[j], term.name, answer)
                if answer.running:
                    self.heard(answer.running)
        column = torch.stack([_number(value) for value in values])
        return column.to(samples.device) if isinstance(samples, Tensor) else column, failures, whys

    def _told(
        self, term: Score, samples: Samples, places: Sequence[Place], book: AnswerBook, round_: int
    ) -> dict[int, Answer]:
        """Return the answers that were paid for; none of an opening that failed, or of a score that changed since."""
        paid = book.paid(round_, term.name)
        told = {j: paid[place] for j, place in enumerate(places) if place in paid}
        if round_ != FIRST:
            return told
        told = {j: answer for j, answer in told.items() if not answer.failure}
        if 0 in told and places[0][0] == 0 and not term.noisy:
            with self._lending.lent(term, take(samples, [0])) as handed:
                (again,) = term.answers(handed)
            if not math.isclose(float(again.value), float(told[0].value), rel_tol=CLOSE):
                book.forget()
                return {}
        return told


def said(words: dict[str, dict[int, str]]) -> dict[int, str]:
    """Return what several scores said of each sample, under their names where more than one said anything.

    Example:
        >>> said({"hat": {0: "red", 1: "blue"}, "light": {1: "dark"}})
        {0: 'red', 1: 'hat: blue\\nlight: dark'}
    """
    rows = sorted({j for by_row in words.values() for j in by_row})
    lines = {j: {name: by_row[j] for name, by_row in words.items() if j in by_row} for j in rows}
    return {
        j: "\n".join(f"{name}: {text}" for name, text in by_name.items())
        if len(by_name) > 1
        else next(iter(by_name.values()))
        for j, by_name in lines.items()
    }


def _number(value: float | Tensor) -> Tensor:
    """Return a value with all its digits and its graph."""
    return value.cpu().double() if isinstance(value, Tensor) else torch.tensor(value, dtype=torch.float64)


def first_ones(alike: Sequence[bytes | None], known: dict[bytes, Known]) -> list[int]:
    """Return the rows that are not known, and like none before them."""
    seen: set[bytes] = set()
    fresh = []
    for i, key in enumerate(alike):
        if key is None or not (key in known or key in seen):
            fresh.append(i)
            seen |= set() if key is None else {key}
    return fresh


def checked(score: Score, samples: Samples, n: int, t: Tensor | None) -> Tensor:
    """Return the values of a score that judges whole batches.

    Raises:
        ShapeError: they are not one a sample.
    """
    value = score(samples) if t is None else score.at(t)(samples)
    if not isinstance(value, Tensor) or tuple(value.shape) != (n,):
        raise ShapeError(f"values of the score {score.name!r}", expected=f"({n},)", got=describe(value))
    return value
