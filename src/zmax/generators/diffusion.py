"""Diffusion and flow models: samplers written once over a denoiser, and a generator made of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Protocol

from jaxtyping import Float
from torch import Tensor, nn

from zmax.core.errors import InputError, ShapeError
from zmax.core.generator import DiffusionGenerator, Schedule
from zmax.core.samples import Samples
from zmax.core.space import Block, LatentValue, Space
from zmax.generators.schedules import RectifiedFlow, VPLinear, schedule

__all__ = [
    "DDIM",
    "DenoiserGenerator",
    "Euler",
    "Heun",
    "PathSampler",
    "RectifiedFlow",
    "VPLinear",
    "ddim_step",
    "predicted_noise",
    "schedule",
]

Denoise = Callable[[Tensor, Tensor], Tensor]
"""(x_t, t) -> E[x_0 | x_t], with x_t (n, ...) and t (n,)."""


def predicted_noise(
    x_t: Float[Tensor, "n ..."], x_0: Float[Tensor, "n ..."], schedule: Schedule, t: Float[Tensor, " n"]
) -> Float[Tensor, "n ..."]:
    r"""Return :math:`E[\epsilon | x_t] = (x_t - \alpha_t E[x_0 | x_t]) / \sigma_t`."""
    return (x_t - _spread(schedule.alpha(t), x_t) * x_0) / _spread(schedule.sigma(t), x_t)


def ddim_step(
    x_t: Float[Tensor, "n ..."],
    x_0: Float[Tensor, "n ..."],
    schedule: Schedule,
    t: Float[Tensor, " n"],
    s: Float[Tensor, " n"],
    *,
    eta: float = 0.0,
    noise: Float[Tensor, "n ..."] | None = None,
) -> Float[Tensor, "n ..."]:
    r"""Go from time t to the earlier time s.

    .. math:: x_s = \alpha_s \hat x_0 + \sqrt{\sigma_s^2 - c^2}\, \hat\epsilon + c\, \xi, \quad
        c^2 = \eta^2 \frac{\sigma_s^2}{\sigma_t^2}
        \left(\sigma_t^2 - \frac{\alpha_t^2}{\alpha_s^2} \sigma_s^2\right)

    Reference: Song et al. 2021, *DDIM*, eqs. 12 and 16, https://arxiv.org/abs/2010.02502, for any alpha and sigma;
    eta = 1 is ancestral sampling (DDPM), eta = 0 is deterministic.

    Args:
        x_t: the noisy sample.
        x_0: the denoiser's answer E[x_0 | x_t].
        schedule: noise levels.
        t: present times.
        s: times to go to, s < t.
        eta: share of the noise that is drawn afresh, in [0, 1].
        noise: the fresh noise xi, needed where eta > 0.

    Raises:
        InputError: eta > 0 without noise.
    """
    if eta > 0 and noise is None:
        raise InputError("a DDIM step with eta > 0", expected="the injected noise", remedy="pass noise=, or eta=0")
    alpha_t, sigma_t, alpha_s, sigma_s = (f(v) for v in (t, s) for f in (schedule.alpha, schedule.sigma))
    spread = sigma_t.square() - (alpha_t / alpha_s).square() * sigma_s.square()
    fresh = eta * sigma_s / sigma_t * spread.clamp_min(0).sqrt()
    kept = (sigma_s.square() - fresh.square()).clamp_min(0).sqrt()
    eps = (x_t - _spread(alpha_t, x_t) * x_0) / _spread(sigma_t, x_t)
    out = _spread(alpha_s, x_t) * x_0 + _spread(kept, x_t) * eps
    return out if noise is None else out + _spread(fresh, x_t) * noise


class PathSampler(Protocol):
    """A sampler whose randomness is all in its arguments: the initial noise and, if any, the injected noises."""

    @property
    def steps(self) -> int:
        """Number of steps from noise to data."""
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
    """DDIM with explicit noises; see :func:`ddim_step`. One network evaluation a step.

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
            return x + (_spread(d_alpha, x) * (x_0 + x_0_ahead) + _spread(d_sigma, x) * (eps + eps_ahead)) / 2

        return _march(step, schedule, noise, self.steps)


class DenoiserGenerator(DiffusionGenerator):
    """A denoiser, a schedule and a sampler as a Generator: latents are the noises, decoding is denoising.

    Args:
        denoiser: network (x_t, t) -> E[x_0 | x_t]; latents come on its device and in its dtype.
        shape: shape of one sample in the network's scale.
        schedule: noise levels.
        sampler: integrates from noise to data. If it injects noise, the space has a second block for it.
        name: how reports call it.
        modality: "image", "text", "vector" or "other".
        finish: maps the network's data scale to samples, such as [-1, 1] to [0, 1].
    """

    sampler: PathSampler

    def __init__(
        self,
        denoiser: nn.Module,
        *,
        shape: Sequence[int],
        schedule: Schedule,
        sampler: PathSampler,
        name: str,
        modality: str = "vector",
        finish: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        self.denoiser, self.networks = denoiser, (denoiser,)
        self.schedule, self.sampler, self.finish = schedule, sampler, finish
        self.name, self.modality, self.differentiable = name, modality, True
        picture = len(shape) == 3
        blocks = [Block("noise", tuple(shape), noise=picture)]
        if sampler.injections:
            blocks.append(Block("injected", (sampler.injections, *shape), noise=picture))
        self.space = Space(tuple(blocks))

    def denoise(self, x_t: Float[Tensor, "n ..."], t: Float[Tensor, " n"]) -> Float[Tensor, "n ..."]:
        """Return E[x_0 | x_t] by one network evaluation a sample."""
        x_0: Tensor = self.denoiser(x_t, t)
        return x_0

    def decode(self, z: LatentValue) -> Samples:
        """Integrate from the initial noise, a tensor or `{"noise": ..., "injected": ...}`, to samples (n, *shape)."""
        parts = {"noise": z} if isinstance(z, Tensor) else z
        weights = chain(self.denoiser.parameters(), self.denoiser.buffers())
        like = next((w for w in weights if w.is_floating_point()), parts["noise"])
        noise, *injected = (parts[block.name].to(like.device, like.dtype) for block in self.space.blocks)
        x = self.sampler(self.denoise, self.schedule, noise, *injected)
        return x if self.finish is None else self.finish(x)


def _march(
    step: Callable[[int, Tensor, Tensor, Tensor], Tensor], schedule: Schedule, noise: Tensor, steps: int
) -> Tensor:
    times = schedule.times(steps).to(noise.device)
    x = noise * _spread(schedule.sigma(times[:1]), noise)
    for i in range(steps):
        x = step(i, x, times[i].expand(len(x)), times[i + 1].expand(len(x)))
    return x


def _spread(value: Float[Tensor, " one_or_n"], like: Float[Tensor, "n ..."]) -> Tensor:
    return value.to(like.dtype).reshape(-1, *[1] * (like.ndim - 1))


def _check_steps(steps: int) -> None:
    if steps < 1:
        raise InputError("steps of a sampler", expected="at least 1", got=steps)
