"""Samplers that remember the denoiser's last answers, and so reach a higher order at one evaluation a step."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from zmax.core.generator import Schedule
from zmax.generators.diffusion.samplers import Denoise, March, State, begin, check_steps, straight
from zmax.generators.diffusion.steps import ddim_step


@dataclass(frozen=True)
class DPMSolver:
    r"""DPM-Solver++(2M): second order, from one network evaluation a step and the answer of the step before.

    .. math:: x_s = \frac{\sigma_s}{\sigma_t} x_t + \left(\alpha_s - \alpha_t \frac{\sigma_s}{\sigma_t}\right) D,
        \quad D = \left(1 + \tfrac{h}{2 h'}\right) \hat x_0 - \tfrac{h}{2 h'} \hat x'_0

    with h the step in :math:`\lambda = \log(\alpha / \sigma)`, and a prime for the step before. The first step, one
    after a step from alpha = 0 and one to sigma = 0 are of first order (DDIM). The order is 2 where the steps in lambda
    are even to first order (EDM); on a rectified flow, whose first ones are not, 1.8 is what is measured.

    Reference: Lu et al. 2022, *DPM-Solver++*, alg. 2, https://arxiv.org/abs/2211.01095.

    Args:
        steps: number of steps.
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
        times = schedule.times(self.steps).to(noise.device)
        weights = _extrapolations(schedule, times)

        def step(i: int, state: State) -> State:
            x, *before = state
            t, s = times[i].expand(len(x)), times[i + 1].expand(len(x))
            x_0 = denoise(x, t.to(x.dtype))
            ahead = x_0 + weights[i] * (x_0 - before[0]) if before else x_0
            return ddim_step(x, ahead, schedule, t, s), x_0

        return march(step, (begin(schedule, noise, self.steps),), self.steps)[0]


def _extrapolations(schedule: Schedule, times: Float[Tensor, " steps_plus_one"]) -> list[float]:
    """Return h / 2h' of every step, 0 where h or h' is infinite or there is no step before."""
    h = (schedule.alpha(times) / schedule.sigma(times)).log().diff().tolist()
    return [0.0, *(b / (2 * a) if math.isfinite(a) and math.isfinite(b) else 0.0 for a, b in itertools.pairwise(h))]
