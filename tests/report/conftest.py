from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch

from zmax.core.budget import Budget, Ledger
from zmax.results import Result, RunSpec
from zmax.store import REFERENCE, Chunk, Entry, Journal

SPEC = RunSpec("my-generator", "my-score", "random", Budget(score_calls=100), objects=("generator",))


def first_chunk(scores: Sequence[float]) -> Chunk:
    """A reference batch with these scores; what is not finite failed."""
    score = torch.tensor(scores, dtype=torch.float32)
    return Chunk(
        round=REFERENCE,
        offset=0,
        first_id=0,
        u=torch.zeros(len(scores), 3),
        score=score,
        plausibility=torch.linspace(0.1, 0.9, len(scores)),
        failures=dict.fromkeys((~score.isfinite()).nonzero().flatten().tolist(), "the score is nan"),
        ledger=Ledger(score_calls=len(scores), seconds=1.0),
    )


@pytest.fixture
def make() -> Callable[..., Result]:
    """Build a result from its pieces, as a run would have journalled them."""

    def build(
        leaders: Sequence[Entry] = (),
        reference: Sequence[Entry] = (),
        chunks: Sequence[Chunk] = (),
        stop_reason: str | None = "score_calls",
        watched: Sequence[tuple[float, float, float]] = (),
        **spec: Any,
    ) -> Result:
        journal = Journal.create(None, {"spec": replace(SPEC, **spec).as_json()})
        rows = list(chunks) or [first_chunk([e.score for e in reference] or [float("-inf")])]
        journal.append(rows[0], added=leaders, reference=reference)
        for row in rows[1:]:
            journal.append(row)
        if stop_reason is not None:
            journal.set("stop_reason", stop_reason)
        journal.set("watched", [dict(zip(("calls", "score", "held_out"), look, strict=True)) for look in watched])
        return Result(journal)

    return build
