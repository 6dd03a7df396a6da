"""Look at fresh samples of the child: score, judge, diversity, realism, divergence; all of it charged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from zmax.core.generator import DiffusionGenerator, Generator, decoded
from zmax.core.proposal import Evaluation, Latents, Proposal, Value
from zmax.core.rng import stream
from zmax.core.samples import Samples, row
from zmax.core.setting import CHOSEN
from zmax.core.tuner import Models, Tuner
from zmax.generators.conditioned import SCORE, Conditioned
from zmax.kit.asked import columns
from zmax.kit.path_kl import path_kl
from zmax.natural import Realism, has_denoiser, known, realism
from zmax.natural.diversity import features, median_distance, pairwise_distance, vendi
from zmax.natural.ratio import kl_estimate
from zmax.natural.statistics import statistics
from zmax.results.looks import Look, choose
from zmax.run.descent import moved, unpacked
from zmax.run.evaluator import Evaluator
from zmax.run.processes import Crew
from zmax.run.resolve import along_path
from zmax.store import Entry, Journal

KEPT = 16
"""Samples of a look that are kept for pages."""

DECODED, STEPS, PATHS = 512, 200, 32
"""Samples between which a divergence is fitted, steps of the fit, and paths along which it is summed."""

MANY = 64
"""Samples decoded at once."""


@dataclass(frozen=True)
class Progress:
    """How far training had come at a look."""

    look: int
    round: int
    updates: int
    loss: float
    slope: float


class Looker:
    """Makes the looks of a finetune, and writes them down.

    Args:
        evaluator: of the child in the user's form; it pays.
        parent: the parent in the same form.
        trained: child and parent in the form that is trained.
        tuner: may know the divergence.
        journal: keeps the looks.
        seed: of the fresh noises.
        n: their number.
        crew: processes that share out what is judged.
    """

    def __init__(
        self,
        evaluator: Evaluator,
        parent: Generator,
        trained: Models,
        tuner: Tuner[Any],
        journal: Journal,
        seed: int,
        n: int,
        crew: Crew,
    ) -> None:
        self._evaluator, self._parent, self._trained, self._tuner = evaluator, parent, trained, tuner
        self.journal, self._seed, self._crew = journal, seed, crew
        self.u = evaluator.generator.space.sample(n, stream(seed, "fresh"))
        self._realism: Realism | None = None
        self._asked = False

    @property
    def proposal(self) -> Proposal:
        """The fresh points; the same noises at every look, on which the child is never trained."""
        return Proposal(Latents(self.u), Value(samples=True))

    def look(self, evaluation: Evaluation, done: Progress, weights: bytes) -> Look:
        """Measure what the fresh points have shown, and write it down with the weights that made them."""
        assert evaluation.samples is not None, "asked for"
        samples = evaluation.samples
        ledger, evaluator = self._evaluator.ledger, self._evaluator
        alive = [row(samples, i) for i in range(len(samples)) if i not in evaluation.failures]
        found: dict[str, Any] = {"held_out": self._judged(alive) if evaluator.held_out is not None and alive else []}
        found |= self._diversity(samples) if not evaluation.failures else {}
        found |= self._achieved(evaluation)
        kl, error = self._divergence()
        first = self.journal.blob("weights 0")
        made = Look(
            **asdict(done),
            score_calls=ledger.score_calls,
            nfe=ledger.nfe,
            seconds=ledger.seconds,
            scores=evaluation.score.tolist(),
            kl=kl,
            kl_error=error,
            moved=0.0 if first is None else moved(unpacked(first), unpacked(weights)),
            **found,
        )
        self.journal.keep(f"look {done.look}", self._entries(evaluation, samples))
        looks = [*self.journal.get("looks", []), asdict(made)]
        paid: dict[str, Any] = dict.fromkeys(("ledger", f"ledger at look {done.look}"), asdict(ledger))
        facts = {"looks": looks, "calibrated": self._asked} | paid
        self.journal.put(f"weights {done.look}", weights, facts)
        self._forget(looks)
        return made

    def _achieved(self, evaluation: Evaluation) -> dict[str, Any]:
        """Return what was asked of each sample and what came, by score, where the generator can be asked."""
        generator = self._evaluator.generator
        if not isinstance(generator, Conditioned):
            return {}
        z = generator.space.latents(self.u)
        assert isinstance(z, dict), "there are two blocks at least"
        return {"asked": z[SCORE].T.tolist(), "achieved": columns(evaluation, generator.names).T.tolist()}

    def _judged(self, samples: Sequence[Any]) -> list[float]:
        evaluator = self._evaluator
        parts = self._crew.shared(evaluator.ledger, len(samples), lambda rows: evaluator.judge(samples[rows]))
        return [value for part in parts for value in part]

    def _forget(self, looks: list[dict[str, Any]]) -> None:
        """Drop the weights of looks that no rule can choose any more: all but the first, best so far and latest."""
        number, _ = choose([Look(**look) for look in looks], CHOSEN)
        for look in range(1, len(looks) - 1):
            if look != number:
                self.journal.drop(f"weights {look}")

    def _diversity(self, samples: Samples) -> dict[str, Any]:
        """Return realism, diversity and statistics of samples that are tensors."""
        if not isinstance(samples, Tensor) or len(samples) < 2:
            return {}
        x = samples.detach().float().cpu()
        seen = features(x)
        width = self.journal.get("bandwidth")
        if width is None:
            width = max(median_distance(seen), 1e-12)
            self.journal.set("bandwidth", width)
        each = torch.cdist(seen, seen).sum(1) / (len(seen) - 1)
        return {
            "realism": self._natural(samples),
            "distance": pairwise_distance(seen),
            "distance_error": 2 * float(each.std()) / len(seen) ** 0.5,
            "vendi": vendi(seen, width),
            "statistics": {name: float(value.mean()) for name, value in statistics(x).items()},
        }

    def _natural(self, samples: Tensor) -> list[float]:
        """Return the realism of samples under the parent, where it is known or the parent is its own denoiser."""
        parent, ledger = self._parent, self._evaluator.ledger
        if not self._asked:
            paid = ledger.copy()
            own = isinstance(parent, DiffusionGenerator) and has_denoiser(parent)
            self._realism = known(parent) or (realism(parent) if own else None)
            self._asked = True
            if self.journal.get("calibrated"):  # by the process that began the run
                ledger.take(paid)
        natural = self._realism
        if natural is None:
            return []
        found: list[float] = self._evaluator.measured(lambda: natural.of(samples)).tolist()
        return found

    def _divergence(self) -> tuple[float, float]:
        """Return KL(child || parent): as the tuner knows it, along paths, or by a fit to samples; in this order."""
        rng = stream(self._seed, "divergence")
        with torch.no_grad():
            told = self._tuner.divergence(self._trained, rng)
        if told is not None:
            return told
        child, parent = self._evaluator.generator, self._parent
        if isinstance(child, DiffusionGenerator) and isinstance(parent, DiffusionGenerator):
            with torch.no_grad():
                return path_kl(along_path(child), along_path(parent), PATHS, rng)
        ours, theirs = (self._drawn(g, rng) for g in (child, parent))
        if not isinstance(ours, Tensor) or not isinstance(theirs, Tensor):
            return float("nan"), float("nan")
        return kl_estimate(ours.float().cpu(), theirs.float().cpu(), rng, STEPS)

    def _drawn(self, generator: Generator, rng: torch.Generator) -> Samples:
        self._evaluator.ledger.decodes += DECODED
        return decoded(generator, generator.space.sample(DECODED, rng), MANY)

    def _entries(self, evaluation: Evaluation, samples: Samples) -> list[Entry]:
        space = self._evaluator.generator.space
        assert evaluation.plausibility is not None, "fresh points have coordinates"
        return [
            Entry(
                id=i,
                score=float(evaluation.score[i]),
                plausibility=float(evaluation.plausibility[i]),
                u=self.u[i],
                z=space.latent(self.u[i]),
                sample=row(samples, i),
            )
            for i in range(min(KEPT, len(self.u)))
        ]
