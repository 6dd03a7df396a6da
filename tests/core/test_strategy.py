"""The population that scores alone give."""

from __future__ import annotations

import math

import torch

from zmax.core.strategy import Population


def test_finite_scores_share_the_weight_and_failures_have_none():
    for score in ([1.0], [1.0, math.nan], [math.inf, 3.0, 2.0, -math.inf], [1.0, 2.0, 3.0]):
        alive = [math.isfinite(value) for value in score]
        weight = Population.equal(torch.zeros(len(score), 2), torch.tensor(score)).log_weight.exp()
        torch.testing.assert_close(weight, torch.tensor(alive).double() / sum(alive))
