"""Run a diffusers pipeline by its own code: all of it, one evaluation of its network, or the end of it."""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from zmax.core.errors import CapabilityError
from zmax.generators.diffusers.call import Call
from zmax.generators.diffusers.caller import Caller, Runner
from zmax.generators.diffusers.draws import Draws, Replay
from zmax.generators.diffusers.levels import levels_of
from zmax.generators.diffusers.schedulers import Answered, OneStep, answer, fresh
from zmax.generators.diffusers.traced import Traced

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
        draws: shape of every noise that the pipeline draws, per sample, and whether it is a latent: it has an effect,
            and each sample of a batch has its own.
        levels: the noise levels, None where the scheduler's family is not known.
        steps: number of times at which the scheduler runs the network.
        found: what idle calls have shown.
        prompts: those that the pipeline was given.
    """

    def __init__(self, pipe: Any, call: Call) -> None:
        self._caller, self.prompts = Caller(pipe, call), call.prompts
        self.found = Traced(self._caller)
        self.draws = self.found.draws
        self._denoisers = {name: getattr(pipe, name) for name in self.found.echoes}
        self.networks: tuple[nn.Module, ...] = tuple(self._denoisers.values())
        self.levels = levels_of(pipe.scheduler, self._set_to)
        times = self.found.watched.times
        self.steps = self.levels.keep(times) if self.levels and times else len(self.found.watched.steps)

    def __deepcopy__(self, memo: dict[int, Any]) -> PipelineRun:
        """Copy the networks that denoise; the pipeline's other parts are shared."""
        made, pipe = copy.copy(self), copy.copy(self.pipe)
        made._denoisers = {name: copy.deepcopy(part, memo) for name, part in self._denoisers.items()}
        vars(pipe).update(made._denoisers)
        memo[id(self.levels)] = self.levels
        made._caller, made.networks = self._caller.on(pipe), tuple(made._denoisers.values())
        return made

    @property
    def arguments(self) -> Call:
        """What the pipeline is called with."""
        return self._caller.arguments

    def asked(self, given: Mapping[str, Any]) -> PipelineRun:
        """Return the same pipeline with other values of arguments that all samples share."""
        made = copy.copy(self)
        made._caller = copy.copy(self._caller)
        made._caller.arguments = self.arguments.asked(given)
        return made

    @property
    def pipe(self) -> Any:
        """The pipeline."""
        return self._caller.pipe

    @property
    def scheduler_name(self) -> str:
        """The class of the pipeline's scheduler."""
        return type(self._caller.scheduler).__name__

    def to(self, device: str) -> None:
        """Move the pipeline."""
        self.pipe.to(device)

    def images(self, noises: Sequence[Tensor], rows: Sequence[int]) -> Tensor:
        """Return the samples that the pipeline makes of its noises (the latents), by its own scheduler.

        Args:
            noises: each (n, *shape), in the order of :attr:`draws`.
            rows: index of each sample's prompt.
        """
        if self.found.alone and len(rows) > 1:
            return torch.cat([self.images([z[i : i + 1] for z in noises], [row]) for i, row in enumerate(rows)])
        self._caller.check(self._denoisers)
        given, every = iter(noises), []
        for i, (_, latent) in enumerate(self.draws):
            every.append(next(given) if latent else self.found.held(i, len(rows)))
        options = {"output": self.found.output, "callback": self._caller.arguments.callback}
        with Draws(Replay(every)) as draws:
            return self.found.samples(self._caller(rows, self._quiet(draws), fresh(self._caller.scheduler), **options))

    def denoise(self, x_t: Float[Tensor, "n ..."], t: float) -> Float[Tensor, "n ..."]:
        """Return E[x_0 | x_t] at one time, laid out as the pipeline's first noise, where x_t is and in its dtype."""
        if self.found.alone and len(x_t) > 1:
            return torch.cat([self.denoise(x, t) for x in x_t.split(1)])
        assert self.levels is not None, "asked by a generator that knows its levels"
        self._caller.check(self._denoisers)
        levels = self.levels
        scale = functools.partial(levels.network_input, t=t)
        found = self._answer(x_t, OneStep(self._caller.scheduler, levels.network_time(t), answer, scale))
        output = found.output
        if output.ndim > 1 and output.shape[1] == 2 * found.sample.shape[1]:
            output = output.chunk(2, dim=1)[0]  # the other half is a learned variance
        return levels.clean(self._unpacked(output, x_t.shape).to(x_t), x_t, t)

    def finish(self, x_0: Float[Tensor, "n ..."]) -> Tensor:
        """Return the samples of clean latents."""
        if self.found.alone and len(x_0) > 1:
            return torch.cat([self.finish(x) for x in x_0.split(1)])
        self._caller.check(self._denoisers)
        scheduler = OneStep(self._caller.scheduler, torch.ones(()), lambda output, sample: sample)
        output = self.found.output
        with Draws(Replay(self.found.at(x_0))) as draws:
            made = self._caller([0] * len(x_0), self._idle(draws), scheduler, idle=True, one=True, output=output)
        return self.found.samples(made)

    @cached_property
    def _unpack(self) -> Tensor | None:
        """Where each value of the first noise is in the latents that the scheduler sees; None if they are the same."""
        shape = self.draws[self.found.initial[0]][0]
        size = math.prod(shape)
        index, places, found = torch.arange(size), torch.zeros(size, dtype=torch.long), torch.Size([1, *shape])
        for power in range(max(1, math.ceil(math.log(size, DIGITS)))):
            noise = (index // DIGITS**power % DIGITS).float().reshape(1, *shape)
            scheduler = OneStep(self._caller.scheduler, torch.ones(()), answer)
            with torch.inference_mode(False), torch.no_grad():
                sample = self._answer(noise, scheduler, idle=True).sample
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

    def _answer(self, x_t: Tensor, scheduler: OneStep, *, idle: bool = False) -> Answered:
        """Return what the pipeline hands to its scheduler in the first step."""
        try:
            with Draws(Replay(self.found.at(x_t))) as draws:
                run = self._idle(draws) if idle else self._quiet(draws)
                self._caller([0] * len(x_t), run, scheduler, idle=idle, one=True)
        except Answered as found:
            return found.of(len(x_t)).with_traceback(None)
        raise CapabilityError("the pipeline takes no step of its scheduler", got=self._caller.name)

    def _set_to(self, steps: int) -> Any:
        """Return a scheduler set by the pipeline to a number of steps; no network runs."""
        scheduler = fresh(self._caller.scheduler)
        try:
            with torch.no_grad(), Draws(torch.zeros) as draws:
                self._caller([0], self._idle(draws, _stop), scheduler, idle=True, steps=steps)
        except _Stopped:
            return scheduler
        raise CapabilityError("the pipeline never runs its network", got=self._caller.name)

    def _quiet(self, draws: Draws) -> Runner:
        """Run parts with no noise intercepted inside, which costs a call of Python for each of theirs."""

        def run(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
            with draws.paused():
                return function(*args, **kwargs)

        return lambda name, part: _run if name in self.found.loud else run

    def _idle(self, draws: Draws, answer: Callable[..., Any] | None = None) -> Runner:
        """Run no network."""
        quiet, echoes = self._quiet(draws), self.found.echoes
        return lambda name, part: (answer or echoes[name]) if name in echoes else quiet(name, part)


class _Stopped(Exception):
    """The pipeline has come to its network."""


def _stop(*args: object, **kwargs: object) -> None:
    raise _Stopped


def _run(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    return function(*args, **kwargs)
