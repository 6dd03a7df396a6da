"""Copies of a pipeline's scheduler: as it is, watched, with noise we know, or of a single step."""

from __future__ import annotations

import copy
import functools
import inspect
import math
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, NoReturn, cast

import torch
from torch import Tensor

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

    def of(self, rows: int) -> Answered:
        """Return it for so many rows, where guidance hands the same latents to the scheduler twice."""
        twice = len(self.sample) == 2 * rows and torch.equal(self.sample[:rows], self.sample[rows:])
        return Answered(self.output[:rows], self.sample[:rows]) if twice else self


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

    def add_noise(self, original: Tensor, noise: Tensor, timesteps: object) -> Tensor:
        """Return the noise: what is asked for is at these points, wherever the pipeline would set out from."""
        return noise

    def scale_noise(self, sample: Tensor, timestep: object, noise: Tensor) -> Tensor:
        """Return the noise, as :meth:`add_noise`."""
        return noise

    def scale_model_input(self, sample: Tensor, timestep: object = None) -> Tensor:
        """Return the network's input."""
        return sample if self._scale is None else self._scale(sample)

    def step(
        self, model_output: Tensor, timestep: object, sample: Tensor, return_dict: bool = True, **_: object
    ) -> object:
        """Return the next latents, also as the prediction of x_0."""
        latents = self._after(model_output, sample)
        return _Stepped(prev_sample=latents, pred_original_sample=latents) if return_dict else (latents, latents)


class _Stepped(SimpleNamespace):
    """What a step returns: by name, or by place."""

    def __getitem__(self, place: int) -> Tensor:
        return list(vars(self).values())[place]


def answer(output: Tensor, sample: Tensor) -> NoReturn:
    """End the pipeline's call with the network's output."""
    raise Answered(output, sample)


class Brownian:
    """A Brownian motion, each new value of which takes one normal draw, given the values known beside it.

    It takes the place of the tree of `torchsde`, which draws hundreds of noises from seeds of its own.

    Args:
        like: a tensor of the noise's shape.
    """

    def __init__(self, like: Tensor) -> None:
        self._known: dict[float, Tensor] = {}
        self._like = like

    def __call__(self, sigma: Any, sigma_next: Any) -> Tensor:
        """Return the increment from one time to the other, scaled to unit variance."""
        t, s = float(sigma), float(sigma_next)
        start = self._at(t)
        return (self._at(s) - start) / math.sqrt(abs(s - t))

    def _at(self, t: float) -> Tensor:
        if t not in self._known:
            self._known[t] = self._value(t) if self._known else torch.zeros_like(self._like)
        return self._known[t]

    def _value(self, t: float) -> Tensor:
        noise = torch.randn_like(self._like)  # noqa: TID251 - intercepted, as all that a pipeline draws
        below, above = [s for s in self._known if s < t], [s for s in self._known if s > t]
        if not below or not above:
            near = min(above) if above else max(below)
            return self._known[near] + math.sqrt(abs(t - near)) * noise
        left, right = max(below), min(above)
        share = (t - left) / (right - left)
        return torch.lerp(self._known[left], self._known[right], share) + math.sqrt(share * (right - t)) * noise


class _OnBrownian:
    """A scheduler whose noise is of :class:`Brownian`; mixed into its class."""

    noise_sampler: Callable[..., Tensor] | None

    def step(self, model_output: Tensor, timestep: object, sample: Tensor, *args: Any, **kwargs: Any) -> Any:
        if self.noise_sampler is None:
            self.noise_sampler = Brownian(sample)
        return super().step(model_output, timestep, sample, *args, **kwargs)  # type: ignore[misc]


@functools.cache
def _brownian(kind: Any) -> type:
    made = type(kind.__name__, (_OnBrownian, kind), {})
    made.step = functools.wraps(kind.step)(made.step)  # type: ignore[attr-defined]  # pipelines ask what a step takes
    return made


def fresh(scheduler: Any) -> Any:
    """Return a scheduler of the same settings that no call has touched; noise of a Brownian tree is our own."""
    made = copy.deepcopy(scheduler)
    kind: Any = type(made)
    if hasattr(sys.modules[kind.__module__], "BrownianTreeNoiseSampler"):
        made.__class__ = _brownian(kind)
    return made


class Watched:
    """What a scheduler is asked to do in one call.

    Some schedulers draw noise in the last step and multiply it by zero. So each step is first taken twice, by copies
    of the scheduler, with noises of zeros and of ones.

    Args:
        scheduler: the scheduler.
        drawn: the number of noises drawn so far.

    Attributes:
        made: the copy of it that is watched.
        steps: range of the noises that each step draws, and whether they have any effect.
        first: the latents of the first step.
        changed: whether the pipeline changes latents between steps.
        origin: the clean latents that it adds noise to, if any.
    """

    def __init__(self, scheduler: Any, drawn: Callable[[], int]) -> None:
        self.made, self._drawn = fresh(scheduler), drawn
        self.steps: list[tuple[range, bool]] = []
        self.first: Tensor | None = None
        self.origin: Tensor | None = None
        self.changed, self._begun, self._last = False, 0.0, cast(Tensor | None, None)
        self.made.step = self._noticed(self.made.step)
        for name in ("add_noise", "scale_noise"):
            if hasattr(self.made, name):
                setattr(self.made, name, self._noised(getattr(self.made, name)))

    @property
    def times(self) -> SimpleNamespace | None:
        """Times and levels of the steps that were taken, the last of the scheduler's; None if they are others."""
        every = self.made.timesteps
        skipped = len(every) - len(self.steps)
        if skipped < 0 or not self.steps or float(every[skipped]) != self._begun:
            return None
        return SimpleNamespace(timesteps=every[skipped:], sigmas=getattr(self.made, "sigmas", every)[skipped:])

    def _noticed(self, step: Callable[..., Any]) -> Callable[..., Any]:
        form = inspect.signature(step)

        @functools.wraps(step)
        def taken(*args: Any, **kwargs: Any) -> Any:
            _, timestep, sample = list(form.bind(*args, **kwargs).arguments.values())[:3]
            if self.first is None:
                self.first, self._begun = sample, float(torch.as_tensor(timestep).flatten()[0])
            self.changed |= self._last is not None and not torch.equal(self._last, sample)
            ends = [self._trial(fill, *args, **kwargs) for fill in (torch.zeros, torch.ones)]
            start = self._drawn()
            out = step(*args, **kwargs)
            self.steps.append((range(start, self._drawn()), not torch.equal(*ends)))
            self._last = latents_of(out)
            return out

        return taken

    def _trial(self, fill: Callable[..., Tensor], *args: Any, **kwargs: Any) -> Tensor:
        trial = copy.copy(self.made)
        kept = {k: copy.deepcopy(v) for k, v in vars(self.made).items() if k not in WATCHED}
        vars(trial).clear()
        vars(trial).update(kept)
        with Draws(fill):
            return latents_of(type(trial).step(trial, *args, **kwargs))

    def _noised(self, add: Callable[..., Tensor]) -> Callable[..., Tensor]:
        @functools.wraps(add)
        def noted(*args: Any, **kwargs: Any) -> Tensor:
            if self.first is None:
                self.origin = args[0] if args else kwargs.get("original_samples", kwargs.get("sample"))
            return add(*args, **kwargs)

        return noted


WATCHED = ("step", "add_noise", "scale_noise")
"""Methods of a scheduler that are watched."""


def latents_of(output: Any) -> Tensor:
    """Return the latents in what a scheduler's step returns."""
    return cast(Tensor, output[0] if isinstance(output, tuple) else output.prev_sample)
