"""Carry out a finetune that has begun, or go on with one: put the parts together, train, choose, write down the end."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from typing import Any, TypeVar

from zmax.core.budget import Budget, Ledger
from zmax.core.errors import FailedRunError
from zmax.core.generator import Generator
from zmax.core.rng import stream
from zmax.core.score import Score
from zmax.core.setting import LAST
from zmax.core.state import restore
from zmax.core.tuner import COOL, WARM, Models, Tuner
from zmax.finetune.weights import Child, child_of, written
from zmax.finetune.weights.tuned import FILE
from zmax.results.looks import Look, choose
from zmax.results.spec import TrainSpec, TuneSpec, fresh_of
from zmax.results.tuning import TuneResult
from zmax.run import resolve
from zmax.run.descent import Descent, Tuning, unpacked
from zmax.run.evaluator import Evaluator
from zmax.run.looks import Looker
from zmax.run.meter import Meter
from zmax.run.processes import Crew
from zmax.run.progress import Listener, Silent
from zmax.run.recorder import Recorder
from zmax.run.remarks import Remarks
from zmax.run.rounds import Checkpoints, FailureWindow, Rounds
from zmax.run.start import start_again
from zmax.run.train import Desk, Stand, Training
from zmax.store import Journal

ResultT = TypeVar("ResultT")
TrainedT = TypeVar("TrainedT", bound=TuneResult)

PREFIX = {"finetune": "tuned", "condition": "conditioned"}
"""How another process asks for the child of a verb's run."""


@dataclass(frozen=True)
class Job:
    """Training of any kind: what was asked, all that it works on, and what there is to say of it."""

    spec: TrainSpec
    parent: Generator
    score: Score
    judge: Score | None
    tuner: Tuner[Any]
    child: Child
    journal: Journal
    ledger: Ledger
    crew: Crew
    remarks: Remarks = field(default_factory=Remarks, kw_only=True)

    @property
    def fresh(self) -> int:
        """Fresh samples of a look."""
        return fresh_of(self.spec)

    @property
    def collecting(self) -> Budget:
        """Limits of what is trained on: the run's, less what the last look costs."""
        calls = self.spec.budget.score_calls
        return self.spec.budget if calls is None else replace(self.spec.budget, score_calls=max(1, calls - self.fresh))

    @property
    def models(self) -> Models:
        """Child and parent in the form that is trained."""
        spec = self.spec
        free = isinstance(spec, TuneSpec) and spec.ceiling is None and spec.until is None
        child, parent = (resolve.steered(self.tuner, g) for g in (self.child.generator, self.parent))
        return Models(child, parent, WARM if free else COOL)

    @property
    def begin(self) -> tuple[int, int]:
        """The first round and the id of its first scored row."""
        return 0, 0


def job_child(tuner: Tuner[Any], generator: Generator, spec: TuneSpec) -> Child:
    """Return the child of a generator before it is trained."""
    layers = None if spec.layers is None else tuple(word.strip() for word in spec.layers.split(","))
    return child_of(generator, spec.weights if tuner.moves == "weights" else tuner.moves, layers=layers)


def tune_on(job: Job, listener: Listener) -> TuneResult:
    """Finetune from the place in the journal to the goal or the end of the budget.

    Raises:
        FailedRunError: too many evaluations failed.
    """
    listener = listener if job.crew.main else Silent()

    def work() -> str:
        networks = (*job.parent.networks, *job.child.generator.networks)
        with Meter(networks, job.ledger), closing(job.score):
            return trained(job, listener)

    return carried_out(job.spec, job.journal, job.ledger, listener, work, lambda: _concluded(job))


