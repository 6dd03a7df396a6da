"""The front of a run with several goals: their units before it begins, and what nothing beats once it is done."""

from __future__ import annotations

from dataclasses import replace

import torch

from zmax.core.goals import nondominated
from zmax.core.score import Score
from zmax.results.front import FRONT
from zmax.results.spec import RunSpec
from zmax.run.evaluator import Evaluator
from zmax.run.kept import MOST, chunk_of, decoded, journalled
from zmax.run.recorder import offered
from zmax.run.reference import Opening
from zmax.store import REFERENCE, Chunk, Entry, Journal


def settled(opening: Opening) -> Opening:
    """Take reference point and units of the goals from the reference batch, whose scores follow from them."""
    goals, batch = opening.evaluator.score.goals, opening.reference
    if goals is None:
        return opening
    alive = torch.isfinite(batch.score)
    goals.settle(batch.parts, alive)
    score = torch.where(alive, goals.total(batch.parts), batch.score)
    return replace(opening, reference=replace(batch, score=score))


def settle(score: Score, journal: Journal) -> None:
    """Take reference point and units of the goals from the reference batch of a run."""
    first = journal.find(REFERENCE, 0)
    if score.goals is not None and first is not None:
        score.goals.settle(first.parts, torch.isfinite(first.score))


def keep_front(evaluator: Evaluator, journal: Journal, spec: RunSpec) -> None:
    """Decode what nothing beats at the run's charge, and keep it.

    Of points that are not written down, with all the noise of a path, and where network evaluations are limited, only
    samples that are kept already are considered.
    """
    if not spec.goals:
        return
    kept = {e.id: e for role in ("reference", "leader") for e in journal.kept(role)}
    chunks = [c for c in journal.chunks() if len(c.score) and c.final]
    score = torch.cat([offered(c, evaluator) for c in chunks])
    met = [torch.ones(len(c.score), dtype=torch.bool) if c.violation is None else c.violation == 0 for c in chunks]
    goals = torch.stack([torch.cat([c.parts[name] for c in chunks]) for name in spec.goals], 1)
    ids = torch.cat([torch.arange(c.first_id, c.first_id + len(c.score), device="cpu") for c in chunks])
    rows = (torch.isfinite(score) & torch.cat(met)).nonzero().flatten()
    if spec.budget.nfe is not None or any(c.u is None for c in chunks):
        rows = rows[torch.isin(ids[rows], torch.tensor(list(kept), dtype=torch.int64, device="cpu"))]
    front = rows[nondominated(goals[rows])]
    found = [kept[i] for i in ids[front].tolist() if i in kept]
    found += _made(evaluator, chunks, [i for i in ids[front].tolist() if i not in kept], spec.batch_size)
    with journal.together():
        journal.keep(FRONT, found)
        journal.set("ledger", vars(evaluator.ledger))


def _made(evaluator: Evaluator, chunks: list[Chunk], ids: list[int], size: int) -> list[Entry]:
    """Return entries of samples that were scored, decoded again, as far as there is room for them."""
    made: list[Entry] = []
    taken = 0
    for start in range(0, len(ids), size):
        if taken <= MOST:
            places = [(chunk_of(i, chunks), i) for i in ids[start : start + size]]
            u = torch.stack([c.u[i - c.first_id] for c, i in places if c.u is not None])
            score = torch.stack([c.score[i - c.first_id] for c, i in places])
            entries = decoded(evaluator, u, score, [i for _, i in places])
            made += [journalled(entry, c) for entry, (c, _) in zip(entries, places, strict=True)]
            taken = sum(e.sample.nbytes for e in made if isinstance(e.sample, torch.Tensor))
    return made
