"""The linear-Gaussian problem: G(u) = W u + bias with u ~ N(0, I), whose tilted law is a Gaussian in u."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from zmax.core.errors import ShapeError
from zmax.core.generator import Generator
from zmax.core.samples import Samples
from zmax.core.space import LatentValue, Space
from zmax.testing.quadratic import Array, QuadraticScore
from zmax.testing.tilting import check_points, normal_log_prob, tilt_normal
from zmax.testing.trust_region import argmax_in_ball, argmax_on_sphere


@dataclass(frozen=True)
class LinearGaussian:
    """The law of x = W u + bias with u ~ N(0, I); see :func:`linear_gaussian`.

    Attributes:
        matrix: W (m, d).
        bias: (m,).
    """

    matrix: Float[Tensor, "m d"]
    bias: Float[Tensor, " m"]

    @property
    def mean(self) -> Float[Tensor, " m"]:
        """Mean of x."""
        return self.bias

    @property
    def cov(self) -> Float[Tensor, "m m"]:
        """Covariance of x, W W^T."""
        return self.matrix @ self.matrix.T

    def generator(self) -> Generator:
        """Return G as a Generator: one linear layer in float64."""
        return LinearGenerator(self.matrix, self.bias)

    def tilt(self, score: QuadraticScore, temperature: float = 1.0) -> TiltedLinear:
        r"""Return the law of u proportional to :math:`N(u; 0, I) \exp(S(W u + b) / T)`.

        Raises:
            ShapeError: the score is made for samples of another length.
            InputError: the tilted law cannot be normalised at this temperature.
        """
        curvature, slope = score.terms_for(len(self.bias))
        hessian = self.matrix.T @ curvature @ self.matrix
        gradient = self.matrix.T @ (slope - curvature @ self.bias)
        offset = slope @ self.bias - self.bias @ curvature @ self.bias / 2
        eye = torch.eye(self.matrix.shape[1], dtype=torch.float64)
        mean, factor, log_z = tilt_normal(torch.zeros_like(gradient), eye, hessian, gradient, temperature)
        return TiltedLinear(self, mean, factor, float(log_z + offset / temperature), hessian, gradient)


@dataclass(frozen=True)
class TiltedLinear:
    """The tilted law in u, N(mean, factor factor^T), and the maximisers of the score.

    Attributes:
        law: the law that was tilted.
        mean: (d,).
        factor: (d, d), any square root of the covariance.
        log_z: log E exp(S(G(u)) / T).
        hessian: H (d, d) of S(G(u)) = -u^T H u / 2 + g^T u + constant.
        gradient: g (d,).
    """

    law: LinearGaussian
    mean: Float[Tensor, " d"]
    factor: Float[Tensor, "d d"]
    log_z: float
    hessian: Float[Tensor, "d d"]
    gradient: Float[Tensor, " d"]

    @property
    def cov(self) -> Float[Tensor, "d d"]:
        """Covariance of u."""
        return self.factor @ self.factor.T

    @property
    def sample_mean(self) -> Float[Tensor, " m"]:
        """Mean of x = G(u)."""
        return self.law.matrix @ self.mean + self.law.bias

    @property
    def sample_cov(self) -> Float[Tensor, "m m"]:
        """Covariance of x = G(u)."""
        return self.law.matrix @ self.cov @ self.law.matrix.T

    def sample(self, n: int, rng: torch.Generator) -> Float[Tensor, "n d"]:
        """Draw n independent u."""
        return self.mean + torch.randn(n, len(self.mean), generator=rng, dtype=torch.float64) @ self.factor.T

    def log_prob(self, u: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
        """Return the normalised log density at u, in nats."""
        return normal_log_prob(check_points(u, len(self.mean)), self.mean, self.cov)

    def argmax(self) -> Float[Tensor, " d"]:
        """Return the mode of the tilted density, which is its mean."""
        return self.mean

    def argmax_on_shell(self, radius: float | None = None) -> Float[Tensor, " d"]:
        """Return the maximiser of S(G(u)) over |u| = radius, sqrt(d) by default: where the prior's mass lies.

        It does not depend on the temperature; see :func:`~zmax.testing.trust_region.argmax_on_sphere`.
        """
        return argmax_on_sphere(self.hessian, self.gradient, len(self.mean) ** 0.5 if radius is None else radius)

    def argmax_in_ball(self, radius: float) -> Float[Tensor, " d"]:
        """Return the maximiser of S(G(u)) over |u| <= radius, the shortest if there are several."""
        return argmax_in_ball(self.hessian, self.gradient, radius)


class LinearGenerator(Generator):
    """G(u) = W u + bias, one network evaluation a sample."""

    def __init__(self, matrix: Float[Tensor, "m d"], bias: Float[Tensor, " m"]) -> None:
        m, d = matrix.shape
        self.layer = nn.Linear(d, m, device="meta", dtype=torch.float64)  # meta: no draw from the global RNG
        self.layer.weight, self.layer.bias = nn.Parameter(matrix.clone()), nn.Parameter(bias.clone())
        self.name, self.modality, self.differentiable = "linear-gaussian", "vector", True
        self.space, self.networks = Space.of((d,)), (self.layer,)

    def decode(self, z: LatentValue) -> Samples:
        """Return W z + bias, (n, m), in the layer's dtype."""
        assert isinstance(z, Tensor)
        samples: Tensor = self.layer(z.to(self.layer.weight.device, self.layer.weight.dtype))
        return samples


def linear_gaussian(W: Array, bias: Array | None = None) -> LinearGaussian:
    r"""Return the problem G(u) = W u + bias with prior N(0, I), in float64.

    Args:
        W: (m, d), of any rank.
        bias: (m,); None means zero.

    Returns:
        The law, with its generator and, for quadratic scores, the exact tilted law and maximisers.

    Raises:
        ShapeError: W is not a matrix or the bias does not fit.

    Example:
        >>> from zmax.testing import quadratic_score
        >>> tilted = linear_gaussian([[2.0]], [1.0]).tilt(quadratic_score(b=[1.0]), temperature=1.0)
        >>> tilted.mean.tolist(), tilted.log_z
        ([2.0], 3.0)
    """
    matrix = torch.as_tensor(W, dtype=torch.float64)
    if matrix.ndim != 2:
        raise ShapeError("W of a linear-Gaussian problem", expected="(m, d)", got=tuple(matrix.shape))
    m = matrix.shape[0]
    shift = torch.zeros(m, dtype=torch.float64) if bias is None else torch.as_tensor(bias, dtype=torch.float64)
    if shift.shape != (m,):
        raise ShapeError("bias of a linear-Gaussian problem", expected=f"({m},)", got=tuple(shift.shape))
    return LinearGaussian(matrix, shift)
