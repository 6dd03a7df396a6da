"""Samples of parent and child of the same noises, side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from zmax.report.cards import SHOWN, Card, cards, vector_limit
from zmax.results.looks import Look
from zmax.results.tuning import TuneResult
from zmax.store import Entry


@dataclass(frozen=True)
class Pair:
    """What one noise gives: by the parent and by the child."""

    before: Card
    after: Card

    @property
    def changes(self) -> Iterator[tuple[str, float | None, float | None]]:
        """Give name, number before and number after of what is known of both."""
        for name, attribute in (("score", "score"), ("held-out", "held_out"), ("realism", "realism")):
            values = [getattr(card.entry, attribute) for card in (self.before, self.after)]
            if attribute == "score" or any(value is not None for value in values):
                yield name, values[0], values[1]


def shown(result: TuneResult) -> int:
    """Return the look whose samples are set against the parent's: the chosen one, or the last where that is the parent.

    Args:
        result: a finetune that has looks.
    """
    return result.chosen or len(result.rounds.looks) - 1


def pairs(result: TuneResult) -> list[Pair]:
    """Return the first samples of the parent and of the look that is shown, noise by noise."""
    if not result.rounds.looks:
        return []
    looks = [result.rounds.looks[number] for number in (0, shown(result))]
    before, after = (known(look, result.entries(look.look))[:SHOWN] for look in looks)
    limit = vector_limit([*before, *after])
    sides = [cards(side, f"{who}, noise", result.spec, limit) for who, side in (("Parent", before), ("Child", after))]
    return [Pair(old, new) for old, new in zip(*sides, strict=False)]


def known(look: Look, entries: Sequence[Entry]) -> list[Entry]:
    """Return the samples of a look with their held-out score and realism."""
    measured = look.samples()
    return [
        replace(entry, held_out=_number(measured[entry.id][1]), realism=_number(measured[entry.id][2]))
        for entry in entries
    ]


def _number(value: float) -> float | None:
    return value if value == value else None
