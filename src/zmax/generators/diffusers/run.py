"""Run a diffusers pipeline by its own code: all of it, one evaluation of its network, or the end of it."""

from __future__ import annotations

import copy
import functools
import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from zmax.core.errors import CapabilityError
from zmax.generators.diffusers.call import Call
from zmax.generators.diffusers.draws import Draws, Replay, Supply
from zmax.generators.diffusers.levels import levels_of
from zmax.generators.diffusers.parts import Answered, Echo, OneStep, StandIn, answer, fresh, watched

DIGITS = 128
"""Base in which indices pass through a pipeline: its digits are exact in every float type."""


class PipelineRun:
    """A pipeline as functions of its noises.

    The pipeline's own code runs, on shallow copies of it: with its scheduler (:meth:`images`), or with one that has a
    single step (:meth:`denoise`, :meth:`finish`). No module is moved, and the user's pipeline stays as it is.

    Args:
        pipe: the pipeline.
        call: its arguments.

    Attributes:
        networks: the networks that denoise.
        draws: shape of every noise that the pipeline draws, per sample, and whether it has any effect.
        levels: the noise levels, None where the scheduler's family is not known.
        steps: number of times at which the scheduler runs the network.
        differentiable: whether gradients pass: images come as tensors, and no safety checker looks at them.
    """

    def __init__(self, pipe: Any, call: Call) -> None:
        self._pipe, self._call = pipe, call
        denoisers = {name: part for name, part in pipe.components.items() if _denoises(part)}
        if not denoisers:
            raise CapabilityError(f"the pipeline {type(pipe).__name__!r}", expected="a network that denoises")
        self.networks: tuple[nn.Module, ...] = tuple(denoisers.values())
        self._echoes = _idle_parts(denoisers)
        self.draws: list[tuple[tuple[int, ...], bool]] = []
        self.levels = levels_of(pipe.scheduler, self._set_to)
        self._trace()

    def __deepcopy__(self, memo: dict[int, Any]) -> PipelineRun:
        """Copy the networks that denoise; the pipeline's other parts are shared."""
        made, pipe = copy.copy(self), copy.copy(self._pipe)
        denoisers = {name: copy.deepcopy(part, memo) for name, part in pipe.components.items() if _denoises(part)}
        vars(pipe).update(denoisers)
        memo[id(self.levels)] = self.levels
        made._pipe, made.networks, made._echoes = pipe, tuple(denoisers.values()), _idle_parts(denoisers)
        return made

    @property
    def prompts(self) -> tuple[str, ...]:
        """The prompts that the pipeline was given."""
        return tuple(prompt for prompt in self._call.prompts if prompt)

    @property
    def pipe(self) -> Any:
        """The pipeline."""
        return self._pipe

    @property
    def scheduler_name(self) -> str:
        """The class of the pipeline's scheduler."""
        return type(self._pipe.scheduler).__name__

    def to(self, device: str) -> None:
        """Move the pipeline."""
        self._pipe.to(device)

    def images(self, noises: Sequence[Tensor], rows: Sequence[int]) -> Float[Tensor, "n 3 h w"]:
        """Return the images in [0, 1] that the pipeline makes of its noises (those with effect), by its own scheduler.

        Args:
            noises: each (n, *shape), in the order of :attr:`draws`.
            rows: index of each sample's prompt.
        """
        given, every = iter(noises), []
        for shape, matters in self.draws:
            every.append(next(given) if matters else torch.zeros(len(rows), *shape))
        return _tensor(self._run(rows, Replay(every), fresh(self._pipe.scheduler), callbacks=True))

    def denoise(self, x_t: Float[Tensor, "n ..."], t: float) -> Float[Tensor, "n ..."]:
        """Return E[x_0 | x_t] at one time, laid out as the pipeline's first noise, where x_t is and in its dtype."""
        assert self.levels is not None, "asked by a generator that knows its levels"
        levels = self.levels
        scale = functools.partial(levels.network_input, t=t)
        found = self._answer(x_t, OneStep(self._pipe.scheduler, levels.network_time(t), answer, scale))
        output = found.output
        if output.ndim > 1 and output.shape[1] == 2 * found.sample.shape[1]:
            output = output.chunk(2, dim=1)[0]  # the other half is a learned variance
        return levels.clean(self._unpacked(output, x_t.shape).to(x_t), x_t, t)

    def finish(self, x_0: Float[Tensor, "n ..."]) -> Float[Tensor, "n 3 h w"]:
        """Return the images in [0, 1] of clean latents."""
        scheduler = OneStep(self._pipe.scheduler, torch.ones(()), lambda output, sample: sample)
        return _tensor(self._run([0] * len(x_0), Replay([x_0]), scheduler, parts=self._idle()))

    @cached_property
    def _unpack(self) -> Tensor | None:
        """Where each value of the first noise is in the latents that the scheduler sees; None if they are the same."""
        shape = self.draws[0][0]
        size = math.prod(shape)
        index, places, found = torch.arange(size), torch.zeros(size, dtype=torch.long), torch.Size([1, *shape])
        for power in range(max(1, math.ceil(math.log(size, DIGITS)))):
            noise = (index // DIGITS**power % DIGITS).float().reshape(1, *shape)
            scheduler = OneStep(self._pipe.scheduler, torch.ones(()), answer)
            with torch.inference_mode(False), torch.no_grad():
                sample = self._answer(noise, scheduler, self._idle()).sample
            if sample.numel() != size:
                raise CapabilityError("latents of the pipeline", expected="its noise, rearranged", got=sample.shape)
            places += sample.flatten().cpu().round().long() * DIGITS**power
            found = sample.shape
        if not torch.equal(places.sort().values, index):
            raise CapabilityError("latents of the pipeline", expected="its noise, rearranged", got="other values")
        return None if tuple(found[1:]) == shape and torch.equal(places, index) else places.argsort()

    def _unpacked(self, latents: Tensor, shape: torch.Size) -> Tensor:
        order = self._unpack
        return latents if order is None else latents.flatten(1)[:, order.to(latents.device)].reshape(shape)

    def _answer(self, x_t: Tensor, scheduler: OneStep, parts: dict[str, Any] | None = None) -> Answered:
        """Return what the pipeline hands to its scheduler in the first step."""
        try:
            self._run([0] * len(x_t), Replay([x_t]), scheduler, parts=parts)
        except Answered as found:
            return found.with_traceback(None)
        raise CapabilityError("the pipeline takes no step of its scheduler", got=type(self._pipe).__name__)

    def _set_to(self, steps: int) -> Any:
        """Return a scheduler set by the pipeline to a number of steps; no network runs."""
        scheduler = fresh(self._pipe.scheduler)
        parts: dict[str, Any] = {name: StandIn(echo, _stop) for name, echo in self._echoes.items()}
        parts |= {"maybe_free_model_hooks": _nothing}
        try:
            with torch.no_grad():
                self._run([0], lambda shape: torch.zeros(shape), scheduler, parts=parts, steps=steps)
        except _Stopped:
            return scheduler
        raise CapabilityError("the pipeline never runs its network", got=type(self._pipe).__name__)

    def _trace(self) -> None:
        """Find out what the pipeline draws, by a call in which its network runs only once."""
        step: list[int] = []

        def note(shape: tuple[int, ...]) -> Tensor:
            self.draws.append((shape[1:], True))
            return torch.zeros(shape)

        def end(matters: bool) -> None:
            start = step.pop()
            self.draws[start:] = [(shape, matters) for shape, _ in self.draws[start:]]

        scheduler = watched(self._pipe.scheduler, lambda: step.append(len(self.draws)), end)
        with torch.no_grad():
            images = self._run([0], note, scheduler, parts=self._idle())
        if not self.draws:
            raise CapabilityError(f"the pipeline {type(self._pipe).__name__!r} draws no noise", expected="a sampler")
        self.differentiable = isinstance(images, Tensor) and getattr(self._pipe, "safety_checker", None) is None
        self.steps = self.levels.keep(scheduler) if self.levels else len(scheduler.timesteps)

    def _idle(self) -> dict[str, Any]:
        """Return parts of a call in which no network computes."""
        return {**self._echoes, "maybe_free_model_hooks": _nothing}

    def _run(
        self,
        rows: Sequence[int],
        supply: Supply,
        scheduler: Any,
        *,
        parts: dict[str, Any] | None = None,
        callbacks: bool = False,
        steps: int | None = None,
    ) -> Any:
        """Call a copy of the pipeline, with the caller's choice of gradients, and return its images."""
        view = copy.copy(self._pipe)
        vars(view).update(parts or {}, scheduler=scheduler, _progress_bar_config={"disable": True})
        if hasattr(view, "encode_prompt"):
            vars(view)["encode_prompt"] = functools.partial(self._call.encode, view)
        call: Callable[..., Any] = inspect.unwrap(type(view).__call__)
        with Draws(supply):
            return call(view, **self._call.arguments(rows, callbacks=callbacks, steps=steps))[0]


class _Stopped(Exception):
    """The pipeline has come to its network."""


def _idle_parts(denoisers: Mapping[str, nn.Module]) -> dict[str, StandIn]:
    return {name: StandIn(part, Echo(part)) for name, part in denoisers.items()}


def _stop(*args: object, **kwargs: object) -> None:
    raise _Stopped


def _nothing() -> None:
    """Leave hooks for offloading as they are while stand-ins are in the pipeline."""


def _denoises(part: object) -> bool:
    """Tell the networks of diffusers from its autoencoders, and from encoders, which are of transformers."""
    from diffusers import ModelMixin

    real = getattr(part, "_orig_mod", part)
    return isinstance(real, ModelMixin) and not hasattr(real, "decode")


def _tensor(images: Any) -> Tensor:
    """Return images as floats (n, channels, h, w)."""
    if isinstance(images, Tensor):
        return images.float() if images.dtype in (torch.float16, torch.bfloat16) else images
    stacked = torch.as_tensor(np.stack([np.asarray(image) for image in images]), device="cpu")
    scaled = stacked.float() / 255 if stacked.dtype == torch.uint8 else stacked.float()
    return scaled.permute(0, 3, 1, 2)
