"""The one loop: ask, evaluate, journal, tell, checkpoint, stop. Nothing else loops over a budget.

All that decides how a run goes on is in the journal, or rebuilt from it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from zmax.core.budget import Budget
from zmax.core.errors import FailedRunError
from zmax.core.generator import Generator
from zmax.core.score import Score
from zmax.core.state import dump
from zmax.core.strategy import Strategy
from zmax.results.spec import RunSpec
from zmax.run.evaluator import Evaluator
from zmax.run.recorder import Recorder
from zmax.run.rounds import Checkpoints, FailureWindow, Rounds


@dataclass(frozen=True)
class Place:
    """Where a run stands before a round: the method's state, the round, the id of its first scored row."""

    state: Any
    round: int
    next_id: int


@dataclass(frozen=True)
class Problem:
    """What a run works on."""

    generator: Generator
    score: Score
    strategy: Strategy[Any]
    held_out: Score | None
    spec: RunSpec


class Loop:
    """Runs one problem from a position in its journal until a limit is reached."""

    def __init__(self, problem: Problem, evaluator: Evaluator, recorder: Recorder, budget: Budget) -> None:
        failures = FailureWindow(recorder.journal, problem.spec.max_failures)
        self._strategy, self._recorder, self._budget = problem.strategy, recorder, budget
        self._ledger = evaluator.ledger
        self._rounds = Rounds(evaluator, recorder, budget, failures, problem.spec.batch_size)
        self._checkpoints = Checkpoints(recorder.journal)

    def run(self, start: Place) -> str:
        """Go on from a place until the budget ends.

        Returns:
            The reason for stopping: a limit's name, or "interrupted".

        Raises:
            FailedRunError: too large a share of the evaluations failed.
            StoreError: the journal cannot be written.
        """
        strategy, rounds = self._strategy, self._rounds
        here = healthy = start
        try:
            self._recorder.look()
            while (evaluation := rounds.evaluate(strategy.ask(here.state), here.round, here.next_id)) is not None:
                state = strategy.tell(here.state, evaluation)
                here = Place(state, here.round + 1, here.next_id + len(evaluation.score))
                if rounds.worked:
                    healthy = here
                    self._save(here)
            reason = self._recorder.ended or str(self._budget.reached(self._ledger))
        except FailedRunError:
            self._save(here if rounds.worked else healthy, now=True)  # try again where anything last worked
            raise
        except KeyboardInterrupt:
            reason = "interrupted"
            self._recorder.forget_unpaid()
        except BaseException:
            self._recorder.forget_unpaid()
            raise
        self._save(here, now=True)
        population = strategy.draws(here.state)
        if population is not None:
            self._recorder.journal.set_population(population)
        return reason

    def _save(self, place: Place, *, now: bool = False) -> None:
        self._checkpoints.save(place.round, place.next_id, lambda: dump(place.state), now=now)
