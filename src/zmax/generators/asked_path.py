"""Tells a diffusion or flow model scores on its path alone: a regressor of noisy samples pushes what it denoises."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from jaxtyping import Float
from torch import Tensor, nn

from zmax.core.generator import DiffusionGenerator, Generator, Schedule
from zmax.core.quantiles import Quantiles
from zmax.core.samples import Samples, sized
from zmax.core.space import LatentsLike, Space
from zmax.generators.asking import Asking, rows_for
from zmax.generators.diffusion.generator import DenoiserGenerator
from zmax.generators.diffusion.path import PathSpace
from zmax.generators.diffusion.steps import spread_over
from zmax.generators.judge import Judge

FREQUENCIES = (1.0, 2.0, 4.0, 8.0)
"""Of the angle arctan(sigma / alpha), by which the level of noise is told."""

LEAST, MOST = -12.0, 4.0
"""Bounds of the logarithm of a variance."""

WIDTH = 0.05
"""The least deviation of whitened scores, delta, that is believed."""


class Leveled(Protocol):
    """What has levels of noise over time."""

    schedule: Schedule


class Regressor(nn.Module):
    r"""Tells the law of scores of noisy samples, as if it were Gaussian: of each score its mean and log-variance.

    .. math:: p_\phi(w | x_t) = N(w; m_\phi(y, t), v_\phi(y, t)), \qquad y = \frac{\alpha x_t}{\alpha^2 + \sigma^2}

    y being the linear estimate of x_0, so that slopes by it have one scale at all times. At first m = 0 and v = 1.

    Args:
        shape: of a sample in the network's scale.
        k: number of scores.
    """

    def __init__(self, shape: Sequence[int], k: int) -> None:
        super().__init__()
        self.shape = tuple(sized(torch.empty(1, *shape, device="meta")).shape[1:])
        told = 1 + 2 * len(FREQUENCIES)
        self.judge = Judge((self.shape[0] + told, *self.shape[1:]), 2 * k)

    def forward(
        self, y: Float[Tensor, "n ..."], angle: Float[Tensor, " n"]
    ) -> tuple[Float[Tensor, "n k"], Float[Tensor, "n k"]]:
        """Return mean and log-variance at linear estimates and the angles of their levels of noise."""
        waves = angle[:, None] * torch.tensor(FREQUENCIES, device=angle.device, dtype=angle.dtype)
        told = torch.cat([angle[:, None], waves.cos(), waves.sin()], 1).to(y)
        y = sized(y)
        told = told.reshape(*told.shape, *[1] * (y.ndim - 2)).expand(-1, -1, *y.shape[2:])
        mean, log_variance = self.judge(torch.cat([y, told], 1)).chunk(2, 1)
        return mean, log_variance.clamp(LEAST, MOST)


class AskedPath(Asking):
    r"""Pushes what a model denoises to where a regressor sees the scores that are asked for (regressor guidance).

    .. math:: D_s(x_t, t) = D(x_t, t) + \frac{\sigma_t^2}{\alpha_t} \nabla_{x_t} \log p_\phi(w | x_t)
        = D(x_t, t) + \frac{\sigma_t^2}{\alpha_t^2 + \sigma_t^2} \nabla_y \log N(w; m_\phi, v_\phi + \delta^2)

    with :math:`w = \Phi^{-1}(F(s))`, each score on its own; what is not asked for pushes nothing. With guidance
    :math:`\omega` the push is :math:`1 + \omega` times as long, less :math:`\omega` times that of what is kept away
    from. Reference: Dhariwal & Nichol 2021, *Diffusion models beat GANs on image synthesis*, sec. 4.2,
    https://arxiv.org/abs/2105.05233, with a Gaussian in the classifier's place.

    Args:
        law: F of each score.
        shape: of a sample in the network's scale.
    """

    def __init__(self, law: Quantiles, shape: Sequence[int]) -> None:
        super().__init__(law)
        self.regressor = Regressor(shape, law.size)

    def space(self, inner: Generator) -> Space:
        """Return the generator's own space."""
        return inner.space

    def guides(self, inner: Generator) -> bool:
        """Return True: what pushes once can push twice."""
        return True

    def held(self, inner: Generator, wanted: Tensor, away: Tensor, guidance: float) -> Generator:
        """Return the model with its denoiser pushed."""
        assert isinstance(inner, DiffusionGenerator), "made so before training"
        if not isinstance(inner, DenoiserGenerator):
            return HeldPath(inner, Pushed(inner.denoise, self, inner.schedule, wanted, away, guidance))
        made = copy.copy(inner)
        made.denoiser = Pushed(inner.denoiser, self, inner.schedule, wanted, away, guidance)
        made.networks, made.source = (*inner.networks, self), ""
        return made

    def log_prob(
        self, y: Float[Tensor, "n ..."], angle: Float[Tensor, " n"], wanted: Float[Tensor, "n k"]
    ) -> Float[Tensor, " n"]:
        """Return the log-density of scores at linear estimates, up to a constant; NaN adds nothing."""
        mean, log_variance = self.regressor(y, angle)
        white = self.law.to_white(wanted.to(mean))
        variance = log_variance.exp() + WIDTH**2
        off = torch.where(white.isnan(), 0.0, white.nan_to_num() - mean)
        return -torch.where(white.isnan(), 0.0, off.square() / variance + variance.log()).sum(1) / 2

    def push(self, inner: Leveled, x_t: Float[Tensor, "n ..."], t: Tensor, wanted: Tensor) -> Float[Tensor, "n ..."]:
        """Return how far what is denoised is moved for a row of requests each."""
        keep = torch.is_grad_enabled() and (x_t.requires_grad or wanted.requires_grad)
        with torch.enable_grad():
            y, angle, share = angles(inner, x_t, t)
            y = y if y.requires_grad else y.requires_grad_()
            (slope,) = torch.autograd.grad(self.log_prob(y, angle, wanted).sum(), y, create_graph=keep)
        return share * slope


