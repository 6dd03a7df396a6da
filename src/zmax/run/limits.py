"""Constraints of a run: how far samples are from meeting them, and what a method is told less for that."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from zmax.core.constraint import slacks
from zmax.core.errors import ProposalError
from zmax.core.goals import spread
from zmax.core.proposal import Latents, Proposal, Value
from zmax.core.score import Combined, Score
from zmax.core.space import Space
from zmax.run.batch import Batch
from zmax.run.views import priced
from zmax.store import REFERENCE, Chunk, Journal

FIRST, DEAREST = 3.0, 300.0
"""What missing a constraint by one spread of its own costs at first, and at most, in spreads of S."""

RISE, PATIENCE = 2.0, 64
"""How the price rises, and samples scored at a price at least: a model of the score remembers what it was told."""

SAMPLED = 10.0
"""What it costs a sampler, in temperatures, throughout: a law must not change while it is drawn from."""


class Limits:
    r"""What a method is told less than S: :math:`\rho\,s \sum_j \max(0, -c_j(x)) / s_j`, c_j the slack of a constraint.

    The s_j are the spreads of the constraints' scores over the reference batch, s that of S. Such a penalty is exact:
    once :math:`\rho` exceeds the multipliers of the problem, what maximises the rest maximises S among the samples that
    meet all constraints, and inside, S is what it is. So :math:`\rho` doubles after a round by whose end a sample that
    misses one leads, if 64 were scored at this price.

    Reference: Nocedal and Wright, Numerical optimization, 2006, theorem 17.3 and framework 17.2.

    Args:
        score: S with its constraints.
        units: s_j.
        unit: s.
        price: :math:`\rho` at first.
        dearest: and at most.
    """

    def __init__(self, score: Score, units: list[float], unit: float, price: float, dearest: float) -> None:
        self._score, self._units, self._unit = score, units, unit
        self.price, self._dearest = price, dearest
        self._since = 0
        self._seen, self._missed = torch.zeros(0, dtype=torch.float64), torch.zeros(0, dtype=torch.float64)

    def violation(self, parts: Mapping[str, Tensor]) -> Float[Tensor, " n"]:
        """Return by how many spreads samples miss their constraints in sum, from values of the judges."""
        misses = [(-slack / unit).clamp_min(0) for slack, unit in zip(self._slacks(parts), self._units, strict=True)]
        return torch.stack(misses).sum(0)

    def fine(self, parts: Mapping[str, Tensor]) -> Float[Tensor, " n"]:
        """Return what that costs at the present price."""
        return self.price * self._unit * self.violation(parts)

    def learn(self, chunks: list[Chunk]) -> None:
        """Look at a round: if it is time, the price rises where one that misses a constraint leads of all."""
        for chunk in chunks:
            if chunk.violation is not None:
                self._seen = torch.cat([self._seen, chunk.score])
                self._missed = torch.cat([self._missed, chunk.violation])
        told = self._seen - self.price * self._unit * self._missed
        if len(told) - self._since >= PATIENCE and float(self._missed[int(told.argmax())]) > 0:
            self.price, self._since = min(self.price * RISE, self._dearest), len(told)

    def _slacks(self, parts: Mapping[str, Tensor]) -> list[Tensor]:
        return slacks(self._score.constraints, parts)


def limits_of(score: Score, reference: Chunk | Batch, temperature: float | None = None) -> Limits | None:
    """Return the limits of a run, in units of the reference batch; None where there are no constraints.

    Args:
        score: S.
        reference: the reference batch.
        temperature: of the law that is drawn from, where one is.
    """
    if not score.constraints:
        return None
    alive = torch.isfinite(reference.score)
    units = [spread(slack[alive]) for slack in slacks(score.constraints, reference.parts)]
    if temperature is not None:
        return Limits(score, units, temperature, SAMPLED, SAMPLED)
    return Limits(score, units, spread(reference.score[alive]), FIRST, DEAREST)


def learned(limits: Limits | None, journal: Journal, before: int) -> Limits | None:
    """Return the limits as they were before a round of a run that goes on."""
    rounds: dict[int, list[Chunk]] = {}
    for chunk in journal.chunks() if limits is not None else ():
        if REFERENCE < chunk.round < before:
            rounds.setdefault(chunk.round, []).append(chunk)
    for round_ in sorted(rounds):
        limits.learn(rounds[round_])  # type: ignore[union-attr]
    return limits


def fined(
    total: Float[Tensor, " nm"], met: Mapping[str, Tensor], score: Score, limits: Limits | None, proposal: Proposal
) -> Float[Tensor, " n"] | None:
    """Return what a method is told less than S: for missed constraints, and for the weights by which it judges goals.

    None where there is neither.
    """
    want, fine = proposal.want, None if limits is None else limits.fine(met).to(total)
    if isinstance(want, Value) and want.weights is not None and score.goals is not None:
        other = total - score.goals.total(met, want.weights.repeat_interleave(want.calls, 0))
        fine = other if fine is None else fine + other
    return None if fine is None else priced(total, fine, proposal)


def part_names(score: Score) -> list[str]:
    """Return the names of values that are kept beside the score: of its terms, goals, and what constraints judge."""
    judges = score.judges if isinstance(score, Combined) else ()
    return list(dict.fromkeys([*(term.name for term in score.terms), *judges]))


def judged(
    score: Score, parts: Mapping[str, Tensor], proposal: Proposal, point: object, space: Space
) -> dict[str, Float[Tensor, " nm"]]:
    """Return the values of the goals, and of what constraints judge, by name; of latents where there are some.

    Args:
        score: S with its constraints.
        parts: values of its terms.
        proposal: whose points these are of.
        point: the points, with the graph that leads from them.
        space: of the latents.

    Raises:
        ProposalError: a constraint is on latents, and the points have none.
    """
    if not isinstance(score, Combined) or not score.judges:
        return {}
    found = dict(parts)
    of_latents = {c.judge.name: c.judge for c in score.constraints if c.judge.latents}
    if of_latents:
        if proposal.u is None:
            raise ProposalError(
                f"the constraint on {next(iter(of_latents))!r} is on latents, and the points looked at have none",
                expected="a method that proposes latents, such as 'gradient', 'cma' or 'random'",
            )
        u = point if isinstance(proposal.at, Latents) and isinstance(point, Tensor) else proposal.u
        z = space.latents(u.repeat_interleave(proposal.want.calls, 0))
        found |= {name: judge(z) for name, judge in of_latents.items()}  # type: ignore[operator]
    return {name: judge(found) for name, judge in score.judges.items()}
