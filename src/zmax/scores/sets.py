"""Scores of sets of samples, such as their diversity."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from zmax.core.checks import whole
from zmax.core.defaults import theirs
from zmax.core.errors import InputError
from zmax.core.networks import as_network
from zmax.core.samples import Samples, count
from zmax.core.score import Score
from zmax.scores.callable import named
from zmax.scores.values import as_values, stack_values


def set_score(
    fn: Callable[[Any], Any],
    size: int = 8,
    *,
    name: str | None = None,
    differentiable: bool | None = None,
    noisy: bool = False,
    unit: str = "",
) -> SetScore:
    """Wrap a function of a set of samples as a score: diversity, coverage, or how far a set is from another.

    A set is then what is searched for: a run of such a score has sets of samples as its samples, each of as many
    latents, and one score call is one set.

    Args:
        fn: takes k samples together, as the generator makes them, and returns one number, higher is better.
        size: k.
        name: how reports call it; the function's own name if not given.
        differentiable: whether autograd can follow `fn`; None finds out by a probe before the run.
        noisy: whether a second call on the same set may give another value.
        unit: unit of the values, "" if none.

    Raises:
        InputError: not a callable, or the size is not 2 or more.

    Example:
        >>> S = set_score(lambda x: torch.pdist(x.flatten(1)).min(), 2, name="distance")
        >>> S(torch.tensor([[[0.0, 0.0], [3.0, 4.0]]])).tolist()
        [5.0]
    """
    if not callable(fn) or isinstance(fn, (type, Score)):
        remedy = "of a score S of samples: zmax.set_score(lambda x: S(x).mean())"
        raise InputError("a score of sets", expected="a function: k samples -> one number", got=repr(fn), remedy=remedy)
    whole("set_score", least=2, size=size)
    return SetScore(fn, size, name or named(fn), differentiable, noisy, unit)


class SetScore(Score):
    """A function of sets of samples as a score; see :func:`set_score`."""

    def __init__(
        self, fn: Callable[[Any], Any], size: int, name: str, differentiable: bool | None, noisy: bool, unit: str
    ) -> None:
        self._fn, self.size, self.name = as_network(fn), size, name
        self.differentiable, self.noisy, self.unit = differentiable, noisy, unit
        self.networks = (self._fn,) if isinstance(self._fn, torch.nn.Module) else ()

    def __call__(self, samples: Samples) -> Float[Tensor, " n"]:
        """Score one set after another.

        Raises:
            ShapeError: the function does not return one number.
        """
        n = count(samples, what=f"sets for the score {self.name!r}")
        handed = samples.detach() if isinstance(samples, Tensor) and self.differentiable is False else samples
        with theirs():
            rows = [as_values(stack_values([self._fn(handed[i])]), 1, self.name)[0] for i in range(n)]
        values = torch.stack(rows) if rows else torch.zeros(0)
        return values.to(samples.device) if isinstance(samples, Tensor) else values
