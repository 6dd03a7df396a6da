"""What must hold before the first update of a finetune: found out by looking, not by trust."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from zmax.core.tuner import Check, Models, Rollout, Tuner

ROWS = 32
"""Rows of the rollout that are looked at, at most."""


def self_check(
    tuner: Tuner[Any], models: Models, weights: Mapping[str, nn.Parameter], rollout: Rollout, score: Tensor
) -> list[Check]:
    """Return the checks of every tuner and of this one.

    Args:
        tuner: whose loss is descended.
        models: child and parent.
        weights: those that move; their gradients are left empty.
        rollout: of the first round that can be trained on.
        score: of the first round.
    """
    alive = score[torch.isfinite(score)]
    spread = float(alive.std()) if len(alive) > 1 else 0.0
    rows = rollout.at(torch.arange(min(ROWS, len(rollout)), device="cpu"))
    with torch.enable_grad():
        loss = tuner.loss(models, rows)
        if loss.requires_grad:
            loss.mean().backward()
    slopes = [weight.grad for weight in weights.values() if weight.grad is not None]
    size = math.sqrt(sum(float(slope.double().square().sum()) for slope in slopes))
    for weight in weights.values():
        weight.grad = None
    return [
        Check("scores differ", spread > 0, f"standard deviation {spread:.3g} of {len(alive)} scores"),
        Check("noises differ", _distinct(rollout), "no two rows have the same noise"),
        Check(
            "a gradient reaches the weights",
            math.isfinite(size) and size > 0,
            f"norm {size:.3g}, {len(slopes)} of {len(weights)} weights",
        ),
        *tuner.checks(models, rows),
    ]


def _distinct(rollout: Rollout) -> bool:
    noise = rollout.rows.get("noise", rollout.rows.get("u"))
    return noise is None or len(noise.flatten(1).unique(dim=0)) == len(noise)
