"""Samplers, written once over a denoiser; all their randomness is in their arguments."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from jaxtyping import Float
from torch import Tensor

from zmax.core.errors import InputError, ShapeError
from zmax.core.generator import Schedule
from zmax.generators.diffusion.steps import ddim_step, predicted_noise, spread_over

Denoise = Callable[[Tensor, Tensor], Tensor]
"""(x_t, t) -> E[x_0 | x_t], with x_t (n, ...) and t (n,)."""

State = tuple[Tensor, ...]
"""What a sampler carries from step to step, x first; each tensor has one row a sample."""

March = Callable[[Callable[[int, State], State], State, int], State]
"""(step, state, steps) -> state: takes the steps 0 .. steps - 1; memory policies are other ways to do so."""


def straight(step: Callable[[int, State], State], state: State, steps: int, *, start: int = 0) -> State:
    """Take the steps one after the other."""
    for i in range(start, steps):
        state = step(i, state)
    return state


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

    def __call__(
        self,
        denoise: Denoise,
        schedule: Schedule,
        noise: Tensor,
        injected: Tensor | None = None,
        *,
        march: March = straight,
    ) -> Tensor:
        """Integrate from noise (n, ...) to data, with injected noises (n, injections, ...)."""
        ...


@dataclass(frozen=True)
class DDIM:
    """DDIM with explicit noises; see :func:`~zmax.generators.diffusion.steps.ddim_step`. One network evaluation a step.

    Args:
        steps: number of steps.
        eta: 0 deterministic, 1 ancestral. Noise injected into the last step would be scaled by sigma(0) = 0, so
            there are steps - 1 injected noises.
    """

    steps: int = 50
    eta: float = 0.0

    def __post_init__(self) -> None:
        check_steps(self.steps)
        if not 0 <= self.eta <= 1:
            raise InputError("eta of DDIM", expected="a number in [0, 1]", got=self.eta)

    @property
    def injections(self) -> int:
        """Number of noises injected on the way."""
        return self.steps - 1 if self.eta > 0 else 0

    def __call__(
        self,
        denoise: Denoise,
        schedule: Schedule,
        noise: Tensor,
        injected: Tensor | None = None,
        *,
        march: March = straight,
    ) -> Tensor:
        """Integrate from noise (n, ...) to data, with injected noises (n, steps - 1, ...) where eta > 0."""
        check_injected("DDIM", injected, self.injections)

        def step(i: int, x: Tensor, t: Tensor, s: Tensor) -> Tensor:
            fresh = None if injected is None or i >= self.injections else injected[:, i]
            eta = self.eta if fresh is not None else 0.0
            return ddim_step(x, denoise(x, t.to(x.dtype)), schedule, t, s, eta=eta, noise=fresh)

        return walk(step, schedule, noise, self.steps, march)


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
        check_steps(self.steps)

    def __call__(
        self,
        denoise: Denoise,
        schedule: Schedule,
        noise: Tensor,
        injected: Tensor | None = None,
        *,
        march: March = straight,
    ) -> Tensor:
        """Integrate from noise (n, ...) to data."""
        return DDIM(self.steps, 0.0)(denoise, schedule, noise, injected, march=march)


@dataclass(frozen=True)
class Ancestral:
    r"""Ancestral sampling: every step draws from :math:`q(x_s | x_t, \hat x_0)`, which is DDIM at eta = 1.

    On VP schedules this is DDPM, on VE and EDM ones the ancestral Euler step
    :math:`x_s = x_t + (\sigma_{down} - \sigma_t)\hat\epsilon + \sigma_{up}\xi`, and on a rectified flow an SDE with
    the flow's marginals. References: Ho et al. 2020, *DDPM*, eq. 7, https://arxiv.org/abs/2006.11239; Song et al. 2021,
    *Score SDE*, app. F, https://arxiv.org/abs/2011.13456.

    Args:
        steps: number of steps; steps - 1 noises are injected.
    """

    steps: int = 50
    eta = 1.0

    def __post_init__(self) -> None:
        check_steps(self.steps)

    @property
    def injections(self) -> int:
        """Number of noises injected on the way."""
        return self.steps - 1

    def __call__(
        self,
        denoise: Denoise,
        schedule: Schedule,
        noise: Tensor,
        injected: Tensor | None = None,
        *,
        march: March = straight,
    ) -> Tensor:
        """Integrate from noise (n, ...) to data, with injected noises (n, steps - 1, ...)."""
        return DDIM(self.steps, 1.0)(denoise, schedule, noise, injected, march=march)


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
        check_steps(self.steps)

    def __call__(
        self,
        denoise: Denoise,
        schedule: Schedule,
        noise: Tensor,
        injected: Tensor | None = None,
        *,
        march: March = straight,
    ) -> Tensor:
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

        return walk(step, schedule, noise, self.steps, march)


def walk(
    step: Callable[[int, Tensor, Tensor, Tensor], Tensor],
    schedule: Schedule,
    noise: Float[Tensor, "n ..."],
    steps: int,
    march: March = straight,
) -> Float[Tensor, "n ..."]:
    """Go from noise to data by steps that carry nothing but x.

    Args:
        step: (i, x, t, s) -> x at time s.
        schedule: noise levels.
        noise: standard normal noise.
        steps: their number.
        march: how the steps are taken.
    """
    times = schedule.times(steps).to(noise.device)

    def take(i: int, state: State) -> State:
        (x,) = state
        return (step(i, x, times[i].expand(len(x)), times[i + 1].expand(len(x))),)

    return march(take, (begin(schedule, noise, steps),), steps)[0]


def begin(schedule: Schedule, noise: Float[Tensor, "n ..."], steps: int) -> Float[Tensor, "n ..."]:
    """Return x at the first time, for standard normal noise."""
    return noise * spread_over(schedule.sigma(schedule.times(steps)[:1].to(noise.device)), noise)


def check_steps(steps: int) -> None:
    """Raise InputError unless there is a step."""
    if steps < 1:
        raise InputError("steps of a sampler", expected="at least 1", got=steps)


def check_injected(sampler: str, injected: Tensor | None, expected: int) -> None:
    """Raise ShapeError unless there are so many injected noises."""
    got = 0 if injected is None else injected.shape[1]
    if got != expected:
        raise ShapeError(f"noises injected into {sampler}", expected=f"(n, {expected}, ...)", got=f"{got} noises")
