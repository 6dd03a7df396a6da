"""A few rounds of a strategy without a journal, on the evaluator that runs use, for tests of strategies alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from zmax.core.budget import Budget, Ledger
from zmax.core.generator import Generator
from zmax.core.proposal import Evaluation, Proposal
from zmax.core.rng import stream
from zmax.core.score import Score
from zmax.core.strategy import Strategy
from zmax.run.evaluator import Evaluator
from zmax.run.meter import Meter
from zmax.run.recorder import chunk_of, told

Spoil = Callable[[Evaluation], Evaluation]
"""Changes what a strategy is told, to see how it takes it."""

ENDLESS = Budget(seconds=1e9)


@dataclass(frozen=True)
class Trace:
    """What a driven strategy proposed and was told, round by round.

    Attributes:
        state: the last state.
        proposals: one a round.
        evaluations: one a round, as the strategy was told.
        ledger: what they cost.
    """

    state: Any
    proposals: tuple[Proposal, ...]
    evaluations: tuple[Evaluation, ...]
    ledger: Ledger

    @property
    def best(self) -> float:
        """Best score of any sample that G makes and that did not fail."""
        rounds = zip(self.proposals, self.evaluations, strict=True)
        found = [round_best(evaluation) for proposal, evaluation in rounds if proposal.u is not None]
        return max(found, default=float("-inf"))


def round_best(evaluation: Evaluation) -> float:
    """Return the best score of one round, -inf if all failed or none was scored."""
    if not len(evaluation.score):
        return float("-inf")
    return max(evaluation.score.where(evaluation.ok, float("-inf")).tolist(), default=float("-inf"))


def evaluate(proposal: Proposal, generator: Generator, score: Score, *, first_id: int = 0) -> Evaluation:
    """Evaluate one proposal as a run does, in one batch, and return what the method is told."""
    return _evaluated(proposal, Evaluator(generator, score, Ledger(), ENDLESS), first_id)


def drive(
    strategy: Strategy[Any],
    generator: Generator,
    score: Score,
    rounds: int,
    seed: int = 0,
    *,
    spoil: Spoil | None = None,
) -> Trace:
    """Run `rounds` rounds of ask, evaluate and tell from a fresh state.

    Args:
        strategy: the strategy.
        generator: decodes its proposals.
        score: judges them.
        rounds: number of rounds.
        seed: seed of the strategy's random stream.
        spoil: changes each evaluation before the strategy is told.

    Returns:
        The last state and all that was asked and told.

    Example::

        law, S = linear_gaussian(torch.eye(4)), quadratic_score(torch.eye(4), torch.ones(4))
        trace = drive(MyStrategy(), law.generator(), S, rounds=20)
        print(trace.best, law.tilt(S).argmax())
    """
    state = strategy.init(generator.space, stream(seed, "method"))
    return proceed(strategy, generator, score, state, rounds, spoil=spoil)


def proceed(
    strategy: Strategy[Any], generator: Generator, score: Score, state: Any, rounds: int, *, spoil: Spoil | None = None
) -> Trace:
    """Run `rounds` rounds from a given state."""
    proposals: list[Proposal] = []
    evaluations: list[Evaluation] = []
    first_id, ledger = 0, Ledger()
    evaluator = Evaluator(generator, score, ledger, ENDLESS)
    with Meter(generator.networks, ledger):
        for _ in range(rounds):
            proposal = strategy.ask(state)
            evaluation = _evaluated(proposal, evaluator, first_id)
            evaluation = evaluation if spoil is None else spoil(evaluation)
            state = strategy.tell(state, evaluation)
            first_id += len(evaluation.score)
            proposals.append(proposal)
            evaluations.append(evaluation)
    return Trace(state, tuple(proposals), tuple(evaluations), ledger)


def _evaluated(proposal: Proposal, evaluator: Evaluator, first_id: int) -> Evaluation:
    batch = evaluator.evaluate(proposal)
    chunk = chunk_of(proposal, batch, evaluator, 0, 0, first_id)
    return told([chunk], [batch.shown] if proposal.want.samples else [], first_id)
