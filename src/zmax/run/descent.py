"""The descent of a finetune: optimiser, accumulation, clipping, averages of weights, precision."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from zmax.core.budget import Ledger
from zmax.core.rng import Rng
from zmax.core.tuner import Models, Recipe, Rollout, Tuner
from zmax.finetune.weights import Child
from zmax.results.spec import TrainSpec
from zmax.run.processes import Crew

Weights = dict[str, Tensor]


@dataclass(frozen=True)
class TrainState:
    """Where training stands before a round.

    Attributes:
        inner: the tuner's state.
        weights: those that are trained.
        policy: the average that samples are collected with, None where that is the latest.
        average: the average that is looked at and returned, None where that is the latest.
        optimiser: state of AdamW.
        rng: orders the rows of rollouts.
        updates, looks: optimiser steps and looks done.
        loss, slope: mean loss and gradient norm since the last look, with the number of updates they are means of.
    """

    inner: Any
    weights: Weights
    policy: Weights | None
    average: Weights | None
    optimiser: dict[str, Any]
    rng: Rng
    updates: int = 0
    looks: int = 0
    loss: float = 0.0
    slope: float = 0.0
    counted: int = 0


@dataclass(frozen=True)
class Tuning:
    """What training works on.

    Attributes:
        tuner: says what to score and what to descend.
        models: child and parent in the form that is trained.
        child: the weights that move.
        recipe: how they are moved.
        spec: what was asked.
    """

    tuner: Tuner[Any]
    models: Models
    child: Child
    recipe: Recipe
    spec: TrainSpec


class Descent:
    """Takes the optimiser steps of a finetune; the child and the optimiser hold what the last of them left.

    Args:
        tuning: what is finetuned.
        ledger: counts gradients that are not finite.
        crew: processes that share out the rows of a step.
    """

    def __init__(self, tuning: Tuning, ledger: Ledger, crew: Crew) -> None:
        self.tuning, self._ledger, self._crew = tuning, ledger, crew
        self._params = tuning.child.weights
        moving = [{"params": [*self._params.values()]}]  # of a child that takes a score by itself none
        self._optimiser = torch.optim.AdamW(moving, lr=tuning.recipe.rate, weight_decay=tuning.recipe.decay)

    def begin(self, rng: torch.Generator) -> TrainState:
        """Return the state before the first round."""
        tuning = self.tuning
        weights = tuning.child.tensors()
        inner_rng, order = Rng.of(rng).split()
        return TrainState(
            inner=tuning.tuner.init(tuning.models.child, inner_rng.generator()),
            weights=weights,
            policy=weights if tuning.recipe.lag else None,
            average=weights if tuning.recipe.average else None,
            optimiser=_copied(self._optimiser.state_dict()),
            rng=order,
        )

    def go_on(self, state: TrainState) -> None:
        """Take over the optimiser of a saved state."""
        self._optimiser.load_state_dict(_copied(state.optimiser))

    def descend(self, state: TrainState, rollout: Rollout) -> TrainState:
        """Take a round's optimiser steps, each on an equal share of the rows, and move the averages."""
        recipe = self.tuning.recipe
        done = self.tuning.tuner.progress(state.inner) if recipe.cool else None
        for group in self._optimiser.param_groups:
            group["lr"] = recipe.rate * (1.0 if done is None else (1 + math.cos(math.pi * min(1.0, done))) / 2)
        rng = state.rng.generator()
        order = torch.randperm(len(rollout), generator=rng, device="cpu")
        state = replace(state, rng=Rng.of(rng))
        for part in order.chunk(recipe.updates):
            loss, slope = self._step(rollout, part)
            state = replace(
                state,
                updates=state.updates + 1,
                loss=state.loss + loss,
                slope=state.slope + slope,
                counted=state.counted + 1,
                average=_mixed(state.average, self._params, recipe.average),
            )
        return replace(
            state,
            weights=self.tuning.child.tensors(),
            policy=_mixed(state.policy, self._params, recipe.lag),
            optimiser=_copied(self._optimiser.state_dict()),
        )

    def _step(self, rollout: Rollout, part: Tensor) -> tuple[float, float]:
        """Take one optimiser step on the mean loss of some rows."""
        self._optimiser.zero_grad(set_to_none=True)
        total = sum(self._crew.shared(self._ledger, len(part), lambda rows: self._summed(rollout, part, rows)))
        self._crew.summed(self._params.values())
        slope = float(torch.nn.utils.clip_grad_norm_(self._params.values(), self.tuning.recipe.clip))
        if math.isfinite(slope):
            self._optimiser.step()
        else:
            self._ledger.bad_gradients += 1
            slope = 0.0
        return total if math.isfinite(total) else 0.0, slope

    def _summed(self, rollout: Rollout, part: Tensor, share: slice) -> float:
        """Add up loss and gradients of a share of a step's rows, as many at once as a batch holds."""
        tuning, total = self.tuning, 0.0
        half = tuning.spec.precision == "bfloat16"
        kind = torch.device(tuning.models.child.device).type
        for rows in part[share].split(tuning.spec.batch_size):
            with torch.enable_grad(), torch.autocast(kind, torch.bfloat16) if half else nullcontext():
                loss = tuning.tuner.loss(tuning.models, rollout.at(rows)).sum() / len(part)
            if loss.requires_grad:
                loss.backward()
            total += float(loss.detach())
        return total


def _mixed(average: Weights | None, latest: Mapping[str, Tensor], decay: float) -> Weights | None:
    if average is None:
        return None
    return {name: value.lerp(latest[name].detach(), 1 - decay) for name, value in average.items()}


def _copied(value: Any) -> Any:
    """Return nested dicts and lists with clones of their tensors."""
    if isinstance(value, Tensor):
        return value.detach().clone()
    if isinstance(value, dict):
        return {key: _copied(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_copied(part) for part in value)
    return value


def packed(weights: Weights) -> bytes:
    """Return weights as a safetensors file."""
    return safetensors.torch.save({name: value.cpu().contiguous() for name, value in weights.items()})


def unpacked(blob: bytes) -> Weights:
    """Return the weights of a safetensors file."""
    return safetensors.torch.load(blob)


def moved(start: Weights, now: Weights) -> float:
    """Return how far weights are from where they began, as a share of their size there.

    Example:
        >>> moved({"w": torch.tensor([3.0, 4.0])}, {"w": torch.tensor([3.0, 4.5])})
        0.1
    """
    size = math.fsum(float(value.double().square().sum()) for value in start.values())  # whatever their order
    way = math.fsum(float((now[name].double() - value.double()).square().sum()) for name, value in start.items())
    return math.sqrt(way / size) if size else math.inf if way else 0.0
