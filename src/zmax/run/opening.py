r"""Whether G and S are what they seem, found out on the first samples of a run and charged to it.

A latent has one sample, and a sample one score, alone and in any batch. So one latent is decoded again alone, and two
samples are scored again, each alone: one decode and two score calls. Only where something differs more are spent, to
tell noise from what depends on the batch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from zmax.core.errors import InputError
from zmax.core.global_random import moved, positions, put_back
from zmax.core.proposal import Proposal, SamplesAt
from zmax.core.samples import Sample, row, take
from zmax.core.score import Score
from zmax.run.alike import differ, difference, size
from zmax.run.batch import Batch
from zmax.run.culprits import in_training
from zmax.run.evaluator import Evaluator
from zmax.run.pictures import remark

PAIR = 2
"""Samples that are scored again."""

ENOUGH = 5
"""Equal scores that are no chance."""

FEWEST = 40
"""Score calls of the smallest budget that pays for it; and decodes, of its network evaluations."""

ROUNDING = 1e-4, 1e-3
"""What two values of one sample may differ by: of the value itself, and of the spread between samples."""

BATCH = 1e-3, 0.1
"""The same where the batch differs, for which networks of half precision round otherwise."""

FAR_BELOW = 100.0
"""Ranges of the other scores below them, at which an equal score is no score."""

ALONE = "each sample has to depend on its own latent alone"


def check(evaluator: Evaluator, batch: Batch, alive: Sequence[int]) -> None:
    """Look at the first samples of a run, of which those rows have a score.

    Raises:
        InputError: G gives a latent another sample, or S a sample another score, in another batch.
    """
    evaluator.remarks.note(evaluator.generator.remarks)
    for block in evaluator.generator.space.blocks:
        if block.prior.doubt:
            evaluator.remarks.say(f"the prior of latent block {block.name!r} {block.prior.doubt}")
    said = remark(evaluator.generator, batch.samples, alive)
    if said:
        evaluator.remarks.say(said)
    same_sample(evaluator, batch, alive)
    same_score(evaluator, batch, alive)
    values = batch.score[list(alive)]
    if len(values) >= ENOUGH and bool((values == values[0]).all()):
        value, name = values[0] + 0.0, evaluator.score.name
        evaluator.remarks.say(
            f"all {len(values)} first samples have the same score, {value:g}: {name!r} cannot tell them apart; use "
            f"it before its last rounding, threshold or sigmoid, or one that gives partial credit"
        )
    elif (flat := cliff(values.tolist())) is not None:
        count, name = int((values == flat).sum()), evaluator.score.name
        evaluator.remarks.say(
            f"{count} of {len(values)} first samples have the score {flat:g}, far below all others: if {name!r} marks "
            f"so what must not be, no method sees how to leave it; say it as a constraint: S.where(B >= t)"
        )


def cliff(values: Sequence[float]) -> float | None:
    """Return the lowest value, where samples share it that lie a hundred times the others' range below these.

    Example:
        >>> cliff([-1e9, 1.0, -1e9, 2.0]), cliff([0.0, 0.0, 1.0, 2.0])
        (-1000000000.0, None)
    """
    low, others = min(values, default=0.0), sorted(v for v in values if v > min(values))
    if values.count(low) < PAIR or len(others) < PAIR:
        return None
    return low if others[0] - low > FAR_BELOW * (others[-1] - others[0]) > 0 else None


def same_sample(evaluator: Evaluator, batch: Batch, alive: Sequence[int]) -> None:
    """Decode one latent again alone.

    Raises:
        InputError: it gives another sample, by noise of its own or by the batch it is in.
    """
    ledger, limit, i = evaluator.ledger, evaluator.budget.nfe, alive[min(1, len(alive) - 1)]
    if batch.u is None or (limit is not None and ledger.nfe * FEWEST > limit * ledger.decodes):
        return
    point, was = batch.u[i : i + 1], row(batch.samples, i)
    scale = size(was) if len(alive) < PAIR else difference(was, row(batch.samples, alive[0]))
    scale = size(was) if scale is None or math.isinf(scale) else scale
    before = positions()
    alone = _alone(evaluator, point)
    apart = _apart(alone, was)
    if apart <= ROUNDING[1] * scale + ROUNDING[0] * size(was):
        return
    again = _alone(evaluator, point)
    if not isinstance(again, Exception) and _apart(again, alone) > ROUNDING[1] * scale:
        drawn = moved(before)
        put_back(before)
        repeats = _apart(_alone(evaluator, point), alone) <= ROUNDING[1] * scale
        raise _unsteady(evaluator, drawn if repeats else "")
    if apart > BATCH[1] * scale:
        raise _entangled(evaluator, alone)


def _alone(evaluator: Evaluator, point: Tensor) -> Sample | Exception:
    """Decode one point; return the sample, or what was raised."""
    try:
        made = evaluator.decoded(point)
        return row(made, 0) if len(made) == 1 else ValueError(f"{len(made)} samples of one latent")
    except Exception as error:  # noqa: BLE001 - decoders may raise anything
        return error


def _apart(one: Sample | Exception, other: Sample | Exception) -> float:
    """Return how far apart two decodes are: infinite where one failed, 0 where nobody can say."""
    if isinstance(one, Exception) or isinstance(other, Exception):
        return 0.0 if isinstance(one, Exception) and isinstance(other, Exception) else math.inf
    return difference(one, other) or 0.0


def _unsteady(evaluator: Evaluator, drawn: str) -> InputError:
    """Return the error for a decoder with noise of its own."""
    generator, training = evaluator.generator, in_training(evaluator.generator)
    thing = f"{generator.name!r} gives one latent two different samples"
    if training:
        got = f"{training} in training mode"
        return InputError(thing, expected="the same sample", got=got, remedy=_eval(training))
    got = f"a decode that draws from {drawn}" if drawn else "another sample at every call"
    remedy = f"make the noise a part of the latent, or fix it: {ALONE}"
    return InputError(thing, expected="the same sample, since all noise is in the latent", got=got, remedy=remedy)


def _entangled(evaluator: Evaluator, alone: Sample | Exception) -> InputError:
    """Return the error for a decoder that looks at the batch."""
    generator, training = evaluator.generator, in_training(evaluator.generator)
    thing = f"{generator.name!r} gives a latent another sample alone than in a batch"
    got = f"{type(alone).__name__}: {alone}" if isinstance(alone, Exception) else "samples that depend on the batch"
    if training:
        return InputError(thing, expected="the same", got=f"{training} in training mode", remedy=_eval(training))
    remedy = f"{ALONE}: no z[:1].expand, no statistics of the batch, no squeeze of a batch of one; or batch_size=1"
    return InputError(thing, expected="the same sample", got=got, remedy=remedy)


def _eval(training: str) -> str:
    return f"call .eval() on {training.partition(' (')[0]}, or hand it over: zmax.generator(..., networks=[...])"


def same_score(evaluator: Evaluator, batch: Batch, alive: Sequence[int]) -> None:
    """Score two samples again, each alone; a score that turns out noisy is treated as if it had said so.

    Raises:
        InputError: a sample's score depends on the others of its batch.
    """
    calls, rows = evaluator.budget.score_calls, list(alive[:PAIR])
    judged = [s for s in evaluator.score.terms or (evaluator.score,) if not s.noisy]
    if not judged or len(batch.score) < PAIR or (calls is not None and calls < FEWEST):
        return
    once = {i: _scored(evaluator, batch, [i]) for i in rows}
    for score in judged:
        known = _values(batch, score)[list(alive)]
        spread = float(known.std()) if len(known) > 1 else 0.0
        for i in rows:
            found = once[i]
            if found.failures and evaluator.score.terms:  # any of them may have failed
                found = _scored(evaluator, batch, [i], score)
            was, alone = float(_values(batch, score)[i]), float(_values(found, score)[0])
            if not differ(was, alone, spread, ROUNDING):
                continue
            if differ(alone, float(_scored(evaluator, batch, [i], score).score[0]), spread, ROUNDING):
                _noisy(evaluator, score)
                break
            if differ(was, alone, spread, BATCH) and _works(evaluator, batch, rows, alone):
                raise _relative(score, was, alone, found.failures.get(0, ""))


def _scored(evaluator: Evaluator, batch: Batch, rows: list[int], score: Score | None = None) -> Batch:
    """Score samples again, by one term where only that is in question, with no answer remembered."""
    u = None if batch.u is None else batch.u[rows]
    again = Proposal(SamplesAt(take(batch.samples, rows), u))
    return evaluator.beside(score=score).evaluate(again)


def _values(batch: Batch, score: Score) -> Tensor:
    return batch.parts.get(score.name, batch.score)


def _works(evaluator: Evaluator, batch: Batch, rows: list[int], alone: float) -> bool:
    """Say whether a score that fails alone still works in a batch: else it fails whatever it is given by now."""
    return math.isfinite(alone) or not _scored(evaluator, batch, rows).failures


def _noisy(evaluator: Evaluator, score: Score) -> None:
    score.noisy = evaluator.score.noisy = True
    evaluator.remarks.say(
        f"the score {score.name!r} gives one sample two different values, so it is treated as noisy: the best are "
        f"scored again at the end; say so with zmax.score(..., noisy=True), or fix its random numbers"
    )


def _relative(score: Score, was: float, alone: float, reason: str) -> InputError:
    """Return the error for a score that looks at the batch."""
    training = in_training(score)
    remedy = "no statistics of the batch: compare with fixed numbers instead of ranks, z-scores or softmax; a score of "
    remedy += "a set, such as diversity: zmax.set_score(fn, k)"
    return InputError(
        f"the score {score.name!r} gives a sample another value alone than in a batch",
        expected="a value of each sample by itself",
        got=f"{was:.6g} in a batch, {reason or format(alone, '.6g')} alone{f'; {training} trains' if training else ''}",
        remedy=f"call .eval() on {training.partition(' (')[0]}" if training else f"{remedy}; or batch_size=1",
    )


def same_judge(evaluator: Evaluator, score: Tensor, judged: list[float]) -> None:
    """Say so where the held-out score is the score itself."""
    held_out, found = evaluator.held_out, torch.tensor(judged, dtype=torch.float64)
    assert held_out is not None, "it was asked"
    same = len(found) > 1 and bool(torch.isclose(found, score, rtol=1e-6, atol=0.0).all()) and found[0] != found[1]
    if held_out is evaluator.score or same:
        evaluator.remarks.say(
            f"the held-out score {held_out.name!r} gives the same values as the score, so it cannot find out whether "
            f"that is fooled; use one that was made otherwise"
        )