def angles(
    inner: Leveled, x_t: Float[Tensor, "n ..."], t: Tensor
) -> tuple[Float[Tensor, "n ..."], Float[Tensor, " n"], Float[Tensor, "n ..."]]:
    """Return linear estimates of x_0, angles of the levels of noise, and the share of noise in the variance."""
    alpha, sigma = (spread_over(level(t), x_t).to(x_t) for level in (inner.schedule.alpha, inner.schedule.sigma))
    total = alpha.square() + sigma.square()
    return alpha * x_t / total, torch.atan2(sigma, alpha).flatten().expand(len(x_t)), sigma.square() / total


class Pushed(nn.Module):
    """A denoiser pushed to requests, perhaps away from others.

    Args:
        denoise: (x_t, t) -> E[x_0 | x_t].
        ask: pushes.
        schedule: noise levels.
        wanted, away: s and s', a row for each of the batch or one for all.
        guidance: omega.
    """

    def __init__(
        self,
        denoise: Callable[[Tensor, Tensor], Tensor],
        ask: AskedPath,
        schedule: Schedule,
        wanted: Tensor,
        away: Tensor,
        guidance: float,
    ) -> None:
        super().__init__()
        self.denoise, self.ask, self.schedule = denoise, ask, schedule
        self.wanted, self.away, self.guidance = wanted, away, guidance

    def forward(self, x_t: Tensor, t: Tensor) -> Tensor:
        """Return the pushed denoised sample."""
        x_0 = self.denoise(x_t, t)
        for requests, weight in ((self.wanted, 1 + self.guidance), (self.away, -self.guidance)):
            if weight and not bool(requests.isnan().all()):
                x_0 = x_0 + weight * self.ask.push(self, x_t.to(x_0), t, rows_for(requests, x_t))
        return x_0


class HeldPath(DiffusionGenerator):
    """A model held at requests whose sampler is that of its path, such as a pipeline's.

    Args:
        inner: the model.
        pushed: its denoiser, pushed.
    """

    space: PathSpace

    def __init__(self, inner: DiffusionGenerator, pushed: Pushed) -> None:
        assert isinstance(inner.space, PathSpace), "made so before training"
        self.inner, self.pushed, self.space, self.schedule = inner, pushed, inner.space, inner.schedule
        self.networks = (*inner.networks, pushed.ask)
        self.name, self.modality, self.differentiable = inner.name, inner.modality, inner.differentiable
        self.prompts, self.remarks = inner.prompts, inner.remarks

    def denoise(self, x_t: Float[Tensor, "n ..."], t: Float[Tensor, " n"]) -> Float[Tensor, "n ..."]:
        """Return the pushed denoised sample."""
        x_0: Tensor = self.pushed(x_t, t)
        return x_0

    def finish(self, x_0: Float[Tensor, "n ..."]) -> Samples:
        """Turn the end of a path into samples."""
        return self.inner.finish(x_0)

    def stochastic(self, eta: float = 1.0) -> HeldPath:
        """Return the same on a path with fresh noise."""
        made, pushed = self.inner.stochastic(eta), copy.copy(self.pushed)
        pushed.denoise = made.denoise
        return HeldPath(made, pushed)

    def decode(self, z: LatentsLike) -> Samples:
        """Go along the pushed path from its noises, and finish."""
        return self.finish(self.space.path.follow(self.denoise, self.space.batch(z)))
