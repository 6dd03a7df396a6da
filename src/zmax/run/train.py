"""The one training loop: collect, evaluate, journal, descend, look, checkpoint, stop.

It is made of the parts of the search loop (:mod:`zmax.run.rounds`), and owns what tuners do not: optimiser,
accumulation, clipping, averages of weights, precision. All that decides how a run goes on is in the journal, or rebuilt
from it: a round whose scores are journalled is trained on again, and not scored again. What a run goes
through again it is charged for again, up to what it had cost there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

import torch
from torch import Tensor

from zmax.core.budget import Ledger
from zmax.core.errors import FailedRunError
from zmax.core.proposal import Evaluation, Proposal
from zmax.core.samples import spread
from zmax.core.settings import until
from zmax.core.state import dump
from zmax.core.tuner import Rollout
from zmax.kit.scale import Scale
from zmax.results.looks import Look
from zmax.results.spec import TuneSpec
from zmax.results.still import why_still
from zmax.run.descent import Descent, TrainState, packed
from zmax.run.evaluator import Evaluator
from zmax.run.looks import Looker, Progress
from zmax.run.progress import Listener, Snapshot
from zmax.run.rounds import Checkpoints, Rounds
from zmax.run.selfcheck import self_check
from zmax.store import REFERENCE

NOTHING = Evaluation(torch.zeros(0, dtype=torch.float64), torch.zeros(0, dtype=torch.bool), None, range(0))
"""What came back where nothing was to be scored."""

LOOK = REFERENCE - 1
"""Round number of the first look; those of later ones go on downward."""


@dataclass(frozen=True)
class Stand:
    """A place in the run: the state before a round, the round, the id of its first scored row."""

    state: TrainState
    round: int
    next_id: int


@dataclass(frozen=True)
class Desk:
    """Where proposals for one form of the child are evaluated and written down."""

    evaluator: Evaluator
    rounds: Rounds


class Training:
    """Finetunes from a place in the journal until the goal or a limit is reached.

    Args:
        descent: takes the optimiser steps.
        collected: evaluates what is trained on.
        fresh: evaluates fresh samples.
        looker: measures them.
        checkpoints: of the journal.
        listener: watches.
    """

    def __init__(
        self,
        descent: Descent,
        collected: Desk,
        fresh: Desk,
        looker: Looker,
        checkpoints: Checkpoints,
        listener: Listener,
    ) -> None:
        self._descent, self._tuning = descent, descent.tuning
        self._collected, self._fresh, self._looker = collected.rounds, fresh.rounds, looker
        self._ledger, self._budget = collected.evaluator.ledger, collected.evaluator.budget
        self._checkpoints, self._listener, self._journal = checkpoints, listener, looker.journal
        self._known = collected.rounds.known
        self._looks = [Look(**look) for look in self._journal.get("looks", [])]

    def run(self, start: Stand) -> str:
        """Go on from a place until the goal or the budget ends.

        Returns:
            "until", "trained", a limit's name, or "interrupted".

        Raises:
            FailedRunError: too large a share of the evaluations failed.
            StoreError: the journal cannot be written.
        """
        here = start
        if (paid := self._journal.get("ledger at checkpoint")) is not None:
            self._ledger.catch_up(Ledger(**paid))
        self._descent.go_on(here.state)
        try:
            while True:
                if self._due(here):
                    looked = self._look(here)
                    if looked is None:
                        break
                    here, look = looked
                    if self._there(look):
                        return self._end(here, "until")
                trained = self._round(here)
                if trained is None:
                    break
                here = trained
                self._save(here)
            if not self._looks or here.state.updates > self._looks[-1].updates:
                looked = self._look(here)
                here = here if looked is None else looked[0]
        except KeyboardInterrupt:
            self._ledger.take(self._journal.ledger())  # what was cut short is done again
            return "interrupted"
        except FailedRunError:
            self._save(here, now=True)
            raise
        met = bool(self._looks) and self._there(self._looks[-1])
        done = "until" if met else "trained" if self._done(here) == 1 else ""
        return self._end(here, done or self._budget.reached(self._ledger) or "score_calls")

    def _end(self, here: Stand, reason: str) -> str:
        self._save(here, now=True)
        return reason

    def _due(self, here: Stand) -> bool:
        """Say whether fresh samples are looked at before this round: as they were, or at equal shares of the budget."""
        done = here.state.looks
        if here.round <= self._known or done < len(self._looks):
            return done < len(self._looks) and self._looks[done].round == here.round
        if done and self._done(here) == 1 and here.state.updates == self._looks[-1].updates:
            return False  # it ended with that look, and goes on after that
        return int(self._done(here) * self._tuning.spec.looks) >= done

    def _done(self, here: Stand) -> float:
        """Return the share of the run that is done: of training if that ends by itself, else of the budget."""
        progress = self._tuning.tuner.progress(here.state.inner)
        return self._budget.share(self._ledger) if progress is None else min(1.0, progress)

    @property
    def _goal(self) -> str | None:
        spec = self._tuning.spec
        return spec.until if isinstance(spec, TuneSpec) else None

    def _there(self, look: Look) -> bool:
        if self._goal is None:
            return False
        quantile, score = until(self._goal)
        return look.quantile(quantile) >= score

    def _look(self, here: Stand) -> tuple[Stand, Look] | None:
        """Look at fresh samples of the weights that would be returned; None when the budget ends before that."""
        state, number = here.state, here.state.looks
        if number == len(self._looks):
            self._use(state.average or state.weights)
            n = len(self._looker.u)
            evaluation = self._fresh.evaluate(self._looker.proposal, LOOK - number, -(number + 1) * n)
            if evaluation is None:
                return None
            count = max(1, state.counted)
            done = Progress(number, here.round, state.updates, state.loss / count, state.slope / count)
            seen = self._looker.look(evaluation, done, packed(state.average or state.weights))
            self._looks.append(seen)
            self._listener.noted(told(seen, self._looks[0]))
            still = why_still(self._looks, self._journal.get("checks", []), asdict(self._tuning.recipe))
            if still and not seen.asked:
                self._listener.noted(f"the score has not risen: {still}")
        else:
            self._ledger.catch_up(Ledger(**self._journal.get(f"ledger at look {number}")))
        state = replace(state, looks=number + 1, loss=0.0, slope=0.0, counted=0)
        return replace(here, state=state), self._looks[number]

    def _round(self, here: Stand) -> Stand | None:
        """Collect and train for a round; None when the budget, or training, ends before that."""
        state, tuning = here.state, self._tuning
        if self._budget.reached(self._ledger) is not None and here.round > self._known:
            return None
        if tuning.tuner.progress(state.inner) is not None and self._done(here) == 1:
            return None
        self._use(state.policy or state.weights)
        with torch.no_grad():
            inner, proposal = tuning.tuner.collect(state.inner, tuning.models)
        if here.round > self._known and proposal is not None and not self._fits(proposal):
            return None
        evaluation = NOTHING if proposal is None else self._collected.evaluate(proposal, here.round, here.next_id)
        if evaluation is None:
            return None
        evaluation = capped(evaluation, self._ceiling)
        with torch.no_grad():
            inner, rollout = tuning.tuner.rollout(inner, tuning.models, evaluation)
        self._use(state.weights)
        state = replace(state, inner=inner)
        if rollout is not None and len(rollout):
            if not state.updates:
                self._check(rollout, evaluation.score if tuning.models.lesson is None else tuning.models.lesson.score)
            state = self._descent.descend(state, rollout)
        middle = evaluation.score[evaluation.ok].median() if bool(evaluation.ok.any()) else None
        after = Stand(state, here.round + 1, here.next_id + len(evaluation.score))
        best = None if middle is None else float(middle)
        self._listener.updated(Snapshot(best, None, self._done(after), self._ledger, "median"))
        return after

    @property
    def _ceiling(self) -> float | None:
        """The score above which nothing is gained."""
        spec = self._tuning.spec
        ceiling = spec.ceiling if isinstance(spec, TuneSpec) else None
        if ceiling is not None or self._goal is None:
            return ceiling
        return until(self._goal)[1] + Scale().told(torch.tensor(self._looks[0].scores)).temperature(None)

    def _fits(self, proposal: Proposal) -> bool:
        """Say whether the budget allows a whole round: what is scored of a part would be of no use."""
        wanted, want = len(proposal), proposal.want
        return self._budget.room(self._ledger, wanted, calls=want.calls, grads=want.grads) == wanted

    def _check(self, rollout: Rollout, score: Tensor) -> None:
        found = self_check(self._tuning.tuner, self._tuning.models, self._tuning.child.weights, rollout, score)
        if self._journal.get("checks") is not None:
            return
        self._journal.set("checks", [[check.name, check.ok, check.found] for check in found])
        for check in found:
            self._listener.noted(f"{'ok  ' if check.ok else 'BAD '} {check.name}: {check.found}")

    def _use(self, weights: Mapping[str, Tensor]) -> None:
        self._tuning.child.load(weights)

    def _save(self, here: Stand, *, now: bool = False) -> None:
        def state() -> bytes:
            self._journal.put_facts(dict.fromkeys(("ledger", "ledger at checkpoint"), asdict(self._ledger)))
            return dump(here.state)

        self._checkpoints.save(here.round, here.next_id, state, now=now)


def capped(evaluation: Evaluation, ceiling: float | None) -> Evaluation:
    """Return what a tuner is told where nothing is gained above a score: there the score is flat."""
    if ceiling is None:
        return evaluation
    above, grad = evaluation.score > ceiling, evaluation.grad
    flat = None if grad is None else torch.where(spread(above, grad), 0.0, grad)
    return replace(evaluation, score=evaluation.score.clamp(max=ceiling), grad=flat)


def told(look: Look, parent: Look) -> str:
    """Return a look in one line."""
    if look.asked:
        off = f"{look.off:.3g} (parent {parent.off:.3g})"
        return f"look {look.look}: updates {look.updates}  requested and achieved scores differ by {off}"
    judged = f"  held-out {look.judged:.3g}" if look.held_out else ""
    natural = f"  natural {look.natural:.0%}" if look.realism else ""
    kl = f"  KL {look.kl:.2g}" if math.isfinite(look.kl) else ""
    return (
        f"look {look.look}: calls {look.score_calls}  updates {look.updates}  score p05 {look.quantile(0.05):.3g}, "
        f"mean {look.score:.3g} (parent {parent.score:.3g}){judged}{natural}{kl}"
    )
