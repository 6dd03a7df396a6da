"""Noise schedules of diffusion and flow models: x_t = alpha(t) x_0 + sigma(t) eps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor

from zmax.core.errors import InputError
from zmax.core.generator import Schedule


@dataclass(frozen=True)
class VPLinear:
    r"""Variance-preserving schedule of DDPM: :math:`\alpha^2 + \sigma^2 = 1`, betas linear over the discrete steps.

    .. math:: \alpha(i / K)^2 = \prod_{j=1}^{i} (1 - \beta_j), \quad
        \beta_j = \beta_{\min} + (\beta_{\max} - \beta_{\min}) \tfrac{j - 1}{K - 1}

    Time runs from 0 (data) to 1 (noise); t = i / K is discrete step i, with log alpha linear in between. A network
    indexed 0 .. K-1 takes K t - 1. Reference: Ho et al. 2020, *DDPM*, sec. 4, https://arxiv.org/abs/2006.11239.

    Example:
        >>> schedule = VPLinear()
        >>> t = torch.tensor([0.0, 1.0])
        >>> [round(v, 4) for v in schedule.alpha(t).tolist()], [round(v, 4) for v in schedule.sigma(t).tolist()]
        ([1.0, 0.0064], [0.0, 1.0])
    """

    beta_min: float = 1e-4
    beta_max: float = 0.02
    discretisation: int = 1000

    def alpha(self, t: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """Return the signal's scale."""
        return self._log_alpha(t).exp().to(t.dtype)

    def sigma(self, t: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """Return the noise's scale."""
        return torch.expm1(2 * self._log_alpha(t)).abs().sqrt().to(t.dtype)

    def times(self, steps: int) -> Float[Tensor, " steps_plus_one"]:
        """Return evenly spaced times from 1 to 0."""
        return torch.linspace(1, 0, steps + 1, dtype=torch.float64)

    def _log_alpha(self, t: Tensor) -> Tensor:
        k = self.discretisation
        table = _log_alphas(self.beta_min, self.beta_max, k, t.device)
        position = (t.double() * k).clamp(0, k)
        left = position.floor().long().clamp(max=k - 1)
        return torch.lerp(table[left], table[left + 1], position - left)


@lru_cache(maxsize=8)
def _log_alphas(beta_min: float, beta_max: float, steps: int, device: torch.device) -> Float[Tensor, " steps_plus_one"]:
    with torch.inference_mode(False):  # the cached table must also serve callers who differentiate
        beta = torch.linspace(beta_min, beta_max, steps, dtype=torch.float64, device=device)
        return torch.cat([beta.new_zeros(1), torch.log1p(-beta).cumsum(0) / 2])


@dataclass(frozen=True)
class RectifiedFlow:
    r"""Straight paths :math:`x_t = (1 - t) x_0 + t \epsilon` with t = 1 noise.

    Reference: Liu et al. 2023, *Flow Straight and Fast*, eq. 1, https://arxiv.org/abs/2209.03003.
    """

    def alpha(self, t: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """Return 1 - t."""
        return 1 - t

    def sigma(self, t: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """Return t."""
        return t

    def times(self, steps: int) -> Float[Tensor, " steps_plus_one"]:
        """Return evenly spaced times from 1 to 0."""
        return torch.linspace(1, 0, steps + 1, dtype=torch.float64)


SCHEDULES: dict[str, Callable[[], Schedule]] = {"vp-linear": VPLinear, "rectified-flow": RectifiedFlow}


def schedule(spec: str | Schedule) -> Schedule:
    """Return the schedule of that name (vp-linear, rectified-flow), or the schedule itself.

    Raises:
        InputError: the name is not known.
    """
    if not isinstance(spec, str):
        return spec
    if spec not in SCHEDULES:
        raise InputError(f"unknown schedule {spec!r}", expected=", ".join(SCHEDULES), remedy="or pass a Schedule")
    return SCHEDULES[spec]()
