"""Noise schedules of diffusion and flow models: x_t = alpha(t) x_0 + sigma(t) eps."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor

from zmax.core.errors import InputError
from zmax.core.generator import Schedule


class DiscreteVP(ABC):
    r"""Variance-preserving schedules with a table of betas: :math:`\alpha^2 + \sigma^2 = 1`.

    .. math:: \alpha(i / K)^2 = \prod_{j=1}^{i} (1 - \beta_j)

    Time runs from 0 (data) to 1 (noise); t = i / K is discrete step i, with log alpha linear in between. A network
    indexed 0 .. K-1 takes K t - 1. Reference: Ho et al. 2020, *DDPM*, eq. 4, https://arxiv.org/abs/2006.11239.
    """

    @abstractmethod
    def betas(self) -> Float[Tensor, " k"]:
        """Return the variances that the K discrete steps add, in float64."""

    def alpha(self, t: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """Return the signal's scale."""
        return self._log_alpha(t).exp().to(t.dtype)

    def sigma(self, t: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """Return the noise's scale."""
        return torch.expm1(2 * self._log_alpha(t)).abs().sqrt().to(t.dtype)

    def times(self, steps: int) -> Float[Tensor, " steps_plus_one"]:
        """Return evenly spaced times from 1 to 0."""
        return _evenly(steps)

    def _log_alpha(self, t: Tensor) -> Tensor:
        table = _log_alphas(self, t.device)
        k = len(table) - 1
        position = (t.double() * k).clamp(0, k)
        left = position.floor().long().clamp(max=k - 1)
        return torch.lerp(table[left], table[left + 1], position - left)


@lru_cache(maxsize=16)
def _log_alphas(levels: DiscreteVP, device: torch.device) -> Float[Tensor, " k_plus_one"]:
    with torch.inference_mode(False):  # the cached table must also serve callers who differentiate
        beta = levels.betas()
        return torch.cat([beta.new_zeros(1), torch.log1p(-beta).cumsum(0) / 2]).to(device)


@dataclass(frozen=True)
class VPLinear(DiscreteVP):
    r"""The schedule of DDPM: betas linear over the discrete steps.

    .. math:: \beta_j = \beta_{\min} + (\beta_{\max} - \beta_{\min}) \tfrac{j - 1}{K - 1}

    Reference: Ho et al. 2020, *DDPM*, sec. 4, https://arxiv.org/abs/2006.11239.

    Example:
        >>> schedule = VPLinear()
        >>> t = torch.tensor([0.0, 1.0])
        >>> [round(v, 4) for v in schedule.alpha(t).tolist()], [round(v, 4) for v in schedule.sigma(t).tolist()]
        ([1.0, 0.0064], [0.0, 1.0])
    """

    beta_min: float = 1e-4
    beta_max: float = 0.02
    discretisation: int = 1000

    def betas(self) -> Float[Tensor, " k"]:
        """Return the betas."""
        return torch.linspace(self.beta_min, self.beta_max, self.discretisation, dtype=torch.float64)


@dataclass(frozen=True)
class VPScaledLinear(DiscreteVP):
    r"""The schedule of Stable Diffusion: square roots of the betas linear over the discrete steps.

    .. math:: \sqrt{\beta_j} = \sqrt{\beta_{\min}} + (\sqrt{\beta_{\max}} - \sqrt{\beta_{\min}}) \tfrac{j - 1}{K - 1}

    Reference: Rombach et al. 2022, *Latent diffusion*, app. B and code, https://arxiv.org/abs/2112.10752.

    Example:
        >>> round(float(VPScaledLinear().alpha(torch.ones(1)) ** 2), 6)
        0.00466
    """

    beta_min: float = 0.00085
    beta_max: float = 0.012
    discretisation: int = 1000

    def betas(self) -> Float[Tensor, " k"]:
        """Return the betas."""
        low, high = math.sqrt(self.beta_min), math.sqrt(self.beta_max)
        return torch.linspace(low, high, self.discretisation, dtype=torch.float64).square()


@dataclass(frozen=True)
class VPCosine(DiscreteVP):
    r"""Cosine schedule, with betas clipped so that a little signal is left at t = 1.

    .. math:: \alpha(t)^2 = \frac{f(t)}{f(0)}, \quad f(t) = \cos^2\left(\frac{t + s}{1 + s} \frac{\pi}{2}\right)

    Reference: Nichol & Dhariwal 2021, eq. 17, https://arxiv.org/abs/2102.09672.

    Example:
        >>> round(float(VPCosine().alpha(torch.tensor([0.5])) ** 2), 4)
        0.4938
    """

    offset: float = 0.008
    discretisation: int = 1000
    beta_max: float = 0.999

    def betas(self) -> Float[Tensor, " k"]:
        """Return the betas."""
        t = torch.linspace(0, 1, self.discretisation + 1, dtype=torch.float64)
        kept = ((t + self.offset) / (1 + self.offset) * math.pi / 2).cos().square()
        return (1 - kept[1:] / kept[:-1]).clamp(max=self.beta_max)


@dataclass(frozen=True)
class VE:
    r"""Variance-exploding schedule: :math:`\alpha = 1`, and geometric noise that vanishes at t = 0.

    .. math:: \sigma(t)^2 = \sigma_{\min}^2 \left((\sigma_{\max} / \sigma_{\min})^{2t} - 1\right)

    Reference: Song et al. 2021, *Score SDE*, eqs. 29 and 30, https://arxiv.org/abs/2011.13456.

    Example:
        >>> [round(v, 3) for v in VE().sigma(torch.tensor([0.0, 0.5, 1.0])).tolist()]
        [0.0, 0.707, 50.0]
    """

    sigma_min: float = 0.01
    sigma_max: float = 50.0

    def alpha(self, t: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """Return 1."""
        return torch.ones_like(t)

    def sigma(self, t: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """Return the noise's scale."""
        return self.sigma_min * torch.expm1(2 * math.log(self.sigma_max / self.sigma_min) * t).sqrt()

    def times(self, steps: int) -> Float[Tensor, " steps_plus_one"]:
        """Return evenly spaced times from 1 to 0."""
        return _evenly(steps)


@dataclass(frozen=True)
class EDM:
    r"""Time is the noise's scale itself: :math:`\alpha = 1, \sigma(t) = t`, with the times of EDM and a last one at 0.

    .. math:: t_i = \left(\sigma_{\max}^{1/\rho}
        + \tfrac{i}{N - 1} (\sigma_{\min}^{1/\rho} - \sigma_{\max}^{1/\rho})\right)^\rho, \quad t_N = 0

    Reference: Karras et al. 2022, *EDM*, eq. 5, https://arxiv.org/abs/2206.00364.

    Example:
        >>> [round(v, 3) for v in EDM().times(3).tolist()]
        [80.0, 2.515, 0.002, 0.0]
    """

    sigma_min: float = 0.002
    sigma_max: float = 80.0
    rho: float = 7.0

    def alpha(self, t: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """Return 1."""
        return torch.ones_like(t)

    def sigma(self, t: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """Return t."""
        return t

    def times(self, steps: int) -> Float[Tensor, " steps_plus_one"]:
        """Return the times from sigma_max to sigma_min, then 0."""
        low, high = self.sigma_min ** (1 / self.rho), self.sigma_max ** (1 / self.rho)
        levels = torch.linspace(high, low, steps, dtype=torch.float64) ** self.rho
        return torch.cat([levels, levels.new_zeros(1)])


@dataclass(frozen=True)
class RectifiedFlow:
    r"""Straight paths :math:`x_t = (1 - t) x_0 + t \epsilon` with t = 1 noise.

    References: Liu et al. 2023, *Flow Straight and Fast*, eq. 1, https://arxiv.org/abs/2209.03003; shifted times as in
    Esser et al. 2024, *Stable Diffusion 3*, eq. 23, https://arxiv.org/abs/2403.03206.

    Args:
        shift: above 1, more of the steps are spent near the noise: :math:`t \mapsto s t / (1 + (s - 1) t)`.

    Example:
        >>> RectifiedFlow(shift=3.0).times(2).tolist()
        [1.0, 0.75, 0.0]
    """

    shift: float = 1.0

    def alpha(self, t: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """Return 1 - t."""
        return 1 - t

    def sigma(self, t: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """Return t."""
        return t

    def times(self, steps: int) -> Float[Tensor, " steps_plus_one"]:
        """Return evenly spaced times from 1 to 0, shifted."""
        t = _evenly(steps)
        return t if self.shift == 1 else self.shift * t / (1 + (self.shift - 1) * t)


def _evenly(steps: int) -> Float[Tensor, " steps_plus_one"]:
    return torch.linspace(1, 0, steps + 1, dtype=torch.float64)


SCHEDULES: dict[str, Callable[[], Schedule]] = {
    "vp-linear": VPLinear,
    "vp-scaled-linear": VPScaledLinear,
    "vp-cosine": VPCosine,
    "ve": VE,
    "edm": EDM,
    "rectified-flow": RectifiedFlow,
    "rectified-flow-shifted": lambda: RectifiedFlow(shift=3.0),
}


def schedule(spec: str | Schedule) -> Schedule:
    """Return the schedule of that name, one of SCHEDULES, or the schedule itself.

    Raises:
        InputError: the name is not known, or it is no schedule.
    """
    if isinstance(spec, str):
        if spec not in SCHEDULES:
            raise InputError(f"unknown schedule {spec!r}", expected=", ".join(SCHEDULES), remedy="or pass a Schedule")
        return SCHEDULES[spec]()
    if isinstance(spec, type) or not isinstance(spec, Schedule):
        raise InputError("a schedule", expected="a name, or an object with alpha(t), sigma(t), times(steps)", got=spec)
    return spec
