"""A guard around any method: points off the prior's typical set are told a lower score."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from zmax.core.checks import positive
from zmax.core.proposal import Evaluation, Proposal
from zmax.core.space import Space
from zmax.core.start import Start
from zmax.core.state import STATIC
from zmax.core.strategy import Population, Strategy


def free(tests: int) -> float:
    r"""Return the standard score up to which nothing is taken off, so that half of all prior draws or more pay nothing.

    .. math:: z_0 = \Phi^{-1}\Bigl(1 - \frac{1}{4 m}\Bigr)

    Example:
        >>> [round(free(tests), 2) for tests in (1, 4, 40)]
        [0.67, 1.53, 2.5]
    """
    return float(torch.special.ndtri(torch.tensor(1 - 0.25 / tests, dtype=torch.float64)))


@dataclass(frozen=True)
class PenalisedState:
    """The inner method's state, and the spread of the first scores, in whose units the penalty is paid."""

    inner: Any
    unit: float
    space: Space = field(metadata=STATIC)


class Penalised(Strategy[PenalisedState]):
    r"""Tell a method :math:`S - \lambda\,s\,\tfrac12 \sum_j \max(0, |z_j(u)| - z_0)^2` instead of S.

    The :math:`z_j` are the standard scores behind the plausibility (norm of each block; for noise-like latents also
    the tests of white noise), s is the standard deviation of the first scores and :math:`z_0` what half of all prior
    draws do not exceed anywhere: 0.674 for one test (:func:`free`). Where retraction forbids atypical points, this lets
    the method pay for them. What is recorded of a sample is its true score.

    Args:
        strategy: the method, usually with `retract=False`.
        weight: :math:`\lambda`, in standard deviations of the score.

    Raises:
        InputError: the weight is not positive.

    Example:
        >>> from zmax.core.rng import stream
        >>> from zmax.search.ascent.gradient import Gradient
        >>> method = Penalised(strategy=Gradient(retract=False, batch=4))
        >>> len(method.needs), method.ask(method.init(Space.of((100,)), stream(0))).u.shape
        (1, torch.Size([4, 100]))
    """

    reference = "Eyring et al., ReNO, NeurIPS 2024, equation 6, https://arxiv.org/abs/2406.04312"

    def __init__(self, *, strategy: Strategy[Any], weight: float = 1.0) -> None:
        positive("Penalised", weight=weight)
        self.strategy = strategy
        self.weight = weight
        self.needs = strategy.needs
        self.begins = strategy.begins

    def init(self, space: Space, rng: torch.Generator) -> PenalisedState:
        """Begin as the inner method does."""
        return PenalisedState(self.strategy.init(space, rng), 0.0, space)

    def begin(self, space: Space, rng: torch.Generator, start: Start) -> PenalisedState:
        """Begin at a start as the inner method does."""
        return PenalisedState(self.strategy.begin(space, rng, start), 0.0, space)

    def ask(self, state: PenalisedState) -> Proposal:
        """Propose what the inner method proposes."""
        return self.strategy.ask(state.inner)

    def tell(self, state: PenalisedState, evaluation: Evaluation) -> PenalisedState:
        """Take the penalty off scores and gradients, then tell the inner method."""
        proposal = self.ask(state)
        unit = state.unit or _spread(evaluation)
        u = proposal.u
        if u is not None and u is proposal.at.points and proposal.want.calls:
            evaluation = self._lowered(u, evaluation, unit, state.space)
        return replace(state, inner=self.strategy.tell(state.inner, evaluation), unit=unit)

    def draws(self, state: PenalisedState) -> Population | None:
        """Return what the inner method stands for."""
        return self.strategy.draws(state.inner)

    def _lowered(self, u: Tensor, evaluation: Evaluation, unit: float, space: Space) -> Evaluation:
        with torch.enable_grad():
            leaf = u.detach().double().requires_grad_()
            scores = space.deviation(leaf)
            excess = (scores.abs() - free(max(scores.shape[1], 1))).clamp_min(0)
            penalty = self.weight * unit * excess.square().sum(1) / 2
            (slope,) = torch.autograd.grad(penalty.sum(), leaf)
        score = evaluation.score - torch.where(evaluation.ok, penalty.detach(), 0.0)
        grad = evaluation.grad
        if grad is not None:
            grad = grad - torch.where(evaluation.ok[:, None], slope, 0.0).to(grad.dtype)
        return replace(evaluation, score=score.to(evaluation.score.dtype), grad=grad)


def _spread(evaluation: Evaluation) -> float:
    """Return the standard deviation of the scores that did not fail; 0, "not known yet", where that is no use."""
    alive = evaluation.score[evaluation.ok].double() if len(evaluation.score) else evaluation.score.double()
    spread = float(alive.std()) if len(alive) > 1 else 0.0
    return spread if 0 < spread < 1e15 else 0.0
