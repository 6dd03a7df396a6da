"""When a chain that no longer climbs takes shorter steps, and when it is given up."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from zmax.core.proposal import Evaluation

HALVINGS = 6


@dataclass(frozen=True)
class Progress:
    """One row a chain.

    Attributes:
        step: its present step.
        best: its best score.
        stalled: steps since that best, or since its step was last halved.
    """

    step: Float[Tensor, " n"]
    best: Float[Tensor, " n"]
    stalled: Int[Tensor, " n"]

    def told(self, evaluation: Evaluation, patience: int, first: float) -> tuple[Progress, Bool[Tensor, " n"]]:
        """Take in the scores: a chain that has not improved for `patience` steps halves its step.

        Args:
            evaluation: scores of the chains.
            patience: steps without improvement before that.
            first: the step that chains begin with.

        Returns:
            The progress, and which chains are spent: their sample failed, or their step was halved too often.
        """
        score = evaluation.score.double()
        better = evaluation.ok & (score > self.best)
        stalled = torch.where(better, 0, self.stalled + 1)
        tired = stalled >= patience
        step = torch.where(tired, self.step / 2, self.step)
        best, stalled = torch.where(better, score, self.best), torch.where(tired, 0, stalled)
        return Progress(step, best, stalled), ~evaluation.ok | (step < 0.75 * first / 2**HALVINGS)
