"""Hand samples to scores, which cannot change them for others."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor

from zmax.core.defaults import theirs
from zmax.core.samples import Samples, spare
from zmax.core.score import Score
from zmax.run.remarks import Remarks

WRITES = "the score {!r} writes into the samples it is given; it gets copies, which take memory and time"


class SpoiltError(Exception):
    """A score wrote into the samples, so they have to be made again."""


class Lending:
    """Knows which scores write into their input.

    Args:
        remarks: where that is said.
    """

    def __init__(self, remarks: Remarks) -> None:
        self._remarks = remarks
        self._writers: set[str] = set()

    @contextmanager
    def lent(self, score: Score, samples: Samples) -> Iterator[Samples]:
        """Yield what the score is handed: a copy wherever it could harm the samples.

        Raises:
            SpoiltError: it wrote into them, which it was not known to do.
        """
        version = _version(samples)
        handed = spare(samples) if version is None or score.name in self._writers else samples
        try:
            with theirs():
                yield handed
        except Exception:
            self._unspoilt(score, samples, version)
            raise
        self._unspoilt(score, samples, version)

    def _unspoilt(self, score: Score, samples: Samples, version: int | None) -> None:
        """Raise SpoiltError if a score wrote into the samples, and remember it."""
        if _version(samples) != version:
            self._writers.add(score.name)
            self._remarks.say(WRITES.format(score.name))
            raise SpoiltError(score.name)


def _version(samples: Samples) -> int | None:
    """Return the number of writes to a tensor so far, None where nobody counts them."""
    return None if not isinstance(samples, Tensor) or samples.is_inference() else samples._version
