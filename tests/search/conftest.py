"""A driver over plain functions of u in float64, and the standard functions, as scores to maximise (maximum 0)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from zmax.core.proposal import Evaluation
from zmax.core.rng import stream
from zmax.core.space import Space
from zmax.core.strategy import Need, Strategy

Function = Callable[[Tensor], Tensor]


def told(u: Tensor, score: Tensor, *, ok: Tensor | None = None, grad: Tensor | None = None) -> Evaluation:
    ok = torch.ones(len(u), dtype=torch.bool) if ok is None else ok
    return Evaluation(score.masked_fill(~ok, -math.inf), ok, torch.ones(len(u)), range(len(u)), grad)


@dataclass
class Climb:
    """What one run did: every proposal, its state, and the first number of calls at which the target was reached."""

    state: Any
    best: float = -math.inf
    calls: int = 0
    reached: int | None = None
    path: list[Tensor] = field(default_factory=list)


def evaluate(method: Strategy[Any], function: Function, u: Tensor) -> Evaluation:
    if Need.GRADIENT not in method.needs:
        return told(u, function(u.double()).detach())
    leaf = u.double().requires_grad_()
    score = function(leaf)
    return told(u, score.detach(), grad=torch.autograd.grad(score.sum(), leaf)[0])


def climb(
    method: Strategy[Any],
    function: Function,
    *,
    dim: int = 0,
    calls: int,
    seed: int = 0,
    target: float = math.inf,
    state: Any = None,
) -> Climb:
    """Maximise a function of u for that many calls, or until the target is reached."""
    run = Climb(method.init(Space.of((dim,)), stream(seed)) if state is None else state)
    while run.calls < calls and run.reached is None:
        u = method.ask(run.state).u
        evaluation = evaluate(method, function, u)
        run.path.append(u)
        run.calls += len(u)
        run.best = max(run.best, float(evaluation.score.max()))
        run.reached = run.calls if run.best >= target else None
        run.state = method.tell(run.state, evaluation)
    return run


def sphere(u: Tensor) -> Tensor:
    return -u.square().sum(1)


def ellipsoid(u: Tensor) -> Tensor:
    axis = torch.arange(u.shape[1], dtype=u.dtype) / (u.shape[1] - 1)
    return -(10 ** (6 * axis) * u.square()).sum(1)


def rosenbrock(u: Tensor) -> Tensor:
    return -(100 * (u[:, 1:] - u[:, :-1].square()).square() + (1 - u[:, :-1]).square()).sum(1)


@pytest.fixture
def bench() -> SimpleNamespace:
    """The driver and the functions, by name."""
    return SimpleNamespace(
        climb=climb, evaluate=evaluate, told=told, sphere=sphere, ellipsoid=ellipsoid, rosenbrock=rosenbrock
    )
