"""Empirical laws: point clouds, their tilted laws under any score, and diffusion models of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from zmax.core.errors import InputError, ShapeError
from zmax.core.generator import Schedule
from zmax.core.rng import rows_at
from zmax.core.score import Score
from zmax.generators.diffusion.generator import DenoiserGenerator
from zmax.generators.diffusion.multistep import DPMSolver
from zmax.generators.diffusion.samplers import DDIM
from zmax.generators.diffusion.schedules import schedule as schedule_of
from zmax.generators.diffusion.steps import spread_over
from zmax.testing.quadratic import Array
from zmax.testing.tilting import check_points, check_temperature


@dataclass(frozen=True)
class PointCloud:
    r"""The law :math:`\sum_k w_k N(p_k, s^2 I)` of many points, in float64; see :func:`point_cloud`.

    Attributes:
        points: (k, d).
        weights: (k,), summing to one.
        width: standard deviation s about each point; 0 for the empirical law itself.
    """

    points: Float[Tensor, "k d"]
    weights: Float[Tensor, " k"]
    width: float

    @property
    def dim(self) -> int:
        """Length d of a sample."""
        return self.points.shape[1]

    @property
    def mean(self) -> Float[Tensor, " d"]:
        """Mean of the law."""
        return self.weights @ self.points

    @property
    def cov(self) -> Float[Tensor, "d d"]:
        """Covariance of the law."""
        apart = self.points - self.mean
        within = self.width**2 * torch.eye(self.dim, dtype=apart.dtype)
        return (self.weights[:, None] * apart).T @ apart + within

    def log_prob(self, x: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
        """Return the log density at x, in nats.

        Raises:
            InputError: the width is 0, so that there is no density.
        """
        if self.width == 0:
            remedy = "give the points a width"
            raise InputError("density of a point cloud", expected="width > 0", got=self.width, remedy=remedy)
        square = torch.cdist(check_points(x, self.dim), self.points).square()
        constant = self.dim * math.log(2 * math.pi * self.width**2) / 2
        return (self.weights.log() - square / (2 * self.width**2)).logsumexp(1) - constant

    def sample(self, n: int, rng: torch.Generator) -> Float[Tensor, "n d"]:
        """Draw n independent samples."""
        which = rows_at(self.weights, torch.rand(n, generator=rng, dtype=torch.float64))
        noise = torch.randn(n, self.dim, generator=rng, dtype=torch.float64)
        return self.points[which] + self.width * noise

    def tilt(
        self,
        score: Score | Callable[[Tensor], Tensor],
        temperature: float = 1.0,
        *,
        rng: torch.Generator | None = None,
        draws: int = 100_000,
    ) -> TiltedCloud:
        r"""Return the law proportional to :math:`p(x) \exp(S(x) / T)`, for any score.

        At width 0 it is exact: :math:`w'_k = w_k e^{S(p_k)/T} / Z`, :math:`Z = \sum_k w_k e^{S(p_k)/T}`. At a positive
        width the points are first replaced by draws of the law, so the answer is that of importance sampling.

        Args:
            score: any score, or function, of samples (n, d).
            temperature: T.
            rng: draws the points at a positive width.
            draws: their number.

        Raises:
            InputError: the temperature is not positive, a score is not finite, or a positive width comes without rng.
        """
        check_temperature(temperature)
        points, log_weights = self.points, self.weights.log()
        if self.width > 0:
            if rng is None:
                raise InputError("tilting points with a width", expected="rng", remedy="pass rng=torch.Generator()")
            points, log_weights = self.sample(draws, rng), torch.full((draws,), -math.log(draws), dtype=torch.float64)
        value = score(points).detach().double()
        if not bool(torch.isfinite(value).all()):
            raise InputError("score of the points", expected="finite numbers", got=value[~value.isfinite()][0].item())
        joint = log_weights + value / temperature
        return TiltedCloud(points, joint.softmax(0), 0.0, log_z=float(joint.logsumexp(0)))

    def generator(self, steps: int = 100, eta: float = 1.0, schedule: str | Schedule = "vp-linear") -> CloudGenerator:
        """Return a diffusion model of this law with the exact denoiser, sampled by DDIM; with fresh noise, by 2M.

        Args:
            steps: steps from noise to data; the law of the samples tends to this one as they grow.
            eta: share of fresh noise, in [0, 1]; with 0 the latent is the initial noise alone.
            schedule: a name such as "vp-linear" or "rectified-flow", or a Schedule.
        """
        return CloudGenerator(self, steps=steps, eta=eta, schedule=schedule)


@dataclass(frozen=True)
class TiltedCloud(PointCloud):
    """A tilted cloud, itself a cloud.

    Attributes:
        log_z: log E_p exp(S(x) / T).
    """

    log_z: float

    @property
    def ess(self) -> float:
        """Effective number of points, 1 / sum of squared weights."""
        return float(1 / self.weights.square().sum())


def point_cloud(points: Array, width: float = 0.0, weights: Array | None = None) -> PointCloud:
    r"""Return the law :math:`\sum_k w_k N(p_k, s^2 I)`.

    Args:
        points: (k, d).
        width: standard deviation s about each point, in units of the points; 0 for the points alone.
        weights: (k,), positive; they are divided by their sum. Equal if None.

    Raises:
        ShapeError: the shapes do not agree.
        InputError: the width is negative, or a weight not positive.

    Example:
        >>> law = point_cloud([[-1.0], [1.0]])
        >>> tilted = law.tilt(lambda x: x[:, 0] * math.log(3) / 2)
        >>> [round(w, 6) for w in tilted.weights.tolist()], round(tilted.log_z, 4)
        ([0.25, 0.75], 0.1438)
    """
    p = torch.as_tensor(points, dtype=torch.float64)
    if p.ndim != 2 or len(p) == 0:
        raise ShapeError("points of a cloud", expected="(k, d)", got=tuple(p.shape))
    w = torch.ones(len(p)) if weights is None else torch.as_tensor(weights)
    if w.shape != (len(p),):
        raise ShapeError("weights of a cloud", expected=f"({len(p)},)", got=tuple(w.shape))
    if not bool(((w > 0) & torch.isfinite(w)).all()):
        raise InputError("weights of a cloud", expected="positive finite numbers", got=w.tolist())
    if not (width >= 0 and math.isfinite(width)):
        raise InputError("width of a cloud", expected="a finite number of at least 0", got=width)
    return PointCloud(p, w.double() / w.double().sum(), float(width))


class CloudDenoiser(nn.Module):
    r"""The posterior of x_0 ~ sum_k w_k N(p_k, s^2 I) given x_t = alpha x_0 + sigma eps, in closed form.

    With :math:`V = \alpha^2 s^2 + \sigma^2`, :math:`r_k \propto w_k \exp(-|x_t - \alpha p_k|^2 / 2V)` and
    :math:`\bar p = \sum_k r_k p_k`,

    .. math:: E[x_0 | x_t] = \bar p + \frac{\alpha s^2}{V} (x_t - \alpha \bar p), \quad
        Cov[x_0 | x_t] = \frac{s^2 \sigma^2}{V} I + \frac{\sigma^4}{V^2} \sum_k r_k (p_k - \bar p)(p_k - \bar p)^\top.
    """

    points: Tensor
    keys: Tensor

    def __init__(self, law: PointCloud, schedule: Schedule) -> None:
        super().__init__()
        self.schedule, self.width = schedule, law.width
        self.register_buffer("points", law.points.clone())
        half_squares = law.points.square().sum(1) / 2
        self.register_buffer("keys", torch.stack([*law.points.T, half_squares, law.weights.log()]))

    def forward(self, x_t: Float[Tensor, "n d"], t: Float[Tensor, " n"]) -> Float[Tensor, "n d"]:
        """Return E[x_0 | x_t]."""
        alpha, _, total = self._levels(x_t, t)
        centre = self._shares(x_t, alpha, total) @ self.points
        return centre + alpha * self.width**2 / total * (x_t - alpha * centre)

    def covariance(self, x_t: Float[Tensor, "n d"], t: Float[Tensor, " n"]) -> Float[Tensor, "n d d"]:
        """Return Cov[x_0 | x_t]: within plus between the points."""
        alpha, sigma, total = self._levels(x_t, t)
        share = self._shares(x_t, alpha, total)
        apart = self.points - (share @ self.points)[:, None]
        between = torch.einsum("nk,nki,nkj->nij", share, apart, apart)
        within = torch.eye(x_t.shape[1], dtype=x_t.dtype, device=x_t.device)
        kept = sigma.square() / total
        return (self.width**2 * kept)[:, :, None] * within + kept.square()[:, :, None] * between

    def _levels(self, x_t: Tensor, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        alpha, sigma = spread_over(self.schedule.alpha(t), x_t), spread_over(self.schedule.sigma(t), x_t)
        return alpha, sigma, (alpha.square() * self.width**2 + sigma.square()).clamp_min(1e-20)

    def _shares(self, x_t: Tensor, alpha: Tensor, total: Tensor) -> Float[Tensor, "n k"]:
        """Return r by one product: it is what this costs at many points."""
        queries = torch.cat([alpha / total * x_t, -alpha.square() / total, torch.ones_like(total)], 1)
        return (queries @ self.keys).softmax(1)


class CloudGenerator(DenoiserGenerator):
    """A point cloud as a diffusion model; made by :meth:`PointCloud.generator`.

    Attributes:
        law: the law that it samples, up to the error of the sampler's steps.
    """

    denoiser: CloudDenoiser

    def __init__(
        self, law: PointCloud, *, steps: int = 100, eta: float = 1.0, schedule: str | Schedule = "vp-linear"
    ) -> None:
        levels = schedule_of(schedule)
        super().__init__(
            CloudDenoiser(law, levels),
            shape=(law.dim,),
            schedule=levels,
            sampler=(DPMSolver if eta else DDIM)(steps, eta),
            name="point-cloud",
        )
        self.law = law

    def posterior_covariance(self, x_t: Float[Tensor, "n d"], t: Float[Tensor, " n"]) -> Float[Tensor, "n d d"]:
        """Return Cov[x_0 | x_t] in closed form."""
        return self.denoiser.covariance(x_t, t)
