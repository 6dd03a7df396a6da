"""What idle calls show of a pipeline: its noises, its networks, its samples, and whether there is a path to steer."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from zmax.core.errors import CapabilityError, InputError, ZmaxError, ZmaxWarning
from zmax.core.rng import stream
from zmax.generators.diffusers.caller import Caller
from zmax.generators.diffusers.pictures import halved, modality_of, samples_of
from zmax.generators.diffusers.schedulers import Watched
from zmax.generators.diffusers.standins import Echo, StandIn
from zmax.generators.diffusers.trace import Restored, Trace, streams


class Traced:
    """What idle calls show of a pipeline.

    Args:
        caller: calls it.

    Attributes:
        draws: shape of every noise that it draws, per sample, and whether it is a latent: it has an effect, and each
            sample of a batch has its own.
        echoes: idle answers of each network that denoises, by its name.
        loud: parts that draw noise inside.
        watched: what its scheduler is asked to do.
        alone: why batches fail, so that rows go one by one; "" if they do not.
        output: what kind of output the pipeline is asked for.
        samples: turns that into samples.
        modality: what they are.
        remarks: what there is to say of it in every run.
        differentiable: whether gradients pass: samples come as tensors, and no safety checker looks at them.

    Raises:
        CapabilityError: the pipeline is of a kind that cannot be wrapped.
        InputError: it raises.
    """

    def __init__(self, caller: Caller) -> None:
        self._caller, self.name = caller, caller.name
        self.remarks: tuple[str, ...] = ()
        try:
            with torch.no_grad(), Restored():
                self._look()
        except ZmaxError:
            raise
        except Exception as error:
            got = f"{type(error).__name__}: {error}"
            remedy = "it must run by itself with the same arguments"
            raise InputError(f"the pipeline {self.name!r} raises", got=got, remedy=remedy) from error

    def held(self, i: int, n: int) -> Tensor:
        """Return what a noise that is no latent is held at: a draw if a batch shares it, 0 if it has no effect."""
        return self._shared[i] if i in self._shared else torch.zeros(n, *self.draws[i][0])

    def at(self, x: Tensor) -> list[Tensor]:
        """Return the noises of a call with one step, that begins at points x."""
        steps = {i for drawn, _ in self.watched.steps for i in drawn}
        first = self.initial[0] if self.initial else -1
        return [x if i == first else self.held(i, len(x)) for i in range(len(self.draws)) if i not in steps]

    @property
    def initial(self) -> list[int]:
        """Which latents are drawn before the first step."""
        steps = [drawn.start for drawn, _ in self.watched.steps]
        return [i for i in range(min(steps, default=len(self.draws))) if self.draws[i][1]]

    @property
    def origin(self) -> Tensor | None:
        """The clean latents that it sets out from, if it adds noise to any."""
        return self.watched.origin

    @functools.cached_property
    def no_path(self) -> str:
        """Why there is no path that could be steered; "" if there is one."""
        watched, steps = self.watched, [drawn for drawn, _ in self.watched.steps]
        if stepwise := self._caller.arguments.stepwise:
            return f"{stepwise} has it do something else at each step"
        if not steps or watched.first is None or watched.times is None:
            return "its steps are not those of its scheduler"
        if len(self.initial) != 1 or any(latent for _, latent in self.draws[steps[-1].stop :]):
            return "it makes its samples of several noises beside those of its scheduler"
        begun = bool(watched.first.any())
        if begun and (self.origin is None or tuple(self.origin.shape) != (1, *self.draws[self.initial[0]][0])):
            return "it does not set out from noise"
        return self._steered()

    def _look(self) -> None:
        self.alone, twice = self._twice()
        shapes = [] if twice is None else twice.shapes
        trace, self.watched, made = self._call([0], self._share(shapes), {} if twice is None else twice.echoes)
        if len(shapes) != len(trace.shapes) and not self.alone:
            self.alone = "it draws other noises for a batch"
        if self.alone:
            self.remarks = (f"batches of the pipeline {self.name!r} fail ({self.alone}); rows go one by one",)
            warnings.warn(self.remarks[0], ZmaxWarning, stacklevel=6)
            shapes = [(2, *shape[1:]) for shape in trace.shapes]
            trace, self.watched, made = self._call([0], self._share(shapes), trace.echoes)
        self.echoes, self.loud = trace.echoes, trace.loud | (set() if twice is None else twice.loud)
        self._refuse([*trace.wild, *(() if twice is None else twice.wild)])
        self._see(made)
        void = {i for drawn, matters in self.watched.steps if not matters for i in drawn}
        for one, two in zip(trace.shapes, shapes, strict=True):
            if one[:1] != (1,) or two not in (one, (2, *one[1:])):
                got = f"{one} for one sample, {two} for two"
                expected = "one row a sample, or one for all"
                raise CapabilityError(f"noises of the pipeline {self.name!r}", expected=expected, got=got)
        self.draws = [(one[1:], i not in self._shared and i not in void) for i, one in enumerate(trace.shapes)]
        if not any(latent for _, latent in self.draws):
            raise CapabilityError(f"the pipeline {self.name!r} draws no noise", expected="a sampler")

    def _share(self, shapes: list[tuple[int, ...]]) -> Noises:
        """Hold at a draw each what two samples share, and return that, and zeros for the rest."""
        shared = [i for i, shape in enumerate(shapes) if shape[:1] == (1,)]
        self._shared = {i: torch.randn(shapes[i], generator=stream(0, "diffusers", i), device="cpu") for i in shared}
        return self._still

    def _still(self, i: int, shape: tuple[int, ...]) -> Tensor:
        return self._shared[i] if i in self._shared else torch.zeros(shape)

    def _refuse(self, wild: list[str]) -> None:
        what = f"the pipeline {self.name!r}"
        if wild:
            where = ", ".join(f"inside its {name}" for name in dict.fromkeys(wild) if name) or "in its own code"
            remedy = "put that part into evaluation mode" if any(wild) else "fix it by an argument of the call"
            expected = "normal ones, by torch.randn"
            what += " draws random numbers of another kind"
            raise CapabilityError(what, expected=expected, got=where, remedy=remedy)
        if not self.echoes:
            raise CapabilityError(what, expected="a network that denoises")
        if inside := self.loud & set(self.echoes):
            raise CapabilityError(f"{what} draws noise inside its {', '.join(inside)}", expected="noise drawn outside")

    def _see(self, made: Any) -> None:
        """Compare what comes as a tensor with the pipeline's own pictures."""
        self.output, self.samples = "pt", samples_of
        found = samples_of(made)
        if len(found) != 1:
            raise InputError(f"samples of the pipeline {self.name!r}", expected="one for each prompt", got=len(found))
        own = (
            samples_of(self._call([0], self._still, self.echoes, output="np")[2])
            if self._caller.arguments.takes("output_type")
            else found
        )
        if not _same(found, own):
            if _same(halved(found), own):
                self.samples = lambda made: halved(samples_of(made))
            else:
                self.output, made = "np", None
        self.modality = modality_of(own)
        checked = getattr(self._caller.pipe, "safety_checker", None) is not None
        self.differentiable = isinstance(made, Tensor) and not checked

    def _twice(self) -> tuple[str, Trace | None]:
        """Return why two samples together fail, or what their call shows."""
        try:
            trace, _, made = self._call([0, 0], lambda i, shape: torch.zeros(shape))
            if (found := len(samples_of(made))) != 2:
                return f"two samples are {found}", None
        except Exception as error:  # noqa: BLE001 - pipelines may raise anything
            return f"{type(error).__name__}: {error}", None
        return "", trace

    def _call(
        self, rows: list[int], supply: Noises, echoes: Mapping[str, Echo] | None = None, **options: Any
    ) -> tuple[Trace, Watched, Any]:
        before = streams()
        with Trace(supply, echoes or {}) as trace:
            watched = Watched(self._caller.scheduler, lambda: len(trace.shapes))
            made = self._caller(rows, trace.runner, watched.made, idle=True, **options)
        trace.wild += [] if streams() == before else [""]
        return trace, watched, made

    def _steered(self) -> str:
        """Return what changes latents between steps, or embeddings, or the pipeline: it, or the user's callback."""
        callback, seen = self._caller.arguments.callback, [False]

        def spied(call: Callable[..., Any], view: Any, step: int, t: Any, given: dict[str, Any]) -> Any:
            before, state = {k: v.clone() for k, v in given.items() if isinstance(v, Tensor)}, dict(vars(view))
            out = call(view, step, t, given)
            seen.append(any(not torch.equal(value, out.get(key, given[key])) for key, value in before.items()))
            seen.append(any(vars(view).get(key) is not value for key, value in state.items()))
            return out

        rng = stream(0, "diffusers")
        with torch.no_grad(), Restored():
            given = None if callback is None else StandIn(callback, spied)
            draw = functools.partial(torch.randn, generator=rng, device="cpu")
            watched = self._call([0], lambda i, shape: self._shared.get(i, draw(shape)), self.echoes, callback=given)[1]
        if any(seen):
            return "its callback_on_step_end changes what it does"
        return "it changes latents between steps, outside of a mask perhaps" if watched.changed else ""


Noises = Callable[[int, tuple[int, ...]], Tensor]
"""(number, shape) -> the noise of that draw."""


def _same(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and torch.allclose(a.cpu().float(), b.cpu().float(), atol=2e-3)
