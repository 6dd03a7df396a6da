"""Stand-ins for the parts of a diffusers pipeline: a scheduler of one step, a network that does not compute."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any, NoReturn, cast

import torch
from torch import Tensor, nn

from zmax.generators.diffusers.draws import Draws


class Answered(Exception):
    """No error: ends a pipeline's call as soon as what was asked for is known, and carries it out.

    Attributes:
        output: of the network, guidance included.
        sample: x_t as the scheduler gets it.
    """

    def __init__(self, output: Tensor, sample: Tensor) -> None:
        super().__init__()
        self.output, self.sample = output, sample


class OneStep:
    """A scheduler of a single step that leaves latents as they are and hands the network's output to `after`.

    Args:
        real: the scheduler it stands for; whatever else the pipeline asks of it comes from there.
        time: the network's time.
        after: (output, sample) -> the next latents.
        scale: maps latents to the network's input.
    """

    order = 1
    init_noise_sigma = 1.0

    def __init__(
        self,
        real: Any,
        time: Tensor,
        after: Callable[[Tensor, Tensor], Tensor],
        scale: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        self._real, self._after, self._scale = real, after, scale
        self.timesteps, self.num_inference_steps = time.reshape(1), 1

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self._real, name)

    def set_timesteps(
        self,
        num_inference_steps: int | None = None,
        device: Any = None,
        timesteps: object = None,
        sigmas: object = None,
        **_: object,
    ) -> None:
        """Keep the one time, on the pipeline's device."""
        self.timesteps = self.timesteps.to(device or self.timesteps.device)

    def set_begin_index(self, begin_index: int = 0) -> None:
        """Do nothing: there is one step."""

    def scale_model_input(self, sample: Tensor, timestep: object = None) -> Tensor:
        """Return the network's input."""
        return sample if self._scale is None else self._scale(sample)

    def step(
        self, model_output: Tensor, timestep: object, sample: Tensor, return_dict: bool = True, **_: object
    ) -> object:
        """Return the next latents, also as the prediction of x_0."""
        latents = self._after(model_output, sample)
        return SimpleNamespace(prev_sample=latents, pred_original_sample=latents) if return_dict else (latents, latents)


def answer(output: Tensor, sample: Tensor) -> NoReturn:
    """End the pipeline's call with the network's output."""
    raise Answered(output, sample)


class StandIn(nn.Module):
    """Takes a network's place in a pipeline: everything comes from the real one, except what it computes.

    Args:
        real: the network.
        compute: what happens instead of its forward call.
    """

    def __init__(self, real: nn.Module, compute: Callable[..., Any]) -> None:
        super().__init__()
        self.__dict__["_stood_for"] = real  # not a submodule
        self.__dict__["_compute"] = compute

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["_stood_for"], name)

    def forward(self, *args: Any, **kwargs: Any) -> Any:  # noqa: D102
        return self.__dict__["_compute"](*args, **kwargs)


class Echo:
    """Answers like a network, with zeros; the network itself runs once for each kind of call, to show the form.

    Args:
        network: whose form of answers is copied.
    """

    def __init__(self, network: nn.Module) -> None:
        self._network = network
        self._forms: dict[bool, Any] = {}

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Return zeros of the form of the network's answer, with as many rows as the call has."""
        kind = bool(kwargs.get("return_dict", True))
        if kind not in self._forms:
            with torch.inference_mode(False), torch.no_grad():
                self._forms[kind] = mapped(self._network(*args, **kwargs), lambda part: part.new_zeros(part.shape[1:]))
        rows = len(next(value for value in (*args, *kwargs.values()) if isinstance(value, Tensor) and value.ndim > 1))
        return mapped(self._forms[kind], lambda part: part.expand(rows, *part.shape))


def mapped(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """Apply to every tensor in what a network takes or answers: tensors, tuples, lists, dicts, diffusers' outputs."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, Mapping):
        return type(value)(**{key: mapped(part, change) for key, part in value.items()})
    if isinstance(value, (list, tuple)):
        return type(value)([mapped(part, change) for part in value])
    return value


def fresh(scheduler: Any) -> Any:
    """Return a scheduler of the same settings that no call has touched."""
    return copy.deepcopy(scheduler)


def watched(scheduler: Any, begin: Callable[[], None], end: Callable[[bool], None]) -> Any:
    """Return a copy of a scheduler that says before and after each step whether the step's noise has any effect.

    Some schedulers draw noise in the last step and multiply it by zero. So each step is first taken twice, by copies
    of the scheduler, with noises of zeros and of ones.

    Args:
        scheduler: the scheduler.
        begin: called before a step draws.
        end: called after, with whether the noise matters.
    """
    made = fresh(scheduler)
    step = type(scheduler).step

    @functools.wraps(made.step)
    def both(*args: Any, **kwargs: Any) -> Any:
        ends = []
        for fill in (torch.zeros, torch.ones):
            trial = copy.copy(made)
            trial.__dict__.update(copy.deepcopy({k: v for k, v in vars(made).items() if k != "step"}))
            trial.__dict__.pop("step", None)
            with Draws(fill):
                ends.append(latents_of(step(trial, *args, **kwargs)))
        begin()
        out = step(made, *args, **kwargs)
        end(not torch.equal(*ends))
        return out

    made.step = both
    return made


def latents_of(output: Any) -> Tensor:
    """Return the latents in what a scheduler's step returns."""
    return cast(Tensor, output[0] if isinstance(output, tuple) else output.prev_sample)