def carried_out(
    spec: TrainSpec,
    journal: Journal,
    ledger: Ledger,
    listener: Listener,
    work: Callable[[], str],
    conclude: Callable[[], ResultT],
) -> ResultT:
    """Begin, or go on, with a run that trains, and write down its end, whatever that is.

    Args:
        spec: what was asked.
        journal: of the run.
        ledger: pays.
        listener: watches.
        work: returns why it ended.
        conclude: makes the result of what is written down.

    Raises:
        FailedRunError: too many evaluations failed.
    """
    with closing(journal):
        position = journal.last_checkpoint()
        start_again(journal, 0 if position is None else position.round)
        reason, failed = "failed", None
        listener.started(spec)
        try:
            reason = work()
        except FailedRunError as error:
            reason, failed = f"failed: {error}", error
        except BaseException as error:
            ledger.take(journal.ledger())  # what was cut short is done again
            if not isinstance(error, KeyboardInterrupt):
                raise
            reason = "interrupted"
        finally:
            listener.finished(reason)
            journal.put_facts({"stop_reason": reason, "ledger": asdict(ledger)})
        result = conclude()
        if failed is not None:
            journal.set("failed", str(failed))
    if failed is not None:
        failed.result = result
        raise failed
    return result


def trained(job: Job, listener: Listener) -> str:
    """Train from the last checkpoint, or from the start, and return why it ended."""
    spec, tuner, child = job.spec, job.tuner, job.child
    models = job.models
    failures = FailureWindow(job.journal, spec.max_failures)
    usual = tuner.recipe
    updates = spec.updates if isinstance(spec, TuneSpec) else None
    recipe = replace(usual, rate=spec.rate or usual.rate, updates=updates or usual.updates)
    job.journal.set("recipe", asdict(recipe))
    descent = Descent(Tuning(tuner, models, child, recipe, spec), job.ledger, job.crew)

    def desk(generator: Generator, budget: Budget, judge: Score | None) -> Desk:
        evaluator = Evaluator(generator, job.score, job.ledger, budget, judge, job.remarks)
        recorder = Recorder(job.journal, evaluator, budget, Silent())
        return Desk(evaluator, Rounds(evaluator, recorder, budget, failures, spec.batch_size, job.crew))

    fresh = desk(child.generator, spec.budget, job.judge)
    looker = Looker(fresh.evaluator, job.parent, models, tuner, job.journal, spec.seed, job.fresh, job.crew)
    collected = desk(models.child, job.collecting, None)
    training = Training(descent, collected, fresh, looker, Checkpoints(job.journal), listener)
    state, position = descent.begin(stream(spec.seed, "tuner")), job.journal.last_checkpoint()
    if position is None:
        return training.run(Stand(state, *job.begin))
    return training.run(Stand(restore(state, position.state), position.round, position.next_id))


def _concluded(job: Job) -> TuneResult:
    settle(job)
    return filed(TuneResult(job.journal, job.child))


def settle(job: Job) -> None:
    """Choose among the looks, give the child those weights, and write them down with its card."""
    journal, spec, child = job.journal, job.spec, job.child
    looks = [Look(**look) for look in journal.get("looks", [])]
    if looks:
        number, why = choose(looks, spec.keep if isinstance(spec, TuneSpec) else LAST)
        blob = journal.blob(f"weights {number}")
        assert blob is not None, "a look is written with its weights"
        child.load(unpacked(blob))
        journal.put("child", written(child, _card(job, looks, number, why)), {"chosen": [number, why]})
    if journal.folder is not None and job.parent.source:
        child.generator.source = f"{PREFIX[spec.verb]}:{journal.folder}"
    for weight in child.weights.values():
        weight.requires_grad_(False).grad = None


def filed(result: TrainedT) -> TrainedT:
    """Write the weights of a result's child beside its journal, where it has a folder, and return it."""
    if result.rounds.looks and result.folder is not None:
        (result.folder / FILE).write_bytes(result.weights)
    return result


def _card(job: Job, looks: list[Look], number: int, why: str) -> dict[str, Any]:
    """Return what is to be known of a child: parent, score, method, cost, gain and drift."""
    spec = job.spec
    return {
        "score": spec.score,
        "method": spec.method,
        "params": spec.params,
        "ledger": job.journal.get("ledger"),
        "before": _finite(looks[0].row()),
        "after": _finite(looks[number].row()),
        "why": why,
    }


def _finite(row: dict[str, float]) -> dict[str, float | None]:
    return {name: value if math.isfinite(value) else None for name, value in row.items()}
