"""Why the score of a finetune is not moving, in one line."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from zmax.results.looks import Look, Z

TINY = 1e-4
"""Relative change of the weights below which samples hardly change."""

FEW = 20
"""Updates below which little is to be expected."""

CUT = 10.0
"""How many times longer than allowed gradients are before the cut is spoken of."""

HELD = 0.02
"""Change of the KL between looks, as a share of it, below which something holds it."""


def gain(parent: Sequence[float], child: Sequence[float]) -> tuple[float, float]:
    """Return the mean change of values of the same noises, and its standard error; NaN where there are too few.

    Example:
        >>> gain([0.0, 1.0, 2.0], [1.0, 2.0, 3.0])
        (1.0, 0.0)
    """
    before, after = np.array(parent, dtype=np.float64), np.array(child, dtype=np.float64)
    both = np.isfinite(before) & np.isfinite(after)
    change = after[both] - before[both]
    if len(change) < 2:
        return math.nan, math.nan
    return float(change.mean()), float(change.std(ddof=1) / len(change) ** 0.5)


def why_still(looks: Sequence[Look], checks: Sequence[Sequence[Any]], recipe: Mapping[str, float]) -> str:
    """Say why the score of fresh samples has not risen, "" where it has or nothing was tried yet.

    Args:
        looks: so far, that of the parent first.
        checks: name, whether it is as it should be, and what was found, before the first update.
        recipe: `rate` and `clip` of the descent.
    """
    if len(looks) < 2:
        return ""
    first, last = looks[0], looks[-1]
    rise, error = gain(first.scores, last.scores)
    if rise > Z * error:
        return ""
    fell = f"it fell by {-rise:.2g}: lower the learning rate, {recipe.get('rate', math.nan):.1g}, threefold"
    return _of_scores(last) or _of_gradients(last, checks) or (fell if rise < -Z * error else _of_steps(looks, recipe))


def _of_scores(last: Look) -> str:
    known = [score for score in last.scores if math.isfinite(score)]
    if not known:
        return "no fresh sample has a score: see why evaluations failed"
    if len(known) > 1 and min(known) == max(known):
        return "all fresh samples score the same: S cannot tell them apart, so nothing says which way to go"
    return ""


def _of_gradients(last: Look, checks: Sequence[Sequence[Any]]) -> str:
    if not last.updates:
        return "no update was taken: no round gave a row to train on"
    bad = [f"{name} ({found})" for name, ok, found in checks if not ok]
    if last.slope == 0 and last.loss == 0:
        return "loss and gradient are zero: within a round no sample was better than another (advantages of zero)"
    if last.slope == 0:
        return "the gradient is zero: S is flat where the samples are, or cut off from the weights"
    return f"a check before the first update failed: {'; '.join(bad)}" if bad else ""


def _of_steps(looks: Sequence[Look], recipe: Mapping[str, float]) -> str:
    last, rate, clip = looks[-1], recipe.get("rate", math.nan), recipe.get("clip", math.nan)
    if last.updates < FEW:
        return f"only {last.updates} updates were taken: give a larger budget, or collect fewer samples a round"
    if last.moved < TINY:
        return f"the weights moved by {last.moved:.1g} of their size: raise the learning rate, {rate:.1g}, tenfold"
    if _held(looks):
        return f"the KL to the parent stays at {last.kl:.2g}: what keeps the child near it balances the score"
    if last.slope > CUT * clip:
        return f"gradients of norm {last.slope:.2g} are cut to {clip:.2g}: a few large ones drown the rest"
    return (
        f"the weights moved by {last.moved:.1g} of their size at a gradient norm of {last.slope:.2g}, and no more can "
        f"be told: try a third and three times the learning rate, {rate:.1g}"
    )


def _held(looks: Sequence[Look]) -> bool:
    before, last = looks[-2].kl, looks[-1].kl
    return len(looks) > 2 and last > 3 * looks[-1].kl_error and abs(last - before) <= HELD * last
