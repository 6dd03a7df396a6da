"""Carry out a condition that has begun, or go on with one: score a lesson, learn it, compare what is asked and came."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor

from zmax.core.budget import Budget, Ledger
from zmax.core.generator import Generator
from zmax.core.quantiles import Quantiles
from zmax.core.rng import stream
from zmax.core.score import Score
from zmax.core.tuner import Lesson, Models, Tuner
from zmax.finetune.weights import Child, child_mapped, child_native, child_pushed, child_told
from zmax.finetune.weights.plan import NATIVE, NOISES, PATH
from zmax.generators.conditioned import Conditioned
from zmax.kit.ranker import FEWEST, Ranker
from zmax.results.conditioning import ASKED, RANKER, ConditionResult
from zmax.results.spec import ConditionSpec
from zmax.run.evaluator import Evaluator
from zmax.run.given import Given, lesson_of
from zmax.run.meter import Meter
from zmax.run.processes import Crew
from zmax.run.progress import Listener, Silent
from zmax.run.recorder import Recorder
from zmax.run.remarks import Remarks
from zmax.run.rounds import FailureWindow, Rounds
from zmax.run.study import Sight, compare, finished, study
from zmax.run.tuning import Job, carried_out, filed, settle, trained
from zmax.store import Entry, Journal
from zmax.store.samples import pack

FIRST = BOUNDLESS = 1_000_000_000
"""Number of the first sample that is compared, and a limit that is none."""


@dataclass(frozen=True)
class LearnJob(Job):
    """A condition whose lesson is scored."""

    lesson: Lesson

    @property
    def collecting(self) -> Budget:
        """Limits of training, which ends by itself; what is scored on the way is planned."""
        return replace(self.spec.budget, score_calls=BOUNDLESS)

    @property
    def models(self) -> Models:
        """Child and parent, with the lesson."""
        return Models(self.child.generator, self.parent, lesson=self.lesson)

    @property
    def begin(self) -> tuple[int, int]:
        """The rounds after the lesson."""
        assert isinstance(self.spec, ConditionSpec), "a condition's"
        return 1, self.spec.drawn


@dataclass(frozen=True)
class Course:
    """A condition: what was asked, and all that it works on.

    Attributes:
        names: of the scores that the generator will be told.
        given: samples to learn from instead of the parent's.
        remarks: what there is to say of them.
    """

    spec: ConditionSpec
    parent: Generator
    score: Score
    judge: Score | None
    tuner: Tuner[Any]
    journal: Journal
    ledger: Ledger
    names: tuple[str, ...]
    given: Given | None = None
    remarks: Remarks = field(default_factory=Remarks)

    def learn_on(self, listener: Listener) -> ConditionResult:
        """Condition from the place in the journal to the end.

        Raises:
            FailedRunError: too many evaluations failed.
        """
        made: list[Child] = []

        def conclude() -> ConditionResult:
            return filed(ConditionResult(self.journal, *made))

        def work() -> str:
            with closing(self.score):
                return self._work(listener, made)

        return carried_out(self.spec, self.journal, self.ledger, listener, work, conclude)

    def _work(self, listener: Listener, made: list[Child]) -> str:
        """Score the lesson, train, compare; return why it ended."""
        spec = self.spec
        with Meter(self.parent.networks, self.ledger):
            lesson = self._lesson(listener)
        if lesson is None:
            return spec.budget.reached(self.ledger) or "interrupted"
        self.journal.set("learned", len(lesson))
        child = self._child(lesson)
        made.append(child)
        self.journal.set("moves", child.describe())
        parts = (spec, self.parent, self.score, self.judge, self.tuner, child, self.journal, self.ledger, Crew())
        job = LearnJob(*parts, lesson, remarks=self.remarks)
        with Meter((*self.parent.networks, *child.generator.networks), self.ledger):
            reason = trained(job, listener)
            settle(job)
            if reason != "trained":
                return reason
            generator = child.generator
            assert isinstance(generator, Conditioned), "made so"
            lesson = replace(lesson, x=finished(self.parent, self.tuner, lesson.x))
            self._rank(lesson, listener)
            self._compare(generator, lesson, listener)
            return reason

    def _child(self, lesson: Lesson) -> Child:
        law, (kind, _, among) = Quantiles.fit(lesson.score), self.tuner.moves.partition(":")
        if kind == NOISES:
            return child_mapped(self.parent, law, self.names, lesson.x, among=int(among or 1))
        if kind == NATIVE:
            return child_native(self.parent, law, self.names)
        if kind == PATH:
            assert isinstance(lesson.x, Tensor), "ends of paths"
            return child_pushed(self.parent, law, self.names, lesson.x.shape[1:])
        return child_told(self.parent, law, self.names)

    def _rank(self, lesson: Lesson, listener: Listener) -> None:
        """Learn to rank the lesson, so that candidates beyond it can be chosen from."""
        if not isinstance(lesson.x, Tensor) or len(lesson) < FEWEST or self.journal.blob(RANKER) is not None:
            return
        ranker = Ranker.learned(lesson.x, lesson.score, stream(self.spec.seed, "ranker"))
        right = dict(zip(self.names, ranker.right.tolist(), strict=True))
        shares = ", ".join(f"{name} {share:.0%}" for name, share in right.items())
        listener.noted(f"learned to rank candidates; pairs kept aside that it orders right: {shares}")
        self.journal.put(RANKER, pack(ranker.tensors()), {"ordered": right})

    def _compare(self, generator: Conditioned, lesson: Lesson, listener: Listener) -> None:
        """Ask for scores all over the law of the lesson, at each weight of guidance, and write down what comes."""
        spec, found = self.spec, list[dict[str, Any]]()
        guidances = spec.weights_of_guidance if generator.guided else (0.0,)
        n = max(2, spec.compared // len(guidances))
        listener.noted(f"asking for {n * len(guidances):,} scores to compare with what comes")
        sight = Sight(lesson, self.judge)
        for i, guidance in enumerate(guidances):
            one = compare(self._rounds(generator), generator, lesson, guidance, n, spec.seed, i, FIRST + i * n, sight)
            if one is None:
                break
            if not i:
                self._keep(one.entries)
            found += one.calibrations
            self.journal.set("calibrations", found)

    def _lesson(self, listener: Listener) -> Lesson | None:
        """Return what is learned from, None when the budget ends before it is scored."""
        brought, spec = self.given, self.spec
        if brought is None:
            listener.noted(f"scoring {spec.drawn:,} samples to learn from")
            return study(self._rounds(self.parent), self.tuner, self.parent, self.names, spec.drawn, spec.seed)
        listener.noted(f"learning from {brought}")
        return lesson_of(brought, self._rounds(self.parent), self.tuner, self.parent, self.names, spec.drawn, spec.seed)

    def _keep(self, entries: Sequence[Entry]) -> None:
        """Keep samples that were asked for a score, with what the judge says of them."""
        if self.judge is not None and entries:
            evaluator = Evaluator(self.parent, self.score, self.ledger, self.spec.budget, self.judge, self.remarks)
            found = evaluator.judge([entry.sample for entry in entries])
            entries = [replace(entry, held_out=value) for entry, value in zip(entries, found, strict=True)]
        self.journal.keep(ASKED, entries)

    def _rounds(self, generator: Generator) -> Rounds:
        spec = self.spec
        evaluator = Evaluator(generator, self.score, self.ledger, spec.budget, remarks=self.remarks)
        recorder = Recorder(self.journal, evaluator, spec.budget, Silent())
        return Rounds(evaluator, recorder, spec.budget, FailureWindow(self.journal, spec.max_failures), spec.batch_size)
