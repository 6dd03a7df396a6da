"""What is decoded or judged when a run is done: draws of the tilted law, elites, the held-out score of what is kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from zmax.core.generator import DiffusionGenerator
from zmax.core.proposal import Latents, Proposal, Value
from zmax.core.rng import rows_at, stream
from zmax.core.samples import row, stack
from zmax.core.strategy import Population
from zmax.kit.weights import effective_size
from zmax.natural import Realism, cost, has_denoiser, known, realism
from zmax.results.archive import archive_of
from zmax.results.front import FRONT
from zmax.results.spec import RunSpec
from zmax.run.evaluator import Evaluator
from zmax.run.leaders import distinct
from zmax.run.recorder import CHOSEN, UNDER_WAY, offered
from zmax.run.truncated import missed_by
from zmax.store import REFERENCE, Chunk, Entry, Journal

KEPT = ("leader", "reference", "draw", FRONT)
"""Roles of samples that are judged and measured in the end."""

SHARE = 0.2
"""Of the network evaluations of a run, that calibrating a measure of realism may take beside it."""

MOST = 256 * 2**20
"""Bytes of elites' samples that are kept; beyond that the best elites alone have theirs."""


def choose_leaders(evaluator: Evaluator, journal: Journal, spec: RunSpec) -> None:
    """Choose the leaders anew from all that was scored: the best, then the best of what is not too close to it, ...

    The leaders of a run under way depend on how its rows came in batches, these do not. Those that were none before are
    decoded again, at the run's charge; those of the run under way are remembered, for when it goes on.
    """
    if spec.budget.nfe is not None:
        return  # what it would take is not to be had
    every = list(journal.chunks())
    chunks = [c for c in every if c.u is not None and len(c.score)]
    points = [c.u for c in chunks if c.u is not None]
    if sum(u.nbytes for u in points) > MOST or any(c.wide for c in every):
        return  # nor here
    u, score = torch.cat(points), torch.cat([offered(c, evaluator) for c in chunks])
    ids = torch.cat([torch.arange(c.first_id, c.first_id + len(c.score), device="cpu") for c in chunks])
    none = [torch.zeros(len(c.score), dtype=torch.int64, device="cpu") for c in chunks]
    alike = torch.cat([n if c.alike is None else c.alike for c, n in zip(chunks, none, strict=True)])
    likely = torch.cat([c.plausibility for c in chunks if c.plausibility is not None])
    rows = distinct(u, score, spec.keep, alike, likely)
    under_way = journal.kept("leader")
    known = {entry.id: entry for entry in (*journal.kept("reference"), *journal.kept(CHOSEN), *under_way)}
    if {int(ids[row]) for row in rows} == {entry.id for entry in under_way}:
        return
    missing = [row for row in rows if int(ids[row]) not in known]
    for start in range(0, len(missing), spec.batch_size):
        part = missing[start : start + spec.batch_size]
        for entry in decoded(evaluator, u[part], score[part], ids[part].tolist()):
            known[entry.id] = journalled(entry, chunk_of(entry.id, chunks))
    with journal.together():
        journal.keep(UNDER_WAY, under_way)
        journal.keep("leader", [known[int(ids[row])] for row in rows])
        journal.set("ledger", vars(evaluator.ledger))


def note_rim(evaluator: Evaluator, journal: Journal) -> None:
    """Write down since which score call the best lies at the rim where a guard stops points, None if it does not."""
    best = next(iter(journal.kept("leader")), None)
    at_rim = best is not None and bool(evaluator.generator.space.at_rim(best.u[None]))
    journal.set("held since", best.id + 1 if best is not None and at_rim else None)


def weigh_prior(evaluator: Evaluator, journal: Journal, temperature: float) -> None:
    r"""Where too few calls were left for a round of the sampler, weight the prior draws that were scored, and warn.

    .. math:: w_i \propto e^{S(x_i) / T}

    Every sampler begins with prior draws, so those are the reference batch and what there is of the first round.
    """
    place = journal.last_checkpoint()
    if journal.population() is not None or (place is not None and place.round > 0):
        return
    prior = [c for c in journal.chunks() if c.round in (REFERENCE, 0) and c.u is not None and len(c.score)]
    u, score = torch.cat([c.u for c in prior if c.u is not None]), torch.cat([c.score for c in prior])
    population = Population(u, score, (score.double() / temperature).log_softmax(0))
    journal.set_population(population)
    worth = effective_size(population.log_weight)
    evaluator.remarks.say(
        f"the budget ended before the sampler's first round did: {len(u)} prior draws were weighted by exp(S / T) "
        f"instead, which are worth {worth:.1f} draws of the tilted law; a larger budget gives more"
    )


def keep_draws(evaluator: Evaluator, journal: Journal, spec: RunSpec) -> None:
    """Pick `keep` points of the population by their weights, decode them at the run's charge, and keep them."""
    population, calls = journal.population(), evaluator.ledger.score_calls
    if population is None or not len(population.u) or journal.get("drawn") == calls:
        return
    entries: list[Entry] = []
    for part in _chosen(population, spec).split(spec.batch_size):
        ids = [-1 - len(entries) - i for i in range(len(part))]
        entries += decoded(evaluator, population.u[part], population.score[part], ids)
    entries = _explained(journal, entries)
    with journal.together():
        journal.keep("draw", entries)
        journal.put_facts({"drawn": calls, "ledger": vars(evaluator.ledger)})


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
    if evaluator.limits is not None and entries:
        missed = missed_by(evaluator, journal, torch.stack([e.u for e in entries])).tolist()
        entries = [replace(e, violation=by) for e, by in zip(entries, missed, strict=True)]
    with journal.together():
        journal.keep("elite", _explained(journal, entries))
        journal.put_facts({"elites": calls, "ledger": vars(evaluator.ledger)})


