"""Noise levels of diffusers' schedulers, and what their networks' outputs mean."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from zmax.core.errors import CapabilityError, InputError
from zmax.generators.diffusion.steps import spread_over

Grid = Callable[[int], Any]
"""steps -> the pipeline's scheduler after it was set to so many steps."""


class Levels(ABC):
    """The schedule of a pipeline: the noise levels its network was trained with, at its scheduler's times.

    Args:
        scheduler: of the pipeline.
        grid: sets it to a number of steps, as the pipeline does.
    """

    def __init__(self, scheduler: Any, grid: Grid) -> None:
        self.scheduler, self.config = scheduler, scheduler.config
        self._grid = grid
        self._times: dict[int, Tensor] = {}

    def times(self, steps: int) -> Float[Tensor, " steps_plus_one"]:
        """Return the times at which the pipeline's scheduler runs the network, then 0.

        Raises:
            InputError: the scheduler takes another number of steps.
        """
        if steps not in self._times:
            found = self.read(self._grid(steps))
            if len(found) != steps + 1:
                raise InputError("steps of the pipeline's scheduler", expected=steps, got=len(found) - 1)
            self._times[steps] = found
        return self._times[steps]

    def keep(self, scheduler: Any) -> int:
        """Take over the times of a scheduler that the pipeline has set, and return their number."""
        found = self.read(scheduler)
        self._times[len(found) - 1] = found
        return len(found) - 1

    def read(self, scheduler: Any) -> Float[Tensor, " steps_plus_one"]:
        """Return the times of a scheduler that was set, each once, then 0."""
        times = self.positions(scheduler).detach().double().cpu()
        times = times[times > 0].unique().flip(0)
        return torch.cat([times, times.new_zeros(1)])

    @abstractmethod
    def alpha(self, t: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """Return the signal's scale."""

    @abstractmethod
    def sigma(self, t: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """Return the noise's scale."""

    @abstractmethod
    def positions(self, scheduler: Any) -> Tensor:
        """Return the times of a scheduler that was set, in any order, perhaps repeated, perhaps with 0."""

    @abstractmethod
    def network_time(self, t: float) -> Tensor:
        """Return what the network is told for time t."""

    @abstractmethod
    def network_input(self, x_t: Tensor, t: float) -> Tensor:
        """Return what the network is shown for x_t."""

    @abstractmethod
    def clean(self, output: Tensor, x_t: Tensor, t: float) -> Tensor:
        """Return E[x_0 | x_t] by the network's output."""


class VPTable(Levels):
    r"""Variance-preserving noise levels of a table: :math:`\alpha^2 + \sigma^2 = 1`, log alpha linear in between.

    Time (k + 1) / K is the network's step k of K. Schedulers that work on :math:`x_t / \alpha_t` (Euler, LMS, Heun)
    run the same networks, which is all that counts here. Output: epsilon, v or x_0, and clipping, as the scheduler's
    configuration says.
    """

    def __init__(self, scheduler: Any, grid: Grid) -> None:
        super().__init__(scheduler, grid)
        with torch.inference_mode(False):
            kept = scheduler.alphas_cumprod.detach().double().cpu()
            self._log_alpha = torch.cat([kept.new_zeros(1), kept.clamp_min(1e-24).log() / 2])

    def alpha(self, t: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """Return the signal's scale."""
        return self._log_alphas(t).exp().to(t.dtype)

    def sigma(self, t: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """Return the noise's scale."""
        return torch.expm1(2 * self._log_alphas(t)).abs().sqrt().to(t.dtype)

    def _log_alphas(self, t: Tensor) -> Tensor:
        table = self._log_alpha.to(t.device)
        position = (t.double() * (len(table) - 1)).clamp(0, len(table) - 1)
        left = position.floor().long().clamp(max=len(table) - 2)
        return torch.lerp(table[left], table[left + 1], position - left)

    def positions(self, scheduler: Any) -> Tensor:
        """Return (k + 1) / K."""
        return (scheduler.timesteps.double() + 1) / (len(self._log_alpha) - 1)

    def network_time(self, t: float) -> Tensor:
        """Return K t - 1, as a whole number where it is one."""
        k = t * (len(self._log_alpha) - 1) - 1
        return torch.tensor(round(k)) if abs(k - round(k)) < 0.01 else torch.tensor(k, dtype=torch.float32)

    def network_input(self, x_t: Tensor, t: float) -> Tensor:
        """Return x_t."""
        return x_t

    def clean(self, output: Tensor, x_t: Tensor, t: float) -> Tensor:
        """Return E[x_0 | x_t]."""
        at = torch.tensor([t], dtype=torch.float64, device=x_t.device)
        alpha, sigma = spread_over(self.alpha(at), x_t), spread_over(self.sigma(at), x_t)
        kind = self.config.prediction_type
        if kind == "epsilon":
            x_0 = (x_t - sigma * output) / alpha
        elif kind == "v_prediction":
            x_0 = alpha * x_t - sigma * output
        elif kind in ("sample", "original_sample"):
            x_0 = output
        else:
            raise CapabilityError(
                "prediction type of the scheduler", expected="epsilon, v_prediction, sample", got=kind
            )
        if self.config.get("thresholding"):
            return self.scheduler._threshold_sample(x_0)
        bound = self.config.get("clip_sample_range", 1.0) if self.config.get("clip_sample") else None
        return x_0 if bound is None else x_0.clamp(-bound, bound)


class FlowLevels(Levels):
    """Rectified flow, x_t = (1 - t) x_0 + t eps, at the scheduler's shifted sigmas; the network gives eps - x_0."""

    def alpha(self, t: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """Return 1 - t."""
        return 1 - t

    def sigma(self, t: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """Return t."""
        return t

    def positions(self, scheduler: Any) -> Tensor:
        """Return the sigmas."""
        return scheduler.sigmas

    def network_time(self, t: float) -> Tensor:
        """Return t in units of the training steps."""
        return torch.tensor(t * self.config.num_train_timesteps, dtype=torch.float32)

    def network_input(self, x_t: Tensor, t: float) -> Tensor:
        """Return x_t."""
        return x_t

    def clean(self, output: Tensor, x_t: Tensor, t: float) -> Tensor:
        """Return x_t - t v."""
        return x_t - t * output


class EDMLevels(Levels):
    """EDM: x_t = x_0 + t eps with its preconditioning (Karras et al. 2022, table 1, https://arxiv.org/abs/2206.00364)."""

    def alpha(self, t: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """Return 1."""
        return torch.ones_like(t)

    def sigma(self, t: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """Return t."""
        return t

    def positions(self, scheduler: Any) -> Tensor:
        """Return the sigmas."""
        return scheduler.sigmas

    def network_time(self, t: float) -> Tensor:
        """Return log(t) / 4."""
        return self.scheduler.precondition_noise(torch.tensor(t, dtype=torch.float32))

    def network_input(self, x_t: Tensor, t: float) -> Tensor:
        """Return x_t at unit variance."""
        return self.scheduler.precondition_inputs(x_t, t)

    def clean(self, output: Tensor, x_t: Tensor, t: float) -> Tensor:
        """Return c_skip x_t + c_out F."""
        return self.scheduler.precondition_outputs(x_t, output, t)


def levels_of(scheduler: Any, grid: Grid) -> Levels | None:
    """Return the noise levels of a scheduler, None if they are of no family that is known here."""
    config, kind = scheduler.config, type(scheduler).__name__
    if hasattr(scheduler, "precondition_outputs"):
        return EDMLevels(scheduler, grid)
    flow = "FlowMatch" in kind or config.get("use_flow_sigmas") or config.get("prediction_type") == "flow_prediction"
    if flow:
        return None if config.get("invert_sigmas") else FlowLevels(scheduler, grid)
    known = hasattr(scheduler, "alphas_cumprod") and config.get("timestep_type", "discrete") == "discrete"
    return VPTable(scheduler, grid) if known else None


class UnknownLevels:
    """The schedule of a pipeline whose scheduler is of no known family: decoding works, steering does not."""

    def __init__(self, scheduler: str) -> None:
        self._scheduler = scheduler

    def alpha(self, t: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """Refuse."""
        raise self._error()

    def sigma(self, t: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """Refuse."""
        raise self._error()

    def times(self, steps: int) -> Float[Tensor, " steps_plus_one"]:
        """Refuse."""
        raise self._error()

    def _error(self) -> CapabilityError:
        return CapabilityError(
            f"noise levels of the scheduler {self._scheduler!r}",
            expected="a scheduler with alphas_cumprod, of flow matching, or of EDM",
            remedy="give the pipeline another scheduler, or search its noise: decoding works",
        )
