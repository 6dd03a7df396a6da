"""The front of a run with several goals, in order and in words."""

from __future__ import annotations

from collections.abc import Sequence

from zmax.store import Entry

FRONT = "front"
"""Role of the samples that nothing beats."""


def in_order(entries: Sequence[Entry], goals: Sequence[str]) -> tuple[Entry, ...]:
    """Return entries along the front, those that are highest in the first goal first."""
    return tuple(sorted(entries, key=lambda e: [-e.parts[name] for name in goals]))


def words(front: Sequence[Entry], goals: Sequence[str], volume: float) -> str:
    """Say what the front holds; "" where S is one number, or nothing is kept yet."""
    if not front or not goals:
        return ""
    ends = {name: sorted(entry.parts[name] for entry in front) for name in goals}
    ranges = ", ".join(f"{name} from {known[0]:.4g} to {known[-1]:.4g}" for name, known in ends.items())
    which = "1 sample is beaten by no other" if len(front) == 1 else f"{len(front)} samples are beaten by no other"
    return f"{which}: {ranges}; hypervolume {volume:.4g}"
