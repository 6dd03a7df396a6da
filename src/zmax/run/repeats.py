"""Noise in S: score the leaders again, and rank them by what they are worth on average, not by their luckiest draw."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from zmax.core.budget import Budget
from zmax.core.proposal import Proposal, SamplesAt
from zmax.core.samples import stack
from zmax.results.spec import RunSpec
from zmax.run.evaluator import Evaluator
from zmax.run.recorder import UNDER_WAY
from zmax.store import AGAIN, Journal

SHARE = 0.1
"""Share of the score calls that is kept back for repeats where S is noisy."""

FEWEST = 4
"""Repeats a leader gets at least; where the budget is small, fewer samples stay leaders."""


def loop_budget(spec: RunSpec, noisy: bool) -> Budget:
    """Return the limits of the loop: less than the run's where S is noisy, by what repeats will cost."""
    if not noisy or spec.budget.score_calls is None:
        return spec.budget
    return replace(spec.budget, score_calls=spec.budget.score_calls - _reserve(spec))


def _reserve(spec: RunSpec) -> int:
    share = int(SHARE * (spec.budget.score_calls or 0))
    return share if share >= 2 * FEWEST else 0


def repeat_leaders(evaluator: Evaluator, journal: Journal, spec: RunSpec) -> None:
    """Spend what was kept back on the leaders, and put each leader's posterior mean in place of its score.

    The values that made them leaders are left out of the mean: they were selected for being high. Leaders for which
    there are too few calls are leaders no more. The one with the fewest repeats is always the next, so that passes
    which were cut short go on where they were.
    """
    reserve, noise, under_way = _reserve(spec), journal.repeats(), journal.kept("leader")
    leaders = under_way[: max(2, reserve // FEWEST)]
    done = {e.id: len(noise.get(e.id, [])) for e in leaders}
    while leaders:
        due = [e for e in leaders if done[e.id] == min(done.values())]
        if evaluator.budget.room(evaluator.ledger, reserve - sum(done.values())) < len(due):
            break
        part = due[: spec.batch_size]
        again = Proposal(SamplesAt(stack([e.sample for e in part]), torch.stack([e.u for e in part])))
        with evaluator.answers.at(sum(done.values()), AGAIN):
            scores = evaluator.evaluate(again).score.tolist()
        journal.add_repeats({e.id: score for e, score in zip(part, scores, strict=True)}, evaluator.ledger)
        done |= {e.id: done[e.id] + 1 for e in part}
    seen = {id_: [v for v in values if math.isfinite(v)] for id_, values in journal.repeats().items()}
    known = [e for e in leaders if len(seen.get(e.id, [])) > 1]
    repeats = [torch.tensor(seen[e.id], dtype=torch.float64) for e in known]
    if len(known) > 1:
        means = posterior_means(repeats).tolist()
        noise_level = math.sqrt(float(torch.stack([values.var() for values in repeats]).mean()))
        with journal.together():
            journal.keep(UNDER_WAY, under_way)
            journal.keep("leader", [replace(e, score=mean) for e, mean in zip(known, means, strict=True)])
            journal.set("noise", noise_level)


def posterior_means(repeats: list[Float[Tensor, " r"]]) -> Float[Tensor, " n"]:
    r"""Return the posterior mean of each sample's true score from its repeats, by empirical Bayes.

    With repeats :math:`y_{ij} \sim N(\theta_i, \sigma^2)` and :math:`\theta_i \sim N(m, \tau^2)`, where m, tau and
    sigma are estimated from the repeats themselves,

    .. math:: E[\theta_i \mid y] = m + \frac{\tau^2}{\tau^2 + \sigma^2 / r_i}\,(\bar y_i - m)

    Reference: Efron and Morris 1975, *Data analysis using Stein's estimator and its generalizations*,
    https://doi.org/10.1080/01621459.1975.10479864.

    Example:
        >>> rows = [torch.tensor([1.0, 1.2]), torch.tensor([5.0, 4.8])]
        >>> [round(v, 2) for v in posterior_means(rows).tolist()]
        [1.1, 4.9]
    """
    mean = torch.stack([y.mean() for y in repeats]).double()
    error = torch.stack([y.var() for y in repeats]).mean() / torch.tensor([len(y) for y in repeats], dtype=mean.dtype)
    middle = mean.mean()
    between = (mean.var() - error.mean()).clamp_min(0)
    return middle + between / (between + error).clamp_min(1e-300) * (mean - middle)
