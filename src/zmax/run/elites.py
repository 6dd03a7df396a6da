"""Decode the elites of a quality-diversity run when it is done."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from zmax.results.archive import archive_of
from zmax.results.spec import RunSpec
from zmax.run.draws import decoded
from zmax.run.evaluator import Evaluator
from zmax.store import Entry, Journal

MOST = 256 * 2**20
"""Bytes of samples that are kept; beyond that the best elites alone have theirs."""


def keep_elites(evaluator: Evaluator, journal: Journal, spec: RunSpec) -> None:
    """Decode the elites at the run's charge and keep them, best first, with their descriptors as parts."""
    found, calls = archive_of(journal), evaluator.ledger.score_calls
    if found is None or journal.get("elites") == calls:
        return
    archive, names = found
    cells = torch.argsort(archive.score, descending=True, stable=True)[: int(archive.filled.sum())]
    entries: list[Entry] = []
    size = 0
    for part in cells.split(spec.batch_size):
        if size <= MOST:
            made = decoded(evaluator, archive.u[part], archive.score[part], [-1 - cell for cell in part.tolist()])
            places = archive.place[part].tolist()
            entries += [
                replace(e, parts=dict(zip(names, place, strict=True))) for e, place in zip(made, places, strict=True)
            ]
            size = sum(e.sample.nbytes for e in entries if isinstance(e.sample, Tensor))
    journal.keep("elite", entries)
    journal.set("elites", calls)