def revive(evaluator: Evaluator, journal: Journal, spec: RunSpec) -> None:
    """Decode again what the file does not hold whole, without charge, so that score and judge see what G makes.

    What was to be written when the run was cut short is decoded in the batch it was in, and so bit for bit what it was.
    """
    due = journal.shelf.due()
    for chunk in journal.newest() if due else ():
        made = {i: chunk.first_id + i for i in range(len(chunk.score)) if chunk.first_id + i in due}
        if made and chunk.u is not None:
            want = Value(grad="" if chunk.grad is None else "point")
            samples = evaluator.shown(Proposal(Latents(chunk.u), want), slice(None))
            journal.shelf.revive({id_: row(samples, i) for i, id_ in made.items()})
            due -= set(made.values())
        if not due:
            break
    paid = evaluator.ledger.copy()
    known = {e.id: e for role in (*KEPT, UNDER_WAY, CHOSEN) for e in journal.kept(role) if not e.whole}
    rows = list(known.values())
    for start in range(0, len(rows), spec.batch_size):
        part = rows[start : start + spec.batch_size]
        samples = evaluator.decoded(torch.stack([e.u for e in part]))
        journal.shelf.revive({e.id: row(samples, i) for i, e in enumerate(part)})
    evaluator.ledger.take(paid)


def judge_kept(evaluator: Evaluator, journal: Journal, spec: RunSpec) -> None:
    """Record the held-out score of every kept sample that has none yet; NaN where it failed."""
    entries = {e.id: e for role in KEPT for e in journal.kept(role) if e.held_out is None}
    rows = list(entries.values())
    for start in range(0, len(rows), spec.batch_size):
        part = rows[start : start + spec.batch_size]
        found = evaluator.judge([e.sample for e in part])
        journal.set_held_out(dict(zip((e.id for e in part), found, strict=True)), evaluator.ledger)


def measure_kept(evaluator: Evaluator, journal: Journal) -> None:
    """Record the realism of every kept sample that has none yet, where it can be had at a fair price.

    That is where it was made before (`zmax.realism(G)`), or where G is its own denoiser and making it takes no more
    than a fifth of the network evaluations of the run.
    """
    entries = {e.id: e for role in KEPT for e in journal.kept(role) if e.realism is None}
    rows = list(entries.values())
    try:
        natural = evaluator.measured(lambda: _affordable(evaluator)) if rows else None
        if natural is None:
            return
        found = evaluator.measured(lambda: natural.of(stack([e.sample for e in rows])))
    except Exception as error:  # noqa: BLE001 - networks may raise anything, and the run is done
        evaluator.remarks.say(f"realism was not measured: {type(error).__name__}: {error}")
        return
    evaluator.ledger.realism_nfe += natural.unmetered(len(rows))
    journal.set_realism(dict(zip(entries, found.tolist(), strict=True)), evaluator.ledger)


def _affordable(evaluator: Evaluator) -> Realism | None:
    generator, ledger = evaluator.generator, evaluator.ledger
    if evaluator.toll is not None:
        return evaluator.toll.natural
    found = known(generator)
    if found is None and isinstance(generator, DiffusionGenerator):
        decodes = (ledger.nfe - ledger.preview_nfe) / max(1, ledger.decodes)
        if ledger.nfe and cost(decodes) <= SHARE * ledger.nfe and has_denoiser(generator):
            return realism(generator)
    return found


def decoded(evaluator: Evaluator, u: Tensor, score: Tensor, ids: list[int]) -> list[Entry]:
    """Decode points that were scored before, as entries under these ids."""
    space = evaluator.generator.space
    samples, plausibility = evaluator.decoded(u), space.plausibility(u)
    return [
        Entry(
            id=ids[i],
            score=float(score[i]),
            plausibility=float(plausibility[i]),
            u=u[i].clone(),
            z=space.latent(u[i]),
            sample=row(samples, i),
        )
        for i in range(len(u))
    ]


def chunk_of(id_: int, chunks: Sequence[Chunk]) -> Chunk:
    """Return the chunk that an evaluation is journalled in."""
    return next(c for c in chunks if c.first_id <= id_ < c.first_id + len(c.score))


def journalled(entry: Entry, chunk: Chunk) -> Entry:
    """Return a sample that was decoded again with all that its chunk has of it."""
    i = entry.id - chunk.first_id
    parts = {name: float(value[i]) for name, value in chunk.parts.items()}
    missed = 0.0 if chunk.violation is None else float(chunk.violation[i])
    return replace(entry, parts=parts, violation=missed, why=chunk.whys.get(i, ""))


def _explained(journal: Journal, entries: list[Entry]) -> list[Entry]:
    """Return samples that were scored before with what the score said of them beside its number."""
    said = {c.u[i].numpy().tobytes(): why for c in journal.chunks() if c.u is not None for i, why in c.whys.items()}
    return [replace(e, why=said.get(e.u.numpy().tobytes(), "")) for e in entries] if said else entries


def _chosen(population: Population, spec: RunSpec) -> Tensor:
    """Return `keep` rows, each as often as its weight says up to rounding (systematic resampling), in random order."""
    rng = stream(spec.seed, "draws")
    offset = torch.rand(1, generator=rng, dtype=torch.float64, device="cpu")
    order = torch.randperm(len(population.u), generator=rng, device="cpu")
    share = population.log_weight.double().softmax(0)[order]
    points = (torch.arange(spec.keep, dtype=torch.float64, device="cpu") + offset) / spec.keep
    return order[rows_at(share, points)]
