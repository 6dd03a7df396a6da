"""Samplers, written once over a denoiser; all their randomness is in their arguments."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from zmax.core.errors import InputError, ShapeError
from zmax.core.generator import Schedule
from zmax.generators.steps import ddim_step, predicted_noise, spread_over

Denoise = Callable[[Tensor, Tensor], Tensor]
"""(x_t, t) -> E[x_0 | x_t], with x_t (n, ...) and t (n,)."""


class PathSampler(Protocol):
    """A sampler whose randomness is all in its arguments: the initial noise and, if any, the injected noises."""

    @property
    def steps(self) -> int:
        """Number of steps from noise to data."""
        ...

    @property
    def eta(self) -> float:
        """Share of the noise that is drawn afresh, 0 for a deterministic sampler."""
        ...

    @property
    def injections(self) -> int:
        """Number of noises injected on the way, 0 for a deterministic sampler."""
        ...

    def __call__(self, denoise: Denoise, schedule: Schedule, noise: Tensor, injected: Tensor | None = None) -> Tensor:
        """Integrate from noise (n, ...) to data, with injected noises (n, injections, ...)."""
        ...


@dataclass(frozen=True)
class DDIM:
    """DDIM with explicit noises; see :func:`~zmax.generators.steps.ddim_step`. One network evaluation a step.

    Args:
        steps: number of steps.
        eta: 0 deterministic, 1 ancestral. Noise injected into the last step would be scaled by sigma(0) = 0, so
            there are steps - 1 injected noises.
    """

    steps: int = 50
    eta: float = 0.0

    def __post_init__(self) -> None:
        _check_steps(self.steps)
        if not 0 <= self.eta <= 1:
            raise InputError("eta of DDIM", expected="a number in [0, 1]", got=self.eta)

    @property
    def injections(self) -> int:
        """Number of noises injected on the way."""
        return self.steps - 1 if self.eta > 0 else 0

    def __call__(self, denoise: Denoise, schedule: Schedule, noise: Tensor, injected: Tensor | None = None) -> Tensor:
        """Integrate from noise (n, ...) to data, with injected noises (n, steps - 1, ...) where eta > 0."""
        got = 0 if injected is None else injected.shape[1]
        if got != self.injections:
            raise ShapeError("noises injected into DDIM", expected=f"(n, {self.injections}, ...)", got=f"{got} noises")

        def step(i: int, x: Tensor, t: Tensor, s: Tensor) -> Tensor:
            fresh = None if injected is None or i >= self.injections else injected[:, i]
            eta = self.eta if fresh is not None else 0.0
            return ddim_step(x, denoise(x, t.to(x.dtype)), schedule, t, s, eta=eta, noise=fresh)

        return _march(step, schedule, noise, self.steps)


@dataclass(frozen=True)
class Euler:
    r"""First-order steps of the probability flow, :math:`dx = E[x_0|x]\, d\alpha + E[\epsilon|x]\, d\sigma`.

    With the schedule's own differences this is DDIM at eta = 0; for a rectified flow it is Euler on the velocity,
    :math:`x_s = x_t + (s - t)\, v`. Reference: Salimans & Ho 2022, app. B, https://arxiv.org/abs/2202.00512.
    """

    steps: int = 50
    eta = 0.0
    injections = 0

    def __post_init__(self) -> None:
        _check_steps(self.steps)

    def __call__(self, denoise: Denoise, schedule: Schedule, noise: Tensor, injected: Tensor | None = None) -> Tensor:
        """Integrate from noise (n, ...) to data."""
        return DDIM(self.steps, 0.0)(denoise, schedule, noise, injected)


@dataclass(frozen=True)
class Heun:
    """Second-order steps of the probability flow (trapezium rule); two network evaluations a step, one in the last.

    The order is 2 where alpha and sigma are smooth in t (rectified flow); on VP schedules sigma grows like the square
    root of t near the data, and 1.4 is what is measured.

    Reference: Karras et al. 2022, *EDM*, alg. 1, https://arxiv.org/abs/2206.00364.
    """

    steps: int = 25
    eta = 0.0
    injections = 0

    def __post_init__(self) -> None:
        _check_steps(self.steps)

    def __call__(self, denoise: Denoise, schedule: Schedule, noise: Tensor, injected: Tensor | None = None) -> Tensor:
        """Integrate from noise (n, ...) to data."""
        noiseless = float(schedule.sigma(schedule.times(self.steps)[-1:])) == 0

        def step(i: int, x: Tensor, t: Tensor, s: Tensor) -> Tensor:
            x_0 = denoise(x, t.to(x.dtype))
            ahead = ddim_step(x, x_0, schedule, t, s)
            if noiseless and i == self.steps - 1:  # E[eps | x] has no value at sigma = 0
                return ahead
            x_0_ahead = denoise(ahead, s.to(x.dtype))
            eps, eps_ahead = predicted_noise(x, x_0, schedule, t), predicted_noise(ahead, x_0_ahead, schedule, s)
            d_alpha, d_sigma = schedule.alpha(s) - schedule.alpha(t), schedule.sigma(s) - schedule.sigma(t)
            return x + (spread_over(d_alpha, x) * (x_0 + x_0_ahead) + spread_over(d_sigma, x) * (eps + eps_ahead)) / 2

        return _march(step, schedule, noise, self.steps)


def _march(
    step: Callable[[int, Tensor, Tensor, Tensor], Tensor], schedule: Schedule, noise: Tensor, steps: int
) -> Tensor:
    times = schedule.times(steps).to(noise.device)
    x = noise * spread_over(schedule.sigma(times[:1]), noise)
    for i in range(steps):
        x = step(i, x, times[i].expand(len(x)), times[i + 1].expand(len(x)))
    return x


def _check_steps(steps: int) -> None:
    if steps < 1:
        raise InputError("steps of a sampler", expected="at least 1", got=steps)
